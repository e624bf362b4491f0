"""Summaries of a study's finished runs: evidence, leaderboard, ledger, learning curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from clinadapt.core import atomic_files
from clinadapt.data import prediction_tables
from clinadapt.data.levels import NOTES, Unit
from clinadapt.data.notes import Notes
from clinadapt.evaluation import abstention, metrics, subgroups
from clinadapt.evaluation.doubts import doubts_of, rarest_class
from clinadapt.evaluation.entrants import Entrant
from clinadapt.evaluation.learning_curves import Curves, Grower, SizeResults
from clinadapt.evaluation.paired_comparison import Predictions
from clinadapt.evaluation.recommendation import Evidence
from clinadapt.evaluation.risk_coverage import risk_coverage
from clinadapt.evaluation.threshold import Threshold
from clinadapt.study import result_files
from clinadapt.study.design import Configuration, Run
from clinadapt.study.run_store import RunStore

ENCODING_COSTS = ("encoded_sequences", "reused_sequences", "encode_seconds")


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """Scores, comparison and cost of a study's configurations.

    Attributes
    ----------
    folders : RunStore
    parts : mapping of str to Notes
        Training, validation and test part of what is scored, as they were predicted; see
        `Material.scored`.
    labelled : int
        Number of notes, or patients, that a configuration learns from.
    margin : float
        Largest difference of the metric that is negligible.
    resamples : int
        Number of bootstrap resamples.
    draw : int
        Number of their random draw, see `clinadapt.evaluation.recommendation.Evidence`.
    unit : Unit
        What is scored.
    """

    folders: RunStore
    parts: Mapping[str, Notes]
    labelled: int
    margin: float
    resamples: int
    draw: int = 0
    unit: Unit = NOTES
    _read: dict[tuple[str, str], Predictions] = field(default_factory=dict, init=False)

    @property
    def test(self) -> Notes:
        """The test part."""
        return self.parts["test"]

    @cached_property
    def evidence(self) -> Evidence | None:
        """Comparison of the complete configurations; None if none is complete."""
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
                    unrepeated=len(done) == 1 and "seed" in runs[0].resolved,
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
            self.draw,
            self.unit,
        )

    def write_evidence(self, folds: int = 1, nested: Mapping[str, Any] | None = None) -> None:
        """Write ``evidence.json``, or delete it if no configuration is complete.

        Parameters
        ----------
        folds : int
            Folds that the choice stands on; 1 for one validation part.
        nested : mapping, optional
            See `clinadapt.study.nested_choice`.
        """
        path = self.folders.root / result_files.EVIDENCE
        if self.evidence is None:
            path.unlink(missing_ok=True)
        else:
            doubts = doubts_of(self.evidence, folds, nested).to_json()
            atomic_files.write_json(path, {**self.evidence.to_json(), "doubts": doubts})

    def write_subgroups(self) -> None:
        """Write ``subgroups.json``: scores by subgroup of the recommended configuration.

        Where none is recommended, they are those of the leader.
        """
        path = self.folders.root / result_files.SUBGROUPS
        if self.evidence is None:
            path.unlink(missing_ok=True)
            return
        configuration = self.evidence.recommended or self.evidence.leader
        test = self.test
        compared = subgroups.compare_subgroups(
            test.labels,
            test.clusters,
            self.folders.metric,
            configuration.predictions,
            subgroups.levels_of(test.texts if self.unit is NOTES else None, test.characteristics),
            self.resamples,
        )
        content = {
            "configuration_id": configuration.configuration_id,
            "configuration": configuration.label,
            "sentences": subgroups.sentences(compared, self.unit),
            "subgroups": [item.to_json(self.unit) for item in compared],
        }
        atomic_files.write_json(path, content)

    def write_abstention(self) -> None:
        """Write ``abstention.json``: what the recommended configuration leaves to a person.

        Where none is recommended, it is the leader. Bands and sets are chosen on the validation
        part and measured on the test part, with the seed that is handed over.
        """
        path = self.folders.root / result_files.ABSTENTION
        if self.evidence is None:
            path.unlink(missing_ok=True)
            return
        chosen = self.evidence.recommended or self.evidence.leader
        done = self.done(self.folders.configurations[chosen.configuration_id])[chosen.chosen]
        threshold = Threshold(
            float("nan") if done["threshold"]["value"] is None else done["threshold"]["value"],
            done["threshold"]["at_least_one"],
        )
        validation, test = self.parts["validation"], self.test
        validated, predicted = (
            chosen.validated[chosen.chosen][0],
            chosen.predictions[chosen.chosen][0],
        )
        allowed = abstention.calibrate(validation.labels, validated, validation.clusters, threshold)
        measured = test.labels, predicted, test.clusters
        curve = risk_coverage(*measured, threshold)
        content = {
            "configuration_id": chosen.configuration_id,
            "configuration": chosen.label,
            "task": test.labels.task,
            "positive": None if test.labels.positive is None else str(test.labels.positive),
            "confidence": allowed.confidence,
            "patients": allowed.patients,
            "units": "patients" if allowed.patients < len(validation) else str(self.unit.many),
            **curve.to_json(),
            "bands": [abstention.measure_band(band, *measured).to_json() for band in allowed.bands],
            "sets": [abstention.measure_sets(sets, *measured).to_json() for sets in allowed.sets],
        }
        atomic_files.write_json(path, content)

    def write_leaderboard(self) -> pl.DataFrame:
        """Write ``leaderboard.csv``: one line per configuration, best on validation first."""
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
        """Return the leaderboard line of a configuration: means over its finished seeds."""
        known = [result for run in runs if (result := self.folders.result(run)) is not None]
        done = [result for result in known if result["status"] == "done"]
        axes = dict(runs[0].configuration.axes)
        if axes["tuned_layers"] is not None:
            axes["tuned_layers"] = str(axes["tuned_layers"])
        line: dict[str, Any] = {
            "configuration": runs[0].configuration.label,
            "metric": self.folders.metric,
            **axes,
        }
        other = [result for result in known if result["status"] != "done"]
        line["reason"] = "; ".join(dict.fromkeys(str(result["reason"]) for result in other)) or None
        line["seeds"] = len(done)
        if not done:
            return line | {"status": other[0]["status"] if other else "skipped"}
        score = self._test_score(done)
        line |= {"test": score.value, "test_low": score.low, "test_high": score.high}
        line["test_rarest_patients"] = rarest_class(self.test.labels, self.test.clusters)[1]
        for name in result_files.COSTS[:-1]:
            mean = float(np.mean([result["cost"][name] for result in done]))
            line[name] = mean if name.endswith("seconds") else round(mean)
        return line | {"status": "done"}

    def _test_score(self, done: list[dict[str, Any]]) -> metrics.Score:
        test, metric = self.test, self.folders.metric
        predictions = self.predictions(done)
        return metrics.mean_scores(test.labels, predictions, test.clusters, [metric])[metric]

    def done(self, runs: list[Run]) -> list[dict[str, Any]]:
        """Return the results of the runs that are done."""
        results = [self.folders.result(run) for run in runs]
        return [result for result in results if result is not None and result["status"] == "done"]

    def predictions(self, done: list[dict[str, Any]], part: str = "test") -> list[Predictions]:
        """Return each result's probabilities and predicted classes on a part; read once."""
        for result in done:
            if (result["id"], part) not in self._read:
                folder = self.folders.root / result_files.RUNS / result["id"]
                self._read[result["id"], part] = prediction_tables.read_predictions(
                    folder, part, self.parts[part].labels
                )
        return [self._read[result["id"], part] for result in done]

    def write_ledger(self) -> None:
        """Write ``ledger.csv``: which runs computed cached features, and which reused them."""
        entries = []
        for run in self.folders.runs:
            result = self.folders.result(run)
            if result is None or result["status"] != "done":
                continue
            cost = result["cost"]
            entries.append(
                {
                    "run": result["id"],
                    "configuration": result["configuration"],
                    "seed": result["seed"],
                    **{key: cost[key] for key in ENCODING_COSTS},
                    "notes": "synthetic" if self.test.synthetic else "real",
                }
            )
        atomic_files.write_csv(pl.DataFrame(entries), self.folders.root / result_files.LEDGER)


def learning_curves(sizes: Sequence[Sequence[Leaderboard]]) -> Curves:
    """Return the configurations' scores by number of labelled notes.

    Parameters
    ----------
    sizes : sequence of (sequence of Leaderboard)
        Leaderboards of the draws of each size; all have the same configurations and test notes.
    """
    full = sizes[-1][0]
    growers = []
    for configuration_id, runs in full.folders.configurations.items():
        points = []
        for boards in sizes:
            done = [
                (board, board.done(board.folders.configurations[configuration_id]))
                for board in boards
            ]
            results = [result for _, several in done for result in several]
            if not results:
                continue
            points.append(
                SizeResults(
                    notes=round(float(np.mean([board.labelled for board in boards]))),
                    predictions=[
                        pair for board, several in done for pair in board.predictions(several)
                    ],
                    seconds=float(np.mean([_seconds(result) for result in results])),
                    memory=float(
                        np.mean([result["cost"]["peak_memory_bytes"] for result in results])
                    ),
                )
            )
        if points:
            growers.append(_grower(configuration_id, runs[0].configuration, points))
    test = full.test
    return Curves(growers, test.labels, test.clusters, full.folders.metric, full.unit)


def _grower(
    configuration_id: str, configuration: Configuration, sizes: Sequence[SizeResults]
) -> Grower:
    return Grower(
        configuration_id, configuration.label, configuration.model, configuration.cls.kind, sizes
    )


def _seconds(result: dict[str, Any]) -> float:
    """Return the seconds that a run takes to encode, fit and predict."""
    return float(
        sum(result["cost"][name] for name in result_files.COSTS if name.endswith("seconds"))
    )
