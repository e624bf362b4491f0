"""The cells of a study on disk: which are finished, which row leads, whose bundle is kept."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from clinadapt.core import atomic_files
from clinadapt.evaluation import metrics
from clinadapt.study import result_files
from clinadapt.study.design import Cell, Row, identity

FORMAT = 1


@dataclass(frozen=True)
class Standing:
    """How the rows stand, by validation scores alone.

    Attributes
    ----------
    leader : str, optional
        The complete row with the best mean validation score over its seeds; first come at a tie.
    best : dict of str to Cell
        Of each row with a finished cell, the seed with the best validation score.
    validation : dict of str to float
        Of each such row, the mean validation score.
    """

    leader: str | None
    best: Mapping[str, Cell]
    validation: Mapping[str, float]


@dataclass(frozen=True)
class CellFolders:
    """Where each cell keeps its result.

    Attributes
    ----------
    root : Path
        The study's folder.
    cells : sequence of Cell
        In the order in which they run, the seeds of a row next to each other.
    fingerprint : str
        Of notes and split.
    metric : str
        What the rows are ranked by.
    """

    root: Path
    cells: Sequence[Cell]
    fingerprint: str
    metric: str
    _ids: dict[Cell, str] = field(default_factory=dict)
    _starts: dict[tuple[str, str] | None, str | None] = field(default_factory=dict)

    def id(self, cell: Cell) -> str:
        """Hash of everything that decides a cell's result."""
        if cell not in self._ids:
            decided_by = (cell.row.family, cell.resolved, self._start(cell))
            self._ids[cell] = identity(FORMAT, *decided_by, self.fingerprint, self.metric)
        return self._ids[cell]

    def _start(self, cell: Cell) -> str | None:
        if cell.start not in self._starts:
            self._starts[cell.start] = cell.start_fingerprint
        return self._starts[cell.start]

    def row_id(self, row: Row) -> str:
        """Hash of a row's settings."""
        return identity(row.family, dict(row.settings))

    def folder(self, cell: Cell) -> Path:
        """Folder of a cell."""
        return self.root / result_files.CELLS / self.id(cell)

    def result(self, cell: Cell) -> dict[str, Any] | None:
        """Result of a cell, None if there is none yet."""
        return atomic_files.read_json(self.folder(cell) / result_files.RESULT)

    def settled(self, cell: Cell, retry: bool = False) -> dict[str, Any] | None:
        """Result of a cell that need not run: finished, or failed unless failures are retried.

        A skipped cell is always tried again: its encoder may have come.
        """
        result = self.result(cell)
        wanted = ("done",) if retry else ("done", "failed")
        return result if result is not None and result["status"] in wanted else None

    @cached_property
    def rows(self) -> dict[str, list[Cell]]:
        """Cells of each row, by the row's id."""
        rows: dict[str, list[Cell]] = {}
        for cell in self.cells:
            rows.setdefault(self.row_id(cell.row), []).append(cell)
        return rows

    def standing(self) -> Standing:
        """How the rows stand now."""
        best, validation = {}, {}
        leader: str | None = None
        for row_id, cells in self.rows.items():
            found = [(cell, self.result(cell)) for cell in cells]
            done = [
                (_score(result, self.metric), cell)
                for cell, result in found
                if result is not None and result["status"] == "done"
            ]
            if not done:
                continue
            best[row_id] = max(done, key=lambda item: item[0])[1]
            validation[row_id] = float(np.mean([score for score, _ in done]))
            complete = all(result is not None for _, result in found)
            if complete and (leader is None or validation[row_id] > validation[leader]):
                leader = row_id
        return Standing(leader, best, validation)

    def prune_bundles(self) -> None:
        """Keep the bundles of the leader and of the best cell of any row not yet complete."""
        standing = self.standing()
        keep = {
            self.folder(standing.best[row_id])
            for row_id, cells in self.rows.items()
            if row_id in standing.best
            and (row_id == standing.leader or any(self.settled(cell) is None for cell in cells))
        }
        for cell in self.cells:
            if self.folder(cell) not in keep:
                shutil.rmtree(self.folder(cell) / result_files.BUNDLE, ignore_errors=True)


def _score(result: Mapping[str, Any], metric: str) -> float:
    """Validation score of a finished cell; more is better."""
    value = result["validation_metrics"][metric]["value"]
    if value is None:
        return -np.inf
    return -value if metric in metrics.LOSSES else value
