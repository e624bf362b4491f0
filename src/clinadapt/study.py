"""Run every cell of a study, rank the rows, hand over the best.

A study's folder holds everything about it; the same command goes on where it was killed. Cells
run one by one, the seeds of a row next to each other, so that at most two bundles are on disk:
the leader's, and the best so far of the row at hand.
"""

import hashlib
import os
import shutil
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clinadapt import cost, metrics, results
from clinadapt.board import Board
from clinadapt.bundle import RECORD, save_bundle
from clinadapt.cells import FORMAT, CellFolders
from clinadapt.classifier import NoteClassifier
from clinadapt.context import Context, Ledger, Progress, no_progress
from clinadapt.description import describe, summarize
from clinadapt.design import Cell, Design, expand, identity, load_design
from clinadapt.errors import ClinadaptError, EncoderNotFoundError, InputError, LimitError
from clinadapt.machine import environment
from clinadapt.notes import Notes
from clinadapt.plan import Budget, make_plan, read_plan
from clinadapt.split import PARTS, Split, make_split, save_split
from clinadapt.train import forget

CHECKPOINT = "checkpoint.pt"
Finished = Callable[[dict[str, Any]], None]


class Study:
    """A table of notes, a design and a folder.

    Parameters
    ----------
    notes : Notes
    design : str, path or mapping
        Name of a built-in study ("quick", "paper"), a TOML file, or the same as a mapping.
    out : path
        Folder of the results; one study of one set of notes.
    encoders : sequence of str
        Take the place of the encoders that the design names.
    overrides : mapping, optional
        Values that take the place of the design's own, such as ``max_tokens`` or ``seeds``.
    cache : path, optional
        Folder of frozen states; default ``out/cache``. They reflect patient text.
    memory : int, optional
        Bytes that a cell may hold. What is given up for it is said in the cell's result; a cell
        that does not fit with everything given up is skipped.
    hours : float, optional
        For the whole run: a cell that is predicted to take longer than what is left is skipped.

    Raises
    ------
    InputError
        The design, or the notes under its split, do not do; or the folder holds another study.
    """

    def __init__(
        self,
        notes: Notes,
        design: str | Path | Mapping[str, Any] = "quick",
        out: str | Path = "study",
        encoders: Sequence[str] = (),
        overrides: Mapping[str, Any] | None = None,
        cache: str | Path | None = None,
        memory: int | None = None,
        hours: float | None = None,
    ) -> None:
        self.design: Design = load_design(design)
        if overrides:
            self.design = load_design({**self.design.model_dump(), **overrides})
        self.out = Path(out)
        self.cache = Path(cache) if cache is not None else self.out / "cache"
        self.cells = expand(self.design, encoders)
        self.metric = self.design.metric or metrics.PRIMARY[notes.labels.task]
        if self.metric not in metrics.metric_names(notes.labels.task):
            known = ", ".join(metrics.metric_names(notes.labels.task))
            raise InputError(f"metric {self.metric!r} is not one of this task's: {known}")
        self.memory, self.hours = memory, hours
        self._take(
            notes,
            make_split(
                notes,
                self.design.test_fraction,
                self.design.validation_fraction,
                self.design.split_seed,
            ),
        )

    def _take(self, notes: Notes, split: Split) -> None:
        self.notes, self.split = notes, split
        rows = split.parts()
        self._parts = {name: notes.take(numbers) for name, numbers in rows.items()}
        self.fingerprint = identity(
            notes.fingerprint,
            self.design.resamples,
            {name: hashlib.sha256(numbers.tobytes()).hexdigest() for name, numbers in rows.items()},
        )
        self.folders = CellFolders(self.out, self.cells, self.fingerprint, self.metric)

    # ------------------------------------------------------------------ the run

    def run(
        self,
        progress: Progress = no_progress,
        finished: Finished = lambda result: None,
        retry: bool = False,
    ) -> pl.DataFrame:
        """Fit every cell that has no result yet, then write leaderboard, report and best model.

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
        self.data = describe(self.notes, self.split, self._parts, self.fingerprint)
        self._write_study(best=None)
        save_split(self.split, self.notes.ids, self.out / "split.json")
        self._started = time.perf_counter()
        self._budget = self._make_budget(progress)
        for number, cell in enumerate(self.cells):
            progress("cells", number, len(self.cells))
            finished(self._result_of(cell, progress, retry))
        progress("cells", len(self.cells), len(self.cells))
        self._ensure_best(progress)
        made_of_cells = Board(self.folders, self._parts["test"], self.design.resamples)
        board = made_of_cells.write_leaderboard()
        made_of_cells.write_ledger()
        from clinadapt.report import render  # heavy, and needed only now

        render(self.out)
        return board

    def _claim_folder(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        there = results.read_json(self.out / "study.json")
        if there is not None and there["data"]["fingerprint"] != self.fingerprint:
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
        results.write_json(folder / results.RESULT, result)
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

    def probe(
        self, cell: Cell, rows: Mapping[str, NDArray[np.int64]], out: Path, progress: Progress
    ) -> dict[str, Any]:
        """Content of a cell's result on some notes of each part, apart from the study's own.

        Parameters
        ----------
        cell : Cell
        rows : mapping of str to ndarray of int64
            Row numbers, by the name of the part.
        out : Path
            Of its frozen states, ``cache``, and of its bundle and predictions, ``cell``.
        progress : callable
        """
        small = copy(self)
        small.out, small.cache, small.cells = out, out / "cache", [cell]
        small.environment = environment()
        ends = np.cumsum([len(rows[name]) for name in PARTS])
        chosen = np.concatenate([rows[name] for name in PARTS])
        small._take(self.notes.take(chosen), Split(*np.split(np.arange(len(chosen)), ends[:-1])))
        folder = out / "cell"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return small._fit(cell, folder, progress)

    def _fit(self, cell: Cell, folder: Path, progress: Progress) -> dict[str, Any]:
        train, validation, test = (self._parts[name] for name in ("train", "validation", "test"))
        ledger, watch, started = Ledger(), cost.Stopwatch(), time.perf_counter()
        context = Context(
            cache=self.cache,
            checkpoint=folder / CHECKPOINT,
            memory=self.memory,
            progress=lambda stage, done, total: progress(f"{cell.row.label}: {stage}", done, total),
            ledger=ledger,
        )
        resumed = (folder / CHECKPOINT).is_file()
        held = cost.reset_peak_memory()
        classifier = NoteClassifier(cell.build(), metric=self.metric)
        with watch.stage("encode"):
            # All parts at once: one pass over the encoder, and later stages only read.
            in_order = np.concatenate(list(self.split.parts().values()))
            classifier.prepare(self.notes.texts.take(in_order), context)
        encoding = replace(ledger)
        with watch.stage("fit"):
            classifier.fit_parts(
                train.texts, train.labels, validation.texts, validation.labels, context
            )
        before = ledger.cut_notes
        with watch.stage("predict"):
            on_test = classifier.model_.predict_proba(test.texts, context)
        cut = {**classifier.cut_, "test": ledger.cut_notes - before}
        scores, frames = {}, []
        for name, part, probabilities in (
            ("validation", validation, classifier.validation_probabilities_),
            ("test", test, on_test),
        ):
            predicted = classifier.predict_matrix(probabilities)
            scores[name] = self._score(part, probabilities, predicted)
            frames.append(
                results.prediction_frames(part.ids, name, part.labels, probabilities, predicted)
            )
        model = classifier.model_
        content: dict[str, Any] = {
            "threshold": {
                "value": classifier.threshold_.value,
                "at_least_one": classifier.threshold_.at_least_one,
                "chosen_on": "validation",
                "metric": self.metric,
            },
            "metrics": scores["test"],
            "validation_metrics": scores["validation"],
            "training": model.history_,
            "data": {**summarize(self.notes, self.fingerprint), "cut": cut},
            "encoder_sha256": getattr(model, "encoder_fingerprint_", None),
            "cost": {
                "encode_seconds": encoding.encode_seconds,
                "encode_seconds_spent_here": watch.seconds["encode"] if encoding.encoded else 0.0,
                "fit_seconds": watch.seconds["fit"],
                "predict_seconds": watch.seconds["predict"],
                **cost.peak_memory(),
                "held_memory_bytes": held,
                "trainable_parameters": model.trainable_parameters_,
                "total_parameters": model.total_parameters_,
                "encoded_sequences": encoding.encoded,
                "reused_sequences": encoding.reused,
                "backend": ledger.backend,
                "economies": ledger.economies,
                # After a kill, seconds and memory are those of the last run alone.
                "resumed": resumed,
            },
        }
        about = {
            "notes": "synthetic" if self.notes.synthetic else "real",
            "cell": self.folders.id(cell),
        }
        results.write_predictions(chain(*frames), folder / results.PREDICTIONS, about)
        provenance = {
            "row": cell.row.label,
            "cell": self.folders.id(cell),
            "data": summarize(self.notes, self.fingerprint),
            "metrics": content["metrics"],
            "environment": self.environment,
        }
        save_bundle(classifier, folder / results.BUNDLE, provenance)
        content["cost"]["disk_bytes"] = cost.folder_bytes(folder / results.BUNDLE)
        content["cost"]["seconds"] = time.perf_counter() - started
        return content

    def _score(
        self, part: Notes, probabilities: NDArray[np.float64], predicted: NDArray[np.bool_]
    ) -> dict[str, Any]:
        found = metrics.scores(
            part.labels, probabilities, predicted, part.clusters, self.design.resamples
        )
        return {name: score.to_json() for name, score in found.items()}

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
            "data": summarize(self.notes, self.fingerprint),
            "environment": self.environment,
        }

    def _ensure_best(self, progress: Progress) -> None:
        """Put the best cell's bundle at ``best``, fitting it again if its bundle is gone."""
        standing = self.folders.standing()
        if standing.leader is None:
            return
        cell = standing.best[standing.leader]
        folder = self.folders.folder(cell)
        best = self.out / "best"
        there = results.read_json(best / RECORD)
        if there is None or there["provenance"].get("cell") != self.folders.id(cell):
            if not (folder / results.BUNDLE / RECORD).is_file():
                self._fit(cell, folder, progress)
                forget(folder / CHECKPOINT)
            partial = self.out / "best.tmp"
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(folder / results.BUNDLE, partial, copy_function=_link_or_copy)
            shutil.rmtree(best, ignore_errors=True)
            os.replace(partial, best)
        self._write_study(best={"cell": self.folders.id(cell), "row": cell.row.label})

    # ------------------------------------------------------------------ what is written

    def _write_study(self, best: dict[str, str] | None) -> None:
        labels = self.notes.labels
        classes = [str(name) for name in labels.classes]
        results.write_json(
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
                "data": self.data,
                "environment": self.environment,
            },
        )


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return target


def _describe(error: Exception) -> str:
    """Kind and place of an unexpected error; not its message, which may quote a note."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "clinadapt" in frame.filename] or list(frames)
    place = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "unknown place"
    text = f"{type(error).__name__} at {place}"
    if os.environ.get("CLINADAPT_DEBUG"):
        return f"{text}: {error}"
    return f"{text} (its message may quote notes: set CLINADAPT_DEBUG=1 and --retry to see it)"
