"""A study's runs on disk: finished runs, the leading configuration, the bundles that are kept."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from clinadapt.core import old_names
from clinadapt.core.atomic_files import file_sha256
from clinadapt.core.errors import InputError
from clinadapt.data.prediction_tables import PREDICTIONS, read_run
from clinadapt.evaluation import metrics
from clinadapt.study import result_files
from clinadapt.study.design import Configuration, Run, identity

ID_FORMAT = 1
PREDICTIONS_SHA256 = "predictions_sha256"


@dataclass(frozen=True)
class Standing:
    """Ranking of the configurations by validation scores alone.

    Attributes
    ----------
    leader : str, optional
        The complete configuration with the best mean validation score over its seeds; the first
        one in a tie.
    best : dict of str to Run
        Best run on validation of each configuration with a finished run, by configuration id.
    validation : dict of str to float
        Mean validation score of each of these configurations, by configuration id.
    """

    leader: str | None
    best: Mapping[str, Run]
    validation: Mapping[str, float]


@dataclass(frozen=True)
class RunStore:
    """Results of a study's runs, each in a folder of its own.

    Attributes
    ----------
    root : Path
        The study's folder.
    runs : sequence of Run
        Runs in the order in which they run, the seeds of a configuration next to each other.
    fingerprint : str
        Hash of the notes and the split.
    metric : str
        Metric that ranks the configurations.
    """

    root: Path
    runs: Sequence[Run]
    fingerprint: str
    metric: str
    _ids: dict[Run, str] = field(default_factory=dict)
    _starts: dict[tuple[str, str] | None, str | None] = field(default_factory=dict)

    def id(self, run: Run) -> str:
        """Return a hash of everything that determines a run's result."""
        if run not in self._ids:
            determined_by = (
                run.configuration.model,
                old_names.as_hashed(run.resolved),
                self._start(run),
            )
            self._ids[run] = identity(ID_FORMAT, *determined_by, self.fingerprint, self.metric)
        return self._ids[run]

    def _start(self, run: Run) -> str | None:
        if run.start not in self._starts:
            self._starts[run.start] = run.start_fingerprint
        return self._starts[run.start]

    def configuration_id(self, configuration: Configuration) -> str:
        """Return a hash of a configuration's settings."""
        return identity(configuration.model, old_names.as_hashed(configuration.settings))

    def folder(self, run: Run) -> Path:
        """Return the folder of a run."""
        return self.root / result_files.RUNS / self.id(run)

    def result(self, run: Run) -> dict[str, Any] | None:
        """Return the result of a run, or None if there is none yet or it is damaged."""
        return result_files.read_result(self.folder(run) / result_files.RESULT)

    def is_whole(self, run: Run, result: Mapping[str, Any]) -> bool:
        """Return whether a result, and the predictions of a finished run, are as written."""
        if not result_files.is_unchanged(result):
            return False
        if result["status"] != "done":
            return True
        try:
            read_run(self.folder(run))
        except InputError:
            return False
        written = result.get(PREDICTIONS_SHA256)  # None in results of earlier versions
        return written in (None, file_sha256(self.folder(run) / PREDICTIONS))

    def settled(self, run: Run, retry: bool = False) -> dict[str, Any] | None:
        """Return the result of a run that need not run again, or None.

        A finished run is settled; a failed one is settled unless failures are retried. A skipped
        run is always tried again: its encoder may have become available.
        """
        result = self.result(run)
        final = ("done",) if retry else ("done", "failed")
        return result if result is not None and result["status"] in final else None

    @cached_property
    def configurations(self) -> dict[str, list[Run]]:
        """Runs of each configuration, by configuration id."""
        configurations: dict[str, list[Run]] = {}
        for run in self.runs:
            configurations.setdefault(self.configuration_id(run.configuration), []).append(run)
        return configurations

    def standing(self) -> Standing:
        """Rank the configurations by the results so far."""
        best, validation = {}, {}
        leader: str | None = None
        for configuration_id, runs in self.configurations.items():
            results = [(run, self.result(run)) for run in runs]
            done = [
                (signed_score(result, self.metric), run)
                for run, result in results
                if result is not None and result["status"] == "done"
            ]
            if not done:
                continue
            best[configuration_id] = max(done, key=lambda item: item[0])[1]
            validation[configuration_id] = float(np.mean([score for score, _ in done]))
            complete = all(result is not None for _, result in results)
            if complete and (leader is None or validation[configuration_id] > validation[leader]):
                leader = configuration_id
        return Standing(leader, best, validation)

    def prune_bundles(self) -> None:
        """Delete every bundle but the leader's and the best of each incomplete configuration."""
        standing = self.standing()
        keep = {
            self.folder(standing.best[configuration_id])
            for configuration_id, runs in self.configurations.items()
            if configuration_id in standing.best
            and (
                configuration_id == standing.leader
                or any(self.settled(run) is None for run in runs)
            )
        }
        for run in self.runs:
            if self.folder(run) not in keep:
                shutil.rmtree(self.folder(run) / result_files.BUNDLE, ignore_errors=True)


def signed_score(result: Mapping[str, Any], metric: str) -> float:
    """Return a finished run's validation score, signed so that more is better."""
    return signed(result["validation_metrics"][metric]["value"], metric)


def signed(value: float | None, metric: str) -> float:
    """Return a score signed so that more is better; one that is not defined is the worst."""
    return -np.inf if value is None else metrics.sign(metric) * value
