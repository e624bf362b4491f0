"""Run every cell of a study, rank the rows, hand over the best.

A study's folder holds everything about it; the same command goes on where it was killed. Cells
run one by one, the seeds of a row next to each other, so that at most two bundles are on disk:
the leader's, and the best so far of the row at hand.
"""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import polars as pl

from clinadapt.core import atomic_files
from clinadapt.core.device import environment
from clinadapt.core.errors import (
    ClinadaptError,
    EncoderNotFoundError,
    InputError,
    LimitError,
    describe_unexpected,
)
from clinadapt.core.run_context import Context, Finished, Progress, no_progress
from clinadapt.data.split import Split, save_split
from clinadapt.data.summary import describe, summarize
from clinadapt.models.bundle.integrity import RECORD
from clinadapt.models.bundle.record import FORMAT as BUNDLE_FORMAT
from clinadapt.neural.training.loop import forget
from clinadapt.study import result_files
from clinadapt.study.cell_store import FORMAT
from clinadapt.study.design import Cell
from clinadapt.study.fit_cell import CHECKPOINT, fit_cell
from clinadapt.study.leaderboard import Board
from clinadapt.study.planning.plan import Budget, make_plan, read_plan
from clinadapt.study.refits import write_curves, write_sites
from clinadapt.study.setup import StudySetup


class Study(StudySetup):
    """A table of notes, a design and a folder, and the run of it all.

    Takes what `StudySetup` takes.
    """

    # ------------------------------------------------------------------ the run

    def run(
        self,
        progress: Progress = no_progress,
        finished: Finished = lambda result: None,
        retry: bool = False,
    ) -> pl.DataFrame:
        """Fit every cell that has no result yet, then write leaderboard, evidence and best model.

        Parameters
        ----------
        progress : callable
            Called with a stage's name, steps done and steps in all; "cells" is the whole.
        finished : callable
            Called with the result of every cell, old or new.
        retry : bool
            Run cells again that failed before.

        Returns
        -------
        polars.DataFrame
            The leaderboard.
        """
        self._claim_folder()
        self.environment = environment()
        self.data = describe(self.notes, self.split, self.material.parts, self.material.fingerprint)
        self._write_study()
        save_split(self.split, self.notes.ids, self.out / "split.json")
        self._started = time.perf_counter()
        self._budget = self._make_budget(progress)
        whole = self.fit_cells(progress, finished, retry)
        self._hand_over(whole, progress)
        self._refit(whole, progress, finished, retry)
        whole.write_evidence()
        whole.write_subgroups()
        board = whole.write_leaderboard()
        whole.write_ledger()
        return board

    def _refit(self, whole: Board, progress: Progress, finished: Finished, retry: bool) -> None:
        """Fit the rows again on smaller amounts of notes and with each site held out, if asked."""

        def stages(stage: str, done: int, total: int) -> None:
            if stage != "cells":  # these are the whole study's
                progress(stage, done, total)

        def run_cells(split: Split, folder: str) -> Board:
            other = self.under(split, folder)
            other._budget = None  # it speaks of the whole
            return other.fit_cells(stages, finished, retry)

        write_curves(self, whole, run_cells, progress)
        write_sites(self, whole, run_cells, progress)

    def fit_cells(self, progress: Progress, finished: Finished, retry: bool) -> Board:
        """Run every cell that has no result yet; see `run`."""
        for number, cell in enumerate(self.cells):
            progress("cells", number, len(self.cells))
            finished(self._result_of(cell, progress, retry))
        progress("cells", len(self.cells), len(self.cells))
        return Board(self.folders, self.material.parts, self.design.margin, self.design.resamples)

    def _claim_folder(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        there = atomic_files.read_json(self.out / "study.json")
        if there is not None and there["data"]["fingerprint"] != self.material.fingerprint:
            raise InputError(
                f"{self.out} holds a study of other notes or of another split: "
                "choose another --out, or delete it"
            )

    def _result_of(self, cell: Cell, progress: Progress, retry: bool) -> dict[str, Any]:
        """Return the cell's result, from disk if it is there."""
        known = self.folders.settled(cell, retry)
        if known is not None:
            return known
        folder = self.folders.folder(cell)
        folder.mkdir(parents=True, exist_ok=True)
        result = self._header(cell)
        try:
            self._refuse_what_does_not_fit(cell)
            result |= {"status": "done", "reason": None, **self._fit(cell, folder, progress)}
            if self._budget is not None:
                predicted = self._budget.compare(self.folders.row_id(cell.row), result)
                result["cost"]["predicted"] = predicted
        except (EncoderNotFoundError, LimitError) as error:
            result |= {"status": "skipped", "reason": str(error)}
        except ClinadaptError as error:
            result |= {"status": "failed", "reason": str(error)}
        except Exception as error:
            result |= {"status": "failed", "reason": _describe(error)}
        atomic_files.write_json(folder / result_files.RESULT, result)
        forget(folder / CHECKPOINT)
        self.folders.prune_bundles()
        return result

    def _make_budget(self, progress: Progress) -> Budget | None:
        """Limits need a plan: the one in the folder, or one made now."""
        plan = read_plan(self)
        if plan is None and self.memory is None and self.hours is None:
            return None
        if plan is None:
            plan = make_plan(self, progress)
            plan.save(self.out)
        return Budget(plan, self.memory, self.hours)

    def _refuse_what_does_not_fit(self, cell: Cell) -> None:
        if self._budget is not None:
            spent = time.perf_counter() - self._started
            reason = self._budget.refusal(self.folders.row_id(cell.row), spent)
            if reason is not None:
                raise LimitError(reason)
        elif self.hours is not None and time.perf_counter() - self._started > 3600 * self.hours:
            raise LimitError(f"the {self.hours:g} hours are spent")

    def _fit(self, cell: Cell, folder: Path, progress: Progress) -> dict[str, Any]:
        context = Context(cache=self.cache, memory=self.memory, progress=progress)
        asked = (self.material, cell, self.folders.id(cell), folder, context, self.environment)
        if self.meter is None:
            return fit_cell(*asked)
        with self.meter.measure() as energy:
            content = fit_cell(*asked)
        content["cost"]["energy"] = energy
        return content

    # ------------------------------------------------------------------ cells

    def _header(self, cell: Cell) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "id": self.folders.id(cell),
            "status": None,
            "reason": None,
            "row": cell.row.label,
            "row_id": self.folders.row_id(cell.row),
            "model": cell.row.model,
            "settings": cell.resolved,
            "seed": cell.seed,
            "data": summarize(self.notes, self.material.fingerprint),
            "environment": self.environment,
        }

    def _hand_over(self, board: Board, progress: Progress) -> None:
        """Put the bundles of the row that leads and of the recommended one where they are found."""
        standing = self.folders.standing()
        recommended = None if board.evidence is None else board.evidence.recommended
        rows = {
            "best": standing.leader,
            "recommended": None if recommended is None else recommended.row_id,
        }
        handed = {}
        for name, row_id in rows.items():
            if row_id is None:
                shutil.rmtree(self.out / name, ignore_errors=True)
                continue
            cell = standing.best[row_id]
            self._ensure_bundle(cell, self.out / name, progress)
            handed[name] = {"cell": self.folders.id(cell), "row": cell.row.label}
        self.folders.prune_bundles()
        self._write_study(**handed)

    def _ensure_bundle(self, cell: Cell, target: Path, progress: Progress) -> None:
        """Put a cell's bundle at a place, fitting it again if it is gone."""
        if _holds(target, self.folders.id(cell)):
            return
        folder = self.folders.folder(cell)
        if not _holds(folder / result_files.BUNDLE, self.folders.id(cell)):
            self._fit(cell, folder, progress)
            forget(folder / CHECKPOINT)
        bundle = folder / result_files.BUNDLE
        with atomic_files.atomic_folder(target, replace=True) as partial:
            shutil.copytree(bundle, partial, copy_function=_link_or_copy, dirs_exist_ok=True)

    # ------------------------------------------------------------------ what is written

    def _write_study(
        self, best: dict[str, str] | None = None, recommended: dict[str, str] | None = None
    ) -> None:
        labels = self.notes.labels
        classes = [str(name) for name in labels.classes]
        atomic_files.write_json(
            self.out / "study.json",
            {
                "format": FORMAT,
                "name": self.design.name,
                "task": labels.task,
                "classes": classes,
                "positive": classes[1] if labels.task == "binary" else None,
                "metric": self.metric,
                "design": self.design.model_dump(),
                "best": best,
                "recommended": recommended,
                "data": self.data,
                "environment": self.environment,
            },
        )


def _holds(bundle: Path, cell: str) -> bool:
    """Whether a folder is a cell's bundle, in the format of this version."""
    record = atomic_files.read_json(bundle / RECORD)
    if record is None or record.get("format") != BUNDLE_FORMAT:
        return False
    return bool(record.get("provenance", {}).get("cell") == cell)


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return target


def _describe(error: Exception) -> str:
    """Kind and place of an unexpected error; not its message, which may quote a note."""
    text = describe_unexpected(error)
    if os.environ.get("CLINADAPT_DEBUG"):
        return f"{text}: {error}"
    return f"{text} (its message may quote notes: set CLINADAPT_DEBUG=1 and --retry to see it)"
