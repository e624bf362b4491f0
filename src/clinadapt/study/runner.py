"""Fit every run of a study, rank the configurations, and keep the best model.

A study's folder holds everything about it; running the same command again resumes an interrupted
study. Runs are fitted one by one, the seeds of a configuration next to each other, so that at most
two bundles are on disk: the leader's, and the best so far of the current configuration.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    NoMemoryError,
    describe_unexpected,
    reason_of,
)
from clinadapt.core.folder_lock import folder_lock
from clinadapt.core.machine_faults import machine_error, machine_faults_told
from clinadapt.core.messages import Message
from clinadapt.core.permissions import private_folder
from clinadapt.core.run_context import Context, Finished, Progress, no_progress
from clinadapt.data.levels import UNITS
from clinadapt.data.split import Split, save_split
from clinadapt.data.summary import describe, summarize
from clinadapt.models.bundle.integrity import RECORD
from clinadapt.models.bundle.record import READ_FORMATS
from clinadapt.neural.training.loop import forget
from clinadapt.study import result_files
from clinadapt.study.checks.registry import write_checks
from clinadapt.study.design import Run
from clinadapt.study.earlier_design import check_earlier, what_differs
from clinadapt.study.encoder_check import check_encoders
from clinadapt.study.fit_run import CHECKPOINT, fit_run
from clinadapt.study.leaderboard import Leaderboard
from clinadapt.study.nested_choice import nested_choice
from clinadapt.study.planning.plan import Budget, make_plan, read_plan
from clinadapt.study.refits import write_curves, write_sites
from clinadapt.study.run_store import PREDICTIONS_SHA256
from clinadapt.study.setup import StudySetup
from clinadapt.study.study_folder import check_study_folder

LOG = logging.getLogger("clinadapt")


class StudyRunner(StudySetup):
    """A study of a table of notes: a design, a folder of results, and `complete`.

    The parameters are those of `StudySetup`. `clinadapt.Study` is the same for Python programs and
    notebooks.
    """

    # ------------------------------------------------------------------ all of it

    def complete(
        self,
        progress: Progress = no_progress,
        finished: Finished = lambda result: None,
        retry: bool = False,
    ) -> pl.DataFrame:
        """Fit every run that has no result yet, then write leaderboard, evidence and best model.

        Parameters
        ----------
        progress : callable
            Called with a stage's name, the steps done and the total; the stage "runs" counts the
            study's runs.
        finished : callable
            Called with the result of every run; ``reused`` is true in one from before.
        retry : bool
            Whether to fit again the runs that failed before.

        Returns
        -------
        polars.DataFrame
            The leaderboard.

        Raises
        ------
        InputError
            An encoder cannot be found, or the folder holds another study.
        MachineError
            The disk is full, another process runs this study, or another fault of the machine.
            What was finished is kept, and nothing of what was not; call this again once the cause
            is gone. A run for which there is no memory is skipped instead, and the others go on.
        """
        with self.claimed():
            return self._complete(progress, finished, retry)

    @contextmanager
    def claimed(self, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
        """Hold the study's folder during a ``with`` block: no other process writes to it.

        Parameters
        ----------
        waiting : callable, optional
            Called once with who holds the folder, if another process does; it is then waited for.
            Without it, a folder in use is an error.

        Raises
        ------
        InputError, MachineError
            See `complete`.
        """
        check_encoders(self.runs, self.encoders)
        self._claim_folder()  # before the lock leaves its file there
        with machine_faults_told(self.out, at_work=True), folder_lock(self.out, waiting):
            self._claim_folder()
            yield

    def _complete(self, progress: Progress, finished: Finished, retry: bool) -> pl.DataFrame:
        check_earlier(self.out, self.design.name, self.metric, set(self.folders.configurations))
        self.environment = environment()
        parts = {**self.material.parts, "test": self.material.read["test"]}
        self.data = describe(self.notes, self.split, parts, self.material.fingerprint)
        if self.material.patients is not None:
            for name, part in self.material.units.parts.items():
                counts = part.labels.counts().items()
                self.data["parts"][name]["patients"] = {str(label): n for label, n in counts}
        self._write_study()
        save_split(self.split, self.notes.ids, self.out / "split.json")
        self._started = time.perf_counter()
        self._budget = self._make_budget(progress)
        full = self.fit_runs(progress, finished, retry)
        self._hand_over(full, progress)
        self._refit(full, progress, finished, retry)
        full.write_evidence(max(1, len(self.material.folds)), nested_choice(full, self.material))
        full.write_subgroups()
        full.write_abstention()
        board = full.write_leaderboard()
        full.write_ledger()
        write_checks(self.out, self.notes, self.split, self.design.ignore)
        return board

    def _refit(
        self, full: Leaderboard, progress: Progress, finished: Finished, retry: bool
    ) -> None:
        """Refit on smaller amounts of notes and with each site held out, if the study asks."""

        def stages(stage: str, done: int, total: int) -> None:
            if stage != "runs":  # that bar counts the study's own runs
                progress(stage, done, total)

        def fit_runs(split: Split, folder: str) -> Leaderboard:
            other = self.under(split, folder)
            other._budget = None  # the plan is for the full study
            return other.fit_runs(stages, finished, retry)

        write_curves(self, full, fit_runs, progress)
        write_sites(self, full, fit_runs, progress)

    def fit_runs(self, progress: Progress, finished: Finished, retry: bool) -> Leaderboard:
        """Fit every run that has no result yet; see `complete`."""
        for number, run in enumerate(self.runs):
            progress("runs", number, len(self.runs))
            finished(self._result_of(run, progress, retry))
        progress("runs", len(self.runs), len(self.runs))
        return Leaderboard(
            self.folders,
            self.material.scored,
            len(self.material.units.labelled_rows),
            self.design.margin,
            self.design.resamples,
            unit=UNITS[self.design.level],
        )

    def _claim_folder(self) -> None:
        check_study_folder(self.out)
        private_folder(self.out)
        existing = atomic_files.read_json(self.out / "study.json")
        if existing is not None and existing["data"]["fingerprint"] != self.material.fingerprint:
            raise InputError(
                f"{self.out} holds a study {what_differs(existing, self.design)}: "
                "choose another folder (--out), or delete this one"
            )

    def _result_of(self, run: Run, progress: Progress, retry: bool) -> dict[str, Any]:
        """Return the run's result, read from disk if it is settled."""
        folder = self.folders.folder(run)
        settled = self.folders.settled(run, retry)
        if settled is not None and self.folders.is_whole(run, settled):
            forget(folder / CHECKPOINT)  # left if the process was killed just after the result
            return {**settled, "reused": True}
        if settled is not None:
            LOG.warning("the results in %s are damaged: this run is fitted again", folder)
        private_folder(folder)
        result = self._header(run)
        try:
            self._check_limits(run)
            result |= {"status": "done", "reason": None, **self._fit(run, folder, progress)}
            if self._budget is not None:
                predicted = self._budget.compare(
                    self.folders.configuration_id(run.configuration), result
                )
                result["cost"]["predicted"] = predicted
        except (EncoderNotFoundError, LimitError) as error:
            result |= {"status": "skipped", "reason": reason_of(error)}
        except Exception as error:
            fault = machine_error(error, folder, at_work=True)
            if isinstance(fault, NoMemoryError):
                result |= {"status": "skipped", "reason": reason_of(fault)}
            elif fault is not None:
                raise fault from error
            else:
                reason = reason_of(error) if isinstance(error, ClinadaptError) else _describe(error)
                result |= {"status": "failed", "reason": reason}
        result_files.write_result(folder / result_files.RESULT, result)
        if result["status"] != "skipped":  # a skipped run may have been begun, and goes on later
            forget(folder / CHECKPOINT)
        self.folders.prune_bundles()
        return result

    def _make_budget(self, progress: Progress) -> Budget | None:
        """Return the plan's budget; a limit needs a plan, so make one if the folder has none."""
        plan = read_plan(self)
        if plan is None and self.memory is None and self.hours is None:
            return None
        if plan is None:
            plan = make_plan(self, progress)
            plan.save(self.out)
        return Budget(plan, self.memory, self.hours)

    def _check_limits(self, run: Run) -> None:
        if self._budget is not None:
            spent = time.perf_counter() - self._started
            reason = self._budget.refusal(self.folders.configuration_id(run.configuration), spent)
            if reason is not None:
                raise LimitError(reason)
        elif self.hours is not None and time.perf_counter() - self._started > 3600 * self.hours:
            raise LimitError(Message("the limit of {hours:g} hours is used up", hours=self.hours))

    def _fit(self, run: Run, folder: Path, progress: Progress) -> dict[str, Any]:
        context = Context(cache=self.cache, memory=self.memory, progress=progress)
        arguments = (self.material, run, self.folders.id(run), folder, context, self.environment)
        if self.meter is None:
            return fit_run(*arguments)
        with self.meter.measure() as energy:
            content = fit_run(*arguments)
        content["cost"]["energy"] = energy
        return content

    # ------------------------------------------------------------------ runs

    def _header(self, run: Run) -> dict[str, Any]:
        return {
            "format": result_files.FORMAT,
            "id": self.folders.id(run),
            "status": None,
            "reason": None,
            "configuration": run.configuration.label,
            "configuration_id": self.folders.configuration_id(run.configuration),
            "axes": run.configuration.axes,
            "settings": run.resolved,
            "seed": run.seed,
            "data": summarize(self.notes, self.material.fingerprint),
            "environment": self.environment,
        }

    def _hand_over(self, board: Leaderboard, progress: Progress) -> None:
        """Copy the bundles of the leader and of the recommended configuration to their places."""
        standing = self.folders.standing()
        recommended = None if board.evidence is None else board.evidence.recommended
        configurations = {
            "best": standing.leader,
            "recommended": None if recommended is None else recommended.configuration_id,
        }
        chosen = {}
        for name, configuration_id in configurations.items():
            if configuration_id is None:
                shutil.rmtree(self.out / name, ignore_errors=True)
                continue
            run = standing.best[configuration_id]
            self._ensure_bundle(run, self.out / name, progress)
            chosen[name] = {"run": self.folders.id(run), "configuration": run.configuration.label}
        self.folders.prune_bundles()
        self._write_study(**chosen)

    def _ensure_bundle(self, run: Run, target: Path, progress: Progress) -> None:
        """Copy a run's bundle to a folder; fit the run again if the bundle was deleted."""
        if holds(target, self.folders.id(run)):
            return
        folder = self.folders.folder(run)
        if not holds(folder / result_files.BUNDLE, self.folders.id(run)):
            again = self._fit(run, folder, progress)
            result = self.folders.result(run) or {}
            result |= {PREDICTIONS_SHA256: again[PREDICTIONS_SHA256]}
            result_files.write_result(folder / result_files.RESULT, result)
            forget(folder / CHECKPOINT)
        bundle = folder / result_files.BUNDLE
        with atomic_files.atomic_folder(target, replace=True) as partial:
            shutil.copytree(bundle, partial, copy_function=link_or_copy, dirs_exist_ok=True)

    def hand_over(self, run_id: str, target: Path, progress: Progress = no_progress) -> None:
        """Write the bundle of one run to a folder, and nothing else; fit the run again for it.

        Raises
        ------
        InputError, MachineError
            See `complete`.
        """
        (run,) = (each for each in self.runs if self.folders.id(each) == run_id)
        with self.claimed():
            self.environment = environment()
            self._ensure_bundle(run, target, progress)
            # Once its run has been fitted again, the study keeps no more bundles than before.
            shutil.rmtree(self.folders.folder(run) / result_files.BUNDLE, ignore_errors=True)

    # ------------------------------------------------------------------ what is written

    def _write_study(
        self, best: dict[str, str] | None = None, recommended: dict[str, str] | None = None
    ) -> None:
        labels = self.notes.labels
        classes = [str(name) for name in labels.classes]
        atomic_files.write_json(
            self.out / "study.json",
            {
                "format": result_files.FORMAT,
                "name": self.design.name,
                "task": labels.task,
                "classes": classes,
                "positive": None if labels.positive is None else str(labels.positive),
                "metric": self.metric,
                "design": self.design.model_dump(),
                "best": best,
                "recommended": recommended,
                "data": self.data,
                "environment": self.environment,
            },
        )


def holds(bundle: Path, run: str) -> bool:
    """Return whether a folder is a run's bundle in a format that this version reads."""
    record = atomic_files.read_json(bundle / RECORD)
    if record is None or record.get("format") not in READ_FORMATS:
        return False
    provenance = record.get("provenance", {})
    return run in (provenance.get("run"), provenance.get("cell"))  # "cell" in version 0.1


def link_or_copy(source: str, target: str) -> str:
    """Make a file the same as another, without a second copy on disk where that is possible."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return target


def _describe(error: Exception) -> str:
    """Return the type and place of an unexpected error, not its message: it may quote a note."""
    text = describe_unexpected(error)
    if os.environ.get("CLINADAPT_DEBUG"):
        return f"{text}: {error}"
    return (
        f"{text} (its message is withheld because it may quote notes; to see it, set "
        "CLINADAPT_DEBUG=1 and run again with --retry)"
    )
