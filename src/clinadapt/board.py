"""The leaderboard and the ledger of a study, made of its finished cells."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from clinadapt import metrics, results
from clinadapt.cells import CellFolders
from clinadapt.design import Cell
from clinadapt.notes import Notes

SPENT = ("encoded_sequences", "reused_sequences", "encode_seconds")


@dataclass(frozen=True, eq=False)
class Board:
    """What a study's cells amount to.

    Attributes
    ----------
    folders : CellFolders
    test : Notes
        The test part.
    resamples : int
        Of the bootstrap.
    """

    folders: CellFolders
    test: Notes
    resamples: int

    def write_leaderboard(self) -> pl.DataFrame:
        """Write ``leaderboard.csv``: one line a row, best on validation first."""
        standing = self.folders.standing()
        metric = self.folders.metric
        sign = -1 if metric in metrics.LOSSES else 1
        lines = []
        for row_id, cells in self.folders.rows.items():
            line = self._line(cells)
            line |= {"row_id": row_id, "best": row_id == standing.leader}
            if row_id in standing.validation:
                line["validation"] = sign * standing.validation[row_id]
            lines.append(line)
        board = results.leaderboard(lines, metric, self.test.synthetic)
        results.write_csv(board, self.folders.root / results.LEADERBOARD)
        return board

    def _line(self, cells: list[Cell]) -> dict[str, Any]:
        """Leaderboard entries of a row: means over its finished seeds."""
        found = [self.folders.result(cell) for cell in cells]
        known = [result for result in found if result is not None]
        done = [result for result in known if result["status"] == "done"]
        model = dict(cells[0].row.model)
        model["tuned_layers"] = (
            None if model["tuned_layers"] is None else str(model["tuned_layers"])
        )
        line: dict[str, Any] = {"row": cells[0].row.label, "metric": self.folders.metric, **model}
        other = [result for result in known if result["status"] != "done"]
        line["reason"] = "; ".join(dict.fromkeys(str(result["reason"]) for result in other)) or None
        line["seeds"] = len(done)
        if not done:
            return line | {"status": other[0]["status"] if other else "skipped"}
        score = self._row_score(done)
        line |= {"test": score.value, "test_low": score.low, "test_high": score.high}
        for name in results.COSTS[:-1]:
            mean = float(np.mean([result["cost"][name] for result in done]))
            line[name] = mean if name.endswith("seconds") else round(mean)
        return line | {"status": "done"}

    def _row_score(self, done: list[dict[str, Any]]) -> metrics.Score:
        test = self.test
        folders = [self.folders.root / results.CELLS / result["id"] for result in done]
        return results.test_interval(
            [results.read_predictions(folder, "test", test.labels) for folder in folders],
            test.labels,
            test.clusters,
            self.folders.metric,
            self.resamples,
        )

    def write_ledger(self) -> None:
        """Write ``ledger.csv``: who computed frozen states, and who found them."""
        entries = []
        for cell in self.folders.cells:
            result = self.folders.result(cell)
            if result is None or result["status"] != "done":
                continue
            spent = result["cost"]
            entries.append(
                {
                    "cell": result["id"],
                    "row": result["row"],
                    "seed": result["seed"],
                    **{key: spent[key] for key in SPENT},
                    "notes": "synthetic" if self.test.synthetic else "real",
                }
            )
        results.write_csv(pl.DataFrame(entries), self.folders.root / results.LEDGER)
