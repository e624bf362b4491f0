"""Energy of each configuration, and how it is known; an estimate is called one."""

from __future__ import annotations

from dataclasses import dataclass
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
        Those that have it on record.
    kwh, kg_co2e : float
    kind : str
        "measured", "part estimate" or "estimate"; several if the runs differ.
    how : str
        By what each part of the machine is measured, or from what it is estimated.
    """

    configuration: str
    runs: int
    kwh: float
    kg_co2e: float
    kind: str
    how: str


def spent(study: StudyResults) -> list[Spent]:
    """Return the energy of each finished configuration that has it on record, the best configuration first."""
    found = []
    for configuration in study.done:
        records = _records(study, configuration.configuration_id)
        if records:
            found.append(
                Spent(
                    configuration=configuration.configuration,
                    runs=len(records),
                    kwh=fmean(record["kwh"] for record in records),
                    kg_co2e=fmean(record["kg_co2e"] for record in records),
                    kind=", ".join(sorted({record["kind"] for record in records})),
                    how=" / ".join(sorted({in_words(record) for record in records})),
                )
            )
    return found


def grids(study: StudyResults) -> list[tuple[str, float]]:
    """List the countries whose electricity was counted, with g CO2e a kWh."""
    records = [
        record
        for configuration in study.done
        for record in _records(study, configuration.configuration_id)
    ]
    return sorted({(record["country"], record["g_co2e_per_kwh"]) for record in records})


def warnings(study: StudyResults) -> list[str]:
    """List what codecarbon warned of, each once."""
    found = (run.energy["warnings"] for run in study.finished if run.energy)
    return list(dict.fromkeys(text for texts in found for text in texts))


def _records(study: StudyResults, configuration_id: str) -> list[dict[str, Any]]:
    found = [run.energy for run in study.finished if run.configuration_id == configuration_id]
    return [record for record in found if record is not None and record["kwh"] is not None]
