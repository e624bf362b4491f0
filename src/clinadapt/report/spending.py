"""Energy of each configuration, measured or estimated."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from statistics import fmean
from typing import Any

from clinadapt.study.energy import in_words
from clinadapt.study.read_results import StudyResults


@dataclass(frozen=True)
class Spent:
    """Mean energy of a configuration's runs.

    Attributes
    ----------
    configuration : str
    runs : int
        Number of runs whose energy is recorded.
    kwh, kg_co2e : float
    kind : str
        "measured", "part estimate" or "estimate"; several if the runs differ.
    how : str
        Sources: what measures each part of the machine, or what its estimate is based on.
    """

    configuration: str
    runs: int
    kwh: float
    kg_co2e: float
    kind: str
    how: str


def spent(study: StudyResults) -> list[Spent]:
    """Return the energy of each finished configuration that has it recorded, best first."""
    lines = []
    for configuration in study.done:
        records = _records(study, configuration.configuration_id)
        if records:
            lines.append(
                Spent(
                    configuration=configuration.configuration,
                    runs=len(records),
                    kwh=fmean(record["kwh"] for record in records),
                    kg_co2e=fmean(record["kg_co2e"] for record in records),
                    kind=", ".join(sorted({record["kind"] for record in records})),
                    how=" / ".join(sorted({in_words(record) for record in records})),
                )
            )
    return lines


def grids(study: StudyResults) -> list[tuple[str, float]]:
    """Return the countries whose electricity was used, with g CO2e per kWh."""
    records = [
        record
        for configuration in study.done
        for record in _records(study, configuration.configuration_id)
    ]
    return sorted({(record["country"], record["g_co2e_per_kwh"]) for record in records})


def warnings(study: StudyResults) -> list[str]:
    """Return codecarbon's warnings, each once."""
    texts = (run.energy["warnings"] for run in study.finished if run.energy)
    return list(dict.fromkeys(chain.from_iterable(texts)))


def _records(study: StudyResults, configuration_id: str) -> list[dict[str, Any]]:
    found = [run.energy for run in study.finished if run.configuration_id == configuration_id]
    return [record for record in found if record is not None and record["kwh"] is not None]
