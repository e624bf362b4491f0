"""What a reader must know before believing a study's choice, in numbers and in words."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.core import formatting
from clinadapt.core.messages import Message, plural
from clinadapt.data.labels import Labels
from clinadapt.data.levels import NOTES, PATIENTS, Unit
from clinadapt.evaluation import metrics
from clinadapt.evaluation.constant_answer import CONSTANT
from clinadapt.evaluation.entrants import Entrant
from clinadapt.evaluation.paired_comparison import Difference
from clinadapt.evaluation.recommendation import Evidence

WEAK = 0.5  # below it, more than half of the positive notes or of the alarms are wrong
WORDS = {
    "precision": Message(
        "At its threshold, of the {units} that it labels {name}, more than half are not "
        "(precision {value:.2f} [{low:.2f}, {high:.2f}])."
    ),
    "recall": Message(
        "At its threshold, it misses more than half of the {units} that are {name} "
        "(recall {value:.2f} [{low:.2f}, {high:.2f}])."
    ),
}
NOUNS = {str(unit.many): unit.many for unit in (NOTES, PATIENTS)}


@dataclass(frozen=True)
class Doubts:
    """How far the choice of a configuration can be trusted.

    Attributes
    ----------
    chosen : str
        Label of the recommended configuration, or of the leader where none is recommended.
    others, alike : int
        Other configurations, and those of them that are not significantly different from it.
    rarest : str
        The positive class (binary), or the class with the fewest test patients.
    patients : str
        "patients", or "notes" where every note is its own patient.
    validation, test : int
        Patients with a note of that class in the validation and in the test part.
    folds : int
        Folds that the validation part was predicted on; 1 if no model was fitted on any of it.
    nested : mapping, optional
        Score of choosing anew in every fold of a nested study, with its interval.
    weak : dict of str to Score
        Precision and recall (sensitivity) at the threshold, where below a half; binary only.
    rival : str, optional
        The configuration that could be better by more than the margin, or the constant answer.
    more : int, optional
        About how many more test patients would settle it; None where nothing is open, or where
        more patients would not help.
    unrepeated : bool
        Some configurations were fitted with one seed although their training is random.
    against_constant : Difference
        The chosen configuration minus the constant answer.
    unit : Unit
        What is classified.
    """

    chosen: str
    others: int
    alike: int
    rarest: str
    patients: str
    validation: int
    test: int
    folds: int
    nested: Mapping[str, Any] | None
    weak: dict[str, metrics.Score]
    rival: str | None
    more: int | None
    unrepeated: bool
    against_constant: Difference
    unit: Unit = NOTES

    def sentences(self) -> Iterator[Message]:
        """Yield the doubts in words."""
        if self.folds == 1:
            yield Message(
                "The choice stands on {validation:,} validation {patients} of class {rarest}, the "
                "test scores on {test:,}.",
                validation=self.validation,
                patients=NOUNS[self.patients],
                rarest=self.rarest,
                test=self.test,
            )
        else:
            yield Message(
                "The choice stands on {validation:,} {patients} of class {rarest}, predicted in "
                "{folds} folds by models that had not seen them; the test scores stand on "
                "{test:,}.",
                validation=self.validation,
                patients=NOUNS[self.patients],
                rarest=self.rarest,
                folds=self.folds,
                test=self.test,
            )
        if self.alike == self.others == 1:
            yield Message(
                "The other configuration is not significantly different from {chosen}.",
                chosen=self.chosen,
            )
        elif self.alike:
            yield plural(
                "{count} of {others} other configurations is not significantly different from "
                "{chosen}.",
                "{count} of {others} other configurations are not significantly different from "
                "{chosen}.",
                count=self.alike,
                others=self.others,
                chosen=self.chosen,
            )
        if self.more is not None:
            yield Message(
                "About {more:estimate} more test {patients} would tell it from {rival}.",
                more=self.more,
                patients=NOUNS[self.patients],
                rival=self.rival,
            )
        yield from self.cautions()

    def cautions(self) -> Iterator[Message]:
        """Yield the doubts that the numbers above do not tell, in words."""
        if self.nested is not None:
            yield Message(
                "Every {unit} was a test {unit} in turn. Choosing anew in each of {folds} folds, "
                "as here, scores {metric} {value:score} [{low:score}, {high:score}] on {units} "
                "that the choice had not seen.",
                unit=self.unit.one,
                units=self.unit.many,
                folds=self.nested["folds"],
                metric=formatting.metric(self.nested["metric"]),
                value=self.nested["value"],
                low=self.nested["low"],
                high=self.nested["high"],
            )
        if not self.others:
            gap = self.against_constant
            if math.isnan(gap.low):
                yield Message(
                    "There is no other configuration: compared with the same answer to every "
                    "{unit}, it gains {gain:points} points.",
                    unit=self.unit.one,
                    gain=gap.value,
                )
            else:
                yield Message(
                    "There is no other configuration: compared with the same answer to every "
                    "{unit}, it gains {gain:points} points [{low:points}, {high:points}].",
                    unit=self.unit.one,
                    gain=gap.value,
                    low=gap.low,
                    high=gap.high,
                )
        for name, score in self.weak.items():
            ends = {"value": score.value, "low": score.low, "high": score.high}
            yield Message(WORDS[name], name=self.rarest, units=self.unit.many, **ends)
        if self.unrepeated:
            yield Message(
                "Configurations were fitted with one seed, so intervals and p-values include no "
                "variance of seeds: name several under 'seeds' to include it."
            )

    def to_json(self) -> dict[str, Any]:
        """Return every number, and the sentences."""
        return {
            **asdict(self),
            "unit": list(map(str, self.unit)),
            "weak": {name: score.to_json() for name, score in self.weak.items()},
            "against_constant": self.against_constant.to_json(),
            "sentences": list(self.sentences()),
            "cautions": list(self.cautions()),
        }


def doubts_of(
    evidence: Evidence, folds: int = 1, nested: Mapping[str, Any] | None = None
) -> Doubts:
    """Return the doubts about the recommended configuration, or else about the leader.

    Parameters
    ----------
    evidence : Evidence
    folds : int
        Folds that its validation notes were predicted on; 1 for one validation part.
    nested : mapping, optional
        Score of the choice itself, see `clinadapt.study.nested_choice`.
    """
    chosen = evidence.recommended or evidence.leader
    own = chosen.configuration_id
    pairs = [(own, other) for other in evidence.by_id if other != own]
    differences = {pair[1]: item for pair, item in evidence.scores.differences(pairs).items()}
    against_constant = evidence.scores.differences([(own, CONSTANT)])[own, CONSTANT]
    rarest, test = rarest_class(evidence.labels, evidence.clusters)
    rival, more = _more_patients(evidence, differences, against_constant)
    return Doubts(
        chosen=chosen.label,
        others=len(differences),
        alike=sum(not item.different for item in differences.values()),
        rarest=str(evidence.labels.classes[rarest]),
        patients="patients"
        if evidence.patients < len(evidence.clusters)
        else str(evidence.unit.many),
        validation=_carriers(evidence.validation, evidence.validation_clusters, rarest),
        test=test,
        folds=folds,
        nested=nested,
        weak=_weak(evidence, chosen),
        rival=rival,
        more=more,
        unrepeated=any(entrant.unrepeated for entrant in evidence.entrants),
        against_constant=against_constant,
        unit=evidence.unit,
    )


def rarest_class(labels: Labels, clusters: NDArray[np.int64]) -> tuple[int, int]:
    """Return the positive class, or the one with the fewest patients, and their number."""
    counts = [_carriers(labels, clusters, number) for number in range(len(labels.classes))]
    rarest = 1 if labels.task == "binary" else int(np.argmin(counts))
    return rarest, counts[rarest]


def _carriers(labels: Labels, clusters: NDArray[np.int64], number: int) -> int:
    return len(np.unique(clusters[labels.matrix[:, number]]))


def _weak(evidence: Evidence, chosen: Entrant) -> dict[str, metrics.Score]:
    if evidence.labels.task != "binary":
        return {}
    scores = metrics.mean_scores(
        evidence.labels, chosen.predictions, evidence.clusters, ["precision", "recall"]
    )
    return {name: score for name, score in scores.items() if score.value < WEAK}


def _more_patients(
    evidence: Evidence, differences: dict[str, Difference], against_constant: Difference
) -> tuple[str | None, int | None]:
    """Return what may be as good as the chosen configuration, and the patients that would tell.

    Intervals narrow with the root of the number of patients. A rival that is truly as good can be
    ruled out to be better by more than the margin once half of the interval is the margin.
    """
    if evidence.recommended is None:
        return Message("a constant answer"), _needed(
            evidence, against_constant, against_constant.value
        )
    useful = {other: item for other, item in differences.items() if evidence.useful[other]}
    open_ = {other: item for other, item in useful.items() if not item.low > -evidence.margin}
    defined = {other: item.low for other, item in open_.items() if not math.isnan(item.low)}
    if not defined:
        return None, None
    rival = min(defined, key=lambda other: defined[other])
    most = max(_needed(evidence, open_[other], evidence.margin) or 0 for other in defined)
    return evidence.by_id[rival].label, most or None


def _needed(evidence: Evidence, item: Difference, half: float) -> int | None:
    """Return the patients to add until half of an interval is as wide as given."""
    if math.isnan(item.low) or half <= 0:
        return None
    factor = ((item.high - item.low) / 2 / half) ** 2
    return math.ceil(evidence.patients * (factor - 1)) if factor > 1 else None
