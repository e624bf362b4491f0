"""Energy of each row, and how it is known; an estimate is called one."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any

from clinadapt.study.energy import in_words
from clinadapt.study.read_results import Study


@dataclass(frozen=True)
class Spent:
    """Mean energy of a row's cells.

    Attributes
    ----------
    row : str
    cells : int
        Those that have it on record.
    kwh, kg_co2e : float
    kind : str
        "measured", "part estimate" or "estimate"; several if the cells differ.
    how : str
        By what each part of the machine is measured, or from what it is estimated.
    """

    row: str
    cells: int
    kwh: float
    kg_co2e: float
    kind: str
    how: str


def spent(study: Study) -> list[Spent]:
    """Return the energy of each finished row that has it on record, the best row first."""
    found = []
    for row in study.done:
        records = _records(study, row.row_id)
        if records:
            found.append(
                Spent(
                    row=row.row,
                    cells=len(records),
                    kwh=fmean(record["kwh"] for record in records),
                    kg_co2e=fmean(record["kg_co2e"] for record in records),
                    kind=", ".join(sorted({record["kind"] for record in records})),
                    how=" / ".join(sorted({in_words(record) for record in records})),
                )
            )
    return found


def grids(study: Study) -> list[tuple[str, float]]:
    """List the countries whose electricity was counted, with g CO2e a kWh."""
    records = [record for row in study.done for record in _records(study, row.row_id)]
    return sorted({(record["country"], record["g_co2e_per_kwh"]) for record in records})


def warnings(study: Study) -> list[str]:
    """List what codecarbon warned of, each once."""
    found = (cell.energy["warnings"] for cell in study.finished if cell.energy)
    return list(dict.fromkeys(text for texts in found for text in texts))


def _records(study: Study, row_id: str) -> list[dict[str, Any]]:
    found = [cell.energy for cell in study.finished if cell.row_id == row_id]
    return [record for record in found if record is not None and record["kwh"] is not None]
