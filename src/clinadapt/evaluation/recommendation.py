"""Conclusions from a study's test scores: relevant pairs, groups and a recommendation.

The leading configuration is chosen on validation notes. All comparisons are made on test notes,
which were not used for any choice. The recommendation is a test of non-inferiority: the cheapest
useful configuration of which the test notes show that it is not worse than any other by more than
the margin. Where they show it of none, the cheapest that may be as good as the best is a candidate.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.messages import Message
from clinadapt.data.labels import Labels
from clinadapt.data.levels import NOTES, Unit
from clinadapt.evaluation.constant_answer import CONSTANT, constant_answer
from clinadapt.evaluation.entrants import Entrant, relevant_pairs
from clinadapt.evaluation.paired_comparison import (
    KNOWLEDGE,
    SIGNIFICANCE,
    Difference,
    ResampledScores,
    mcnemar,
)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Comparison of a study's configurations on its test notes.

    Attributes
    ----------
    entrants : sequence of Entrant
    labels : Labels
        Labels of the test notes.
    train, validation : Labels
        Labels of the training and the validation notes.
    clusters, validation_clusters : ndarray of int64, shape [note]
        Patient of each test note and of each validation note.
    metric : str
    margin : float
        Largest difference of the metric that is considered irrelevant.
    resamples : int
        Number of bootstrap resamples.
    draw : int
        Number of the random draw of the resamples. Test parts whose scores are averaged have
        different ones: with the same, parts of as many patients would share their draws.
    unit : Unit
        What the labels are of; where it is patients, "note" above means patient.
    """

    entrants: Sequence[Entrant]
    labels: Labels
    train: Labels
    validation: Labels
    clusters: NDArray[np.int64]
    validation_clusters: NDArray[np.int64]
    metric: str
    margin: float
    resamples: int
    draw: int = 0
    unit: Unit = NOTES

    @cached_property
    def by_id(self) -> dict[str, Entrant]:
        """Entrants by configuration id."""
        return {entrant.configuration_id: entrant for entrant in self.entrants}

    @cached_property
    def leader(self) -> Entrant:
        """Configuration with the best validation score."""
        return max(self.entrants, key=lambda entrant: entrant.validation)

    @cached_property
    def scores(self) -> ResampledScores:
        """Test scores of all configurations and of the constant answer."""
        configurations = {
            entrant.configuration_id: entrant.predictions for entrant in self.entrants
        }
        answer = constant_answer(self.train, len(self.labels.matrix), self.metric)
        return ResampledScores(
            self.labels,
            self.clusters,
            self.metric,
            {**configurations, CONSTANT: [answer]},
            self.resamples,
            self.draw,
        )

    # ------------------------------------------------------------------ pairs

    @cached_property
    def questions(self) -> dict[tuple[str, str], list[str]]:
        """Relevant pairs of configurations, and the questions that each pair answers."""
        return relevant_pairs(self.entrants, self.leader)

    @cached_property
    def differences(self) -> dict[tuple[str, str], Difference]:
        """Differences of the relevant pairs, corrected together."""
        return self.scores.differences(self.questions)

    # ------------------------------------------------------------------ conclusions

    @cached_property
    def groups(self) -> dict[str, int]:
        """Group of each configuration, from 1.

        The best configuration on the test notes opens the first group, which takes in all that are
        not significantly different from it; the best of the remaining ones opens the next.
        """
        remaining = sorted(
            self.by_id,
            key=lambda configuration: np.nan_to_num(
                self._on_test(self.by_id[configuration]), nan=-np.inf
            ),
            reverse=True,
        )
        groups: dict[str, int] = {}
        group = 0
        while remaining:
            group += 1
            head, *others = remaining
            differences = self.scores.differences((head, other) for other in others)
            alike = [other for other in others if not differences[head, other].different]
            groups |= dict.fromkeys([head, *alike], group)
            remaining = [other for other in others if other not in alike]
        return groups

    @cached_property
    def useful(self) -> dict[str, bool]:
        """Whether each configuration is better than chance and better than a constant answer.

        The validation notes must confirm it: where few notes fall into a part of the confusion
        matrix, the bootstrap underestimates errors, and one comparison in twenty is wrong anyway.
        """
        better_than_chance = self.scores.knowing()
        validated = {
            configuration: entrant.validated for configuration, entrant in self.by_id.items()
        }
        confirmed = ResampledScores(
            self.validation, self.validation_clusters, KNOWLEDGE, validated, self.resamples
        ).knowing()
        better = self.scores.differences((configuration, CONSTANT) for configuration in self.by_id)
        return {
            configuration: better_than_chance[configuration].different
            and better_than_chance[configuration].value > 0
            and better[configuration, CONSTANT].different
            and better[configuration, CONSTANT].value > 0
            and confirmed[configuration].value > 0
            and confirmed[configuration].p < 2 * SIGNIFICANCE  # one-sided, not corrected
            for configuration in self.by_id
        }

    @property
    def _useful(self) -> list[Entrant]:
        return [entrant for entrant in self.entrants if self.useful[entrant.configuration_id]]

    @cached_property
    def best(self) -> Entrant | None:
        """The best useful configuration; None if none is useful.

        This is the first on validation, unless another is significantly better on the test notes.
        """
        useful = self._useful
        if not useful:
            return None
        first = max(useful, key=lambda entrant: entrant.validation)
        against = self._against(first, useful)
        better = [
            entrant
            for entrant in useful
            if _significantly_better(against.get(entrant.configuration_id))
        ]
        return max(better, key=self._on_test) if better else first

    @cached_property
    def not_inferior(self) -> list[Entrant]:
        """Useful configurations shown to be at most the margin worse than each other useful one.

        The interval of every difference must lie above minus the margin; because it must of every
        one, no correction for their number is needed (intersection-union test, Berger 1982).
        """
        return [
            entrant
            for entrant in self._useful
            if all(
                other.high < self.margin for other in self._against(entrant, self._useful).values()
            )
        ]

    @property
    def status(self) -> str | None:
        """One of "recommended" and "candidate"; None if no configuration is useful."""
        if self.recommended is None:
            return None
        return "recommended" if self.not_inferior else "candidate"

    @cached_property
    def recommended(self) -> Entrant | None:
        """The cheapest configuration that is not inferior to any other; None if none is useful.

        Where this is shown of none, the cheapest that is not significantly different from the best
        and scores at most the margin lower.
        """
        if self.best is None:
            return None
        if self.not_inferior:
            return min(self.not_inferior, key=lambda entrant: entrant.seconds)
        against = self._against(self.best, self._useful)
        as_good = [
            entrant
            for entrant in self._useful
            if (item := against.get(entrant.configuration_id)) is not None
            and item.value >= -self.margin
            and not item.different
        ]
        return min([self.best, *as_good], key=lambda entrant: entrant.seconds)

    def _against(self, one: Entrant, others: Sequence[Entrant]) -> dict[str, Difference]:
        """Return the differences of other configurations from one, by configuration id."""
        pairs = [
            (other.configuration_id, one.configuration_id) for other in others if other is not one
        ]
        return {pair[0]: item for pair, item in self.scores.differences(pairs).items()}

    def _on_test(self, entrant: Entrant) -> float:
        return self.scores.sign * self.scores.value[entrant.configuration_id]

    @cached_property
    def certainty(self) -> float | None:
        """Confidence that the recommended configuration is at most the margin worse than the best.

        None if the recommended configuration is the best one, or none is recommended.
        """
        if self.recommended is None or self.best is None or self.recommended is self.best:
            return None
        against = self._against(self.best, [self.recommended])
        return against[self.recommended.configuration_id].certainty(-self.margin)

    def sentence(self) -> Message:
        """Return the recommendation in words."""
        chosen, best, size = self.recommended, self.best, self._test_size()
        if chosen is None or best is None:
            return Message(
                "No configuration is significantly better than giving every {unit} the same "
                "answer, so none is recommended: {size} do not show that anything was learned.",
                unit=self.unit.one,
                size=size,
            )
        if len(self._useful) == 1:
            return Message(
                "{chosen} is recommended: it is the only configuration that is shown to be better "
                "than giving every {unit} the same answer.",
                unit=self.unit.one,
                chosen=chosen.label,
            )
        if self.status == "recommended":
            return Message(
                "{chosen} is recommended: it is the cheapest configuration of which the test "
                "{units} show that it is at most {margin:g} worse than any other useful one.",
                units=self.unit.many,
                chosen=chosen.label,
                margin=self.margin,
            )
        said = {
            "chosen": chosen.label,
            "best": best.label,
            "leader": self.leader.label,
            "size": size,
            "units": self.unit.many,
            "margin": self.margin,
        }
        if chosen is best is self.leader:
            return Message(
                "{chosen} is a candidate: it leads on validation, but {size} do not show of any "
                "configuration that it is at most {margin:g} worse than every other useful one.",
                **said,
            )
        if chosen is best:
            return Message(
                "{chosen} is a candidate: it does better on the test {units} than {leader}, the "
                "leader on validation, but {size} do not show of any configuration that it is at "
                "most {margin:g} worse than every other useful one.",
                **said,
            )
        if best is self.leader:
            return Message(
                "{chosen} is a candidate: it is the cheapest configuration that is not "
                "significantly different from {best}, which leads on validation, and scores at "
                "most {margin:g} lower, but {size} do not show of any configuration that it is at "
                "most {margin:g} worse than every other useful one. The confidence that it is at "
                "most {margin:g} worse than {best} is {certainty:.0%}.",
                **said,
                certainty=self.certainty,
            )
        return Message(
            "{chosen} is a candidate: it is the cheapest configuration that is not significantly "
            "different from {best}, which does better on the test {units} than {leader}, the "
            "leader on validation, and scores at most {margin:g} lower, but {size} do not show of "
            "any configuration that it is at most {margin:g} worse than every other useful one. "
            "The confidence that it is at most {margin:g} worse than {best} is {certainty:.0%}.",
            **said,
            certainty=self.certainty,
        )

    @cached_property
    def patients(self) -> int:
        """Number of patients with test notes."""
        return len(np.unique(self.clusters))

    def _test_size(self) -> Message:
        notes, patients = len(self.labels.matrix), self.patients
        if patients == notes:
            return Message("{notes:,} test {units}", notes=notes, units=self.unit.many)
        return Message(
            "{notes:,} test notes of {patients:,} patients", notes=notes, patients=patients
        )

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``evidence.json``."""
        recommended = self.recommended
        return {
            "sentence": self.sentence(),
            "metric": self.metric,
            "margin": self.margin,
            "patients": self.patients,
            self.unit.many: len(self.labels.matrix),
            "resamples": self.resamples,
            "constant": self.scores.value[CONSTANT],
            "leader": self.leader.configuration_id,
            "recommended": None if recommended is None else recommended.configuration_id,
            "status": self.status,
            "certainty_within_margin": self.certainty,
            "configurations": [
                {
                    "configuration_id": configuration,
                    "configuration": entrant.label,
                    "score": self.scores.value[configuration],
                    "mcc": self.scores.knowledge[configuration],
                    "group": self.groups[configuration],
                    "useful": self.useful[configuration],
                    "seconds": entrant.seconds,
                }
                for configuration, entrant in self.by_id.items()
            ],
            "every_pair": [
                [one, other, item.value, item.low, item.high]
                for (one, other), item in self.scores.differences(
                    combinations(self.by_id, 2)
                ).items()
            ],
            "pairs": [
                {
                    "first": one,
                    "second": other,
                    "questions": self.questions[one, other],
                    **difference.to_json(),
                    "mcnemar": self._mcnemar(one, other),
                }
                for (one, other), difference in self.differences.items()
            ],
        }

    def _mcnemar(self, one: str, other: str) -> dict[str, Any]:
        predicted = [
            entrant.predictions[entrant.chosen][1]
            for entrant in (self.by_id[one], self.by_id[other])
        ]
        return asdict(mcnemar(self.labels.matrix, *predicted))


def _significantly_better(item: Difference | None) -> bool:
    return item is not None and item.different and item.value > 0
