"""What a study's finished runs amount to: evidence, leaderboard, ledger, curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from clinadapt.core import atomic_files
from clinadapt.data import prediction_tables
from clinadapt.data.notes import Notes
from clinadapt.evaluation import metrics, subgroups
from clinadapt.evaluation.learning_curves import Curves, Grower, Size
from clinadapt.evaluation.paired_comparison import Predictions
from clinadapt.evaluation.recommendation import Entrant, Evidence
from clinadapt.study import result_files
from clinadapt.study.design import Configuration, Run
from clinadapt.study.run_store import RunStore

SPENT = ("encoded_sequences", "reused_sequences", "encode_seconds")


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """What a study's runs amount to.

    Attributes
    ----------
    folders : RunStore
    parts : mapping of str to Notes
        Training, validation and test part.
    margin : float
        Difference of the metric that does not matter.
    resamples : int
        Of the bootstrap.
    """

    folders: RunStore
    parts: Mapping[str, Notes]
    margin: float
    resamples: int
    _read: dict[tuple[str, str], Predictions] = field(default_factory=dict, init=False)

    @property
    def test(self) -> Notes:
        """The test part."""
        return self.parts["test"]

    @property
    def labelled(self) -> int:
        """Notes that a configuration learns from, thresholds and stopping included."""
        return len(self.parts["train"]) + len(self.parts["validation"])

    @cached_property
    def evidence(self) -> Evidence | None:
        """The configurations compared; None if none is complete."""
        standing = self.folders.standing()
        entrants = []
        for configuration_id, runs in self.folders.configurations.items():
            done = self.done(runs)
            if len(done) < len(runs):
                continue
            chosen = self.folders.id(standing.best[configuration_id])
            entrants.append(
                Entrant(
                    configuration_id=configuration_id,
                    label=runs[0].configuration.label,
                    model=runs[0].configuration.model,
                    kind=runs[0].configuration.cls.kind,
                    is_baseline=runs[0].configuration.cls.is_baseline,
                    settings={k: v for k, v in runs[0].resolved.items() if k != "seed"},
                    validation=standing.validation[configuration_id],
                    seconds=float(np.mean([_seconds(result) for result in done])),
                    predictions=self.predictions(done),
                    validated=self.predictions(done, "validation"),
                    chosen=[result["id"] for result in done].index(chosen),
                )
            )
        if not entrants:
            return None
        return Evidence(
            entrants,
            self.test.labels,
            self.parts["train"].labels,
            self.parts["validation"].labels,
            self.test.clusters,
            self.parts["validation"].clusters,
            self.folders.metric,
            self.margin,
            self.resamples,
        )

    def write_evidence(self) -> None:
        """Write ``evidence.json``, if there is anything to compare."""
        path = self.folders.root / result_files.EVIDENCE
        if self.evidence is None:
            path.unlink(missing_ok=True)
        else:
            atomic_files.write_json(path, self.evidence.to_json())

    def write_subgroups(self) -> None:
        """Write ``subgroups.json``: the recommended configuration, or else the leader, by kind of note."""
        path = self.folders.root / result_files.SUBGROUPS
        if self.evidence is None:
            path.unlink(missing_ok=True)
            return
        configuration = self.evidence.recommended or self.evidence.leader
        test = self.test
        found = subgroups.compare_subgroups(
            test.labels,
            test.clusters,
            self.folders.metric,
            configuration.predictions,
            subgroups.levels_of(test.texts, test.characteristics),
            self.resamples,
        )
        content = {
            "configuration_id": configuration.configuration_id,
            "configuration": configuration.label,
            "sentences": subgroups.sentences(found),
            "subgroups": [item.to_json() for item in found],
        }
        atomic_files.write_json(path, content)

    def write_leaderboard(self) -> pl.DataFrame:
        """Write ``leaderboard.csv``: one line a configuration, best on validation first."""
        standing = self.folders.standing()
        metric = self.folders.metric
        sign = metrics.sign(metric)
        lines = []
        for configuration_id, runs in self.folders.configurations.items():
            line = self._line(runs)
            line |= {
                "configuration_id": configuration_id,
                "best": configuration_id == standing.leader,
            }
            if self.evidence is not None and configuration_id in self.evidence.by_id:
                recommended = self.evidence.recommended
                line["group"] = self.evidence.groups[configuration_id]
                line["recommended"] = (
                    recommended is not None and recommended.configuration_id == configuration_id
                )
            if configuration_id in standing.validation:
                line["validation"] = sign * standing.validation[configuration_id]
            lines.append(line)
        board = result_files.leaderboard(lines, metric, self.test.synthetic)
        atomic_files.write_csv(board, self.folders.root / result_files.LEADERBOARD)
        return board

    def _line(self, runs: list[Run]) -> dict[str, Any]:
        """Leaderboard entries of a configuration: means over its finished seeds."""
        found = [self.folders.result(run) for run in runs]
        known = [result for result in found if result is not None]
        done = [result for result in known if result["status"] == "done"]
        model = dict(runs[0].configuration.axes)
        model["tuned_layers"] = (
            None if model["tuned_layers"] is None else str(model["tuned_layers"])
        )
        line: dict[str, Any] = {
            "configuration": runs[0].configuration.label,
            "metric": self.folders.metric,
            **model,
        }
        other = [result for result in known if result["status"] != "done"]
        line["reason"] = "; ".join(dict.fromkeys(str(result["reason"]) for result in other)) or None
        line["seeds"] = len(done)
        if not done:
            return line | {"status": other[0]["status"] if other else "skipped"}
        score = self._row_score(done)
        line |= {"test": score.value, "test_low": score.low, "test_high": score.high}
        for name in result_files.COSTS[:-1]:
            mean = float(np.mean([result["cost"][name] for result in done]))
            line[name] = mean if name.endswith("seconds") else round(mean)
        return line | {"status": "done"}

    def _row_score(self, done: list[dict[str, Any]]) -> metrics.Score:
        test = self.test
        return result_files.test_interval(
            self.predictions(done), test.labels, test.clusters, self.folders.metric, self.resamples
        )

    def done(self, runs: list[Run]) -> list[dict[str, Any]]:
        """Results of those runs that are done."""
        found = [self.folders.result(run) for run in runs]
        return [result for result in found if result is not None and result["status"] == "done"]

    def predictions(self, done: list[dict[str, Any]], part: str = "test") -> list[Predictions]:
        """Of each result, probabilities and predicted classes of a part's notes; read once."""
        for result in done:
            if (result["id"], part) not in self._read:
                folder = self.folders.root / result_files.RUNS / result["id"]
                self._read[result["id"], part] = prediction_tables.read_predictions(
                    folder, part, self.parts[part].labels
                )
        return [self._read[result["id"], part] for result in done]

    def write_ledger(self) -> None:
        """Write ``ledger.csv``: who computed cached features, and who found them."""
        entries = []
        for run in self.folders.runs:
            result = self.folders.result(run)
            if result is None or result["status"] != "done":
                continue
            spent = result["cost"]
            entries.append(
                {
                    "run": result["id"],
                    "configuration": result["configuration"],
                    "seed": result["seed"],
                    **{key: spent[key] for key in SPENT},
                    "notes": "synthetic" if self.test.synthetic else "real",
                }
            )
        atomic_files.write_csv(pl.DataFrame(entries), self.folders.root / result_files.LEDGER)


def learning_curves(sizes: Sequence[Sequence[Leaderboard]]) -> Curves:
    """Scores over the number of labelled notes.

    Parameters
    ----------
    sizes : sequence of (sequence of Leaderboard)
        Of each size, the boards of its draws; the configurations and test notes of all are the same.
    """
    whole = sizes[-1][0]
    growers = []
    for configuration_id, runs in whole.folders.configurations.items():
        found = []
        for boards in sizes:
            done = [
                (board, board.done(board.folders.configurations[configuration_id]))
                for board in boards
            ]
            results_of = [result for _, several in done for result in several]
            if not results_of:
                continue
            found.append(
                Size(
                    notes=round(float(np.mean([board.labelled for board in boards]))),
                    predictions=[
                        pair for board, several in done for pair in board.predictions(several)
                    ],
                    seconds=float(np.mean([_seconds(result) for result in results_of])),
                    memory=float(
                        np.mean([result["cost"]["peak_memory_bytes"] for result in results_of])
                    ),
                )
            )
        if found:
            growers.append(_grower(configuration_id, runs[0].configuration, found))
    test = whole.test
    return Curves(growers, test.labels, test.clusters, whole.folders.metric)


def _grower(configuration_id: str, configuration: Configuration, sizes: Sequence[Size]) -> Grower:
    return Grower(
        configuration_id, configuration.label, configuration.model, configuration.cls.kind, sizes
    )


def _seconds(result: dict[str, Any]) -> float:
    """What a run takes to encode, fit and predict."""
    return float(
        sum(result["cost"][name] for name in result_files.COSTS if name.endswith("seconds"))
    )
