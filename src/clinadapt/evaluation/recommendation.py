"""What a study's test scores allow to be said: pairs that matter, groups, a recommendation.

The configuration that leads is chosen on validation notes; everything here is measured on test notes, which
nothing was chosen on. The recommendation is the cheapest configuration that knows something, cannot be told
from the best and is not worse by more than the margin.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.data.labels import Labels
from clinadapt.evaluation import metrics
from clinadapt.evaluation.paired_comparison import (
    KNOWLEDGE,
    SIGNIFICANCE,
    Difference,
    Predictions,
    Scores,
    mcnemar,
)

CONSTANT = "constant"
# Settings in which an adapter, or how much is tuned, differs from the configuration it is compared with.
OF_ADAPTER = (
    "adapter",
    "adapter_options",
    "match_parameters",
    "placement",
    "adapted_layers",
    "batch_size",
    "learning_rate",
)
OF_TUNING = ("tuned_layers", "epochs", "batch_size", "encoder_learning_rate")


@dataclass(frozen=True, eq=False)
class Entrant:
    """A configuration with a result of every seed.

    Attributes
    ----------
    configuration_id, label, model : str
    kind : str
        See `clinadapt.models.contract`.
    is_baseline : bool
        Whether every other configuration is compared with the best of its like.
    settings : mapping
        Resolved, without the seed.
    validation : float
        Mean score on validation notes; more is better.
    seconds : float
        To encode, fit and predict, mean over seeds.
    predictions, validated : sequence of (probabilities, predicted), both [note, class]
        On the test notes and on the validation notes, of each seed.
    chosen : int
        Number of the seed that is best on validation.
    """

    configuration_id: str
    label: str
    model: str
    kind: str
    is_baseline: bool
    settings: Mapping[str, Any]
    validation: float
    seconds: float
    predictions: Sequence[Predictions]
    validated: Sequence[Predictions]
    chosen: int


@dataclass(frozen=True, eq=False)
class Evidence:
    """The comparison of a study's configurations on its test notes.

    Attributes
    ----------
    entrants : sequence of Entrant
    labels : Labels
        Of the test notes.
    train, validation : Labels
        Of the training and the validation notes.
    clusters, validation_clusters : ndarray of int64, shape [note]
        Patient of each test note and of each validation note.
    metric : str
    margin : float
        Difference of the metric that does not matter.
    resamples : int
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

    @cached_property
    def by_id(self) -> dict[str, Entrant]:
        """Entrants by configuration."""
        return {entrant.configuration_id: entrant for entrant in self.entrants}

    @cached_property
    def leader(self) -> Entrant:
        """First on validation."""
        return max(self.entrants, key=lambda entrant: entrant.validation)

    @cached_property
    def scores(self) -> Scores:
        """Scores of the configurations and of the constant answer."""
        configurations = {
            entrant.configuration_id: entrant.predictions for entrant in self.entrants
        }
        answer = constant_answer(self.train, len(self.labels.matrix), self.metric)
        return Scores(
            self.labels,
            self.clusters,
            self.metric,
            {**configurations, CONSTANT: [answer]},
            self.resamples,
        )

    # ------------------------------------------------------------------ pairs

    @cached_property
    def questions(self) -> dict[tuple[str, str], list[str]]:
        """Pairs that matter, and what each answers."""
        found: dict[tuple[str, str], list[str]] = {}

        def ask(one: Entrant, other: Entrant, question: str) -> None:
            if one is not other:
                reverse = (other.configuration_id, one.configuration_id)
                pair = (
                    reverse if reverse in found else (one.configuration_id, other.configuration_id)
                )
                found.setdefault(pair, []).append(question)

        for entrant in self.entrants:
            ask(self.leader, entrant, "best")
        for entrant in self.entrants:
            settings = entrant.settings
            if entrant.kind == "encoder":
                if settings["adapter"] != "none":
                    for plain in self._alike(entrant, OF_ADAPTER, adapter="none"):
                        ask(entrant, plain, "adapter")
                if settings["tuned_layers"] != 0:
                    for frozen in self._alike(entrant, OF_TUNING, tuned_layers=0):
                        ask(entrant, frozen, "tuning")
        baselines = [entrant for entrant in self.entrants if entrant.is_baseline]
        if baselines:
            reference = max(baselines, key=lambda entrant: entrant.validation)
            for entrant in self.entrants:
                ask(entrant, reference, "tfidf")
        return found

    def _alike(self, entrant: Entrant, apart: Sequence[str], **fixed: Any) -> list[Entrant]:
        """Configurations that differ from one in the named settings at most, and have the fixed ones."""

        def rest(other: Entrant) -> dict[str, Any]:
            return {name: value for name, value in other.settings.items() if name not in apart}

        return [
            other
            for other in self.entrants
            if other.model == entrant.model
            and rest(other) == rest(entrant)
            and all(other.settings[name] == value for name, value in fixed.items())
        ]

    @cached_property
    def differences(self) -> dict[tuple[str, str], Difference]:
        """Of the pairs that matter, corrected together."""
        return self.scores.differences(self.questions)

    # ------------------------------------------------------------------ conclusions

    @cached_property
    def groups(self) -> dict[str, int]:
        """Group of each configuration, from 1: configurations that cannot be told from the best of their group.

        The best on the test notes opens the first group, the best of those that are left the next.
        """
        left = sorted(
            self.by_id,
            key=lambda configuration: np.nan_to_num(
                self._on_test(self.by_id[configuration]), nan=-np.inf
            ),
            reverse=True,
        )
        found: dict[str, int] = {}
        group = 0
        while left:
            group += 1
            head, *others = left
            against = self.scores.differences((head, other) for other in others)
            alike = [other for other in others if not against[head, other].different]
            found |= dict.fromkeys([head, *alike], group)
            left = [other for other in others if other not in alike]
        return found

    @cached_property
    def useful(self) -> dict[str, bool]:
        """Whether each configuration knows something, and answers better than a constant.

        Validation notes must agree that it does: with few notes in a corner of the table the
        bootstrap takes errors for smaller than they are, and one look in twenty goes wrong.
        """
        knowing = self.scores.knowing()
        validated = {
            configuration: entrant.validated for configuration, entrant in self.by_id.items()
        }
        agreeing = Scores(
            self.validation, self.validation_clusters, KNOWLEDGE, validated, self.resamples
        ).knowing()
        better = self.scores.differences((configuration, CONSTANT) for configuration in self.by_id)
        return {
            configuration: knowing[configuration].different
            and knowing[configuration].value > 0
            and better[configuration, CONSTANT].different
            and better[configuration, CONSTANT].value > 0
            and agreeing[configuration].value > 0
            and agreeing[configuration].p < 2 * SIGNIFICANCE  # of one side, and not corrected
            for configuration in self.by_id
        }

    @property
    def _useful(self) -> list[Entrant]:
        return [entrant for entrant in self.entrants if self.useful[entrant.configuration_id]]

    @cached_property
    def best(self) -> Entrant | None:
        """The best useful configuration; None if none is useful.

        The first on validation, unless another can be told to be better on the test notes.
        """
        useful = self._useful
        if not useful:
            return None
        first = max(useful, key=lambda entrant: entrant.validation)
        against = self._against(first, useful)
        better = [entrant for entrant in useful if _beats(against.get(entrant.configuration_id))]
        return max(better, key=self._on_test) if better else first

    @cached_property
    def recommended(self) -> Entrant | None:
        """The cheapest configuration that does as well as the best useful one; None if none is useful."""
        if self.best is None:
            return None
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
        """Differences of other configurations from one."""
        pairs = [
            (other.configuration_id, one.configuration_id) for other in others if other is not one
        ]
        return {pair[0]: item for pair, item in self.scores.differences(pairs).items()}

    def _on_test(self, entrant: Entrant) -> float:
        return self.scores.sign * self.scores.value[entrant.configuration_id]

    @cached_property
    def certainty(self) -> float | None:
        """Confidence that the recommended configuration is truly not worse than the best by the margin."""
        if self.recommended is None or self.best is None or self.recommended is self.best:
            return None
        against = self._against(self.best, [self.recommended])
        return against[self.recommended.configuration_id].certainty(-self.margin)

    def sentence(self) -> str:
        """The recommendation in words."""
        chosen, best = self.recommended, self.best
        if chosen is None or best is None:
            return (
                "No configuration can be told from one that gives every note the same answer, so none is "
                f"recommended: {self._on_what()} do not show that anything was learned."
            )
        how = "which leads on validation"
        if best is not self.leader:
            how = (
                "which does better on the test notes than what leads on validation, "
                f"{self.leader.label}"
            )
        if chosen is best:
            how = how.removeprefix("which ")
            return (
                f"{chosen.label} is recommended: it {how}, and no cheaper configuration does as well within "
                f"{self.margin:g}."
            )
        assert self.certainty is not None
        return (
            f"{chosen.label} is recommended: on the test notes it is the cheapest configuration that cannot "
            f"be told from {best.label}, {how}, and scores at most {self.margin:g} less. That it "
            f"is truly within {self.margin:g} is {self.certainty:.0%} sure."
        )

    def _on_what(self) -> str:
        notes, patients = len(self.labels.matrix), len(np.unique(self.clusters))
        return f"{notes:,} test notes" + (f" of {patients:,} patients" * (patients < notes))

    def to_json(self) -> dict[str, Any]:
        """Everything that was found, for ``evidence.json``."""
        recommended = self.recommended
        return {
            "sentence": self.sentence(),
            "metric": self.metric,
            "margin": self.margin,
            "patients": len(np.unique(self.clusters)),
            "notes": len(self.labels.matrix),
            "resamples": self.resamples,
            "constant": self.scores.value[CONSTANT],
            "leader": self.leader.configuration_id,
            "recommended": None if recommended is None else recommended.configuration_id,
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
        said = [
            entrant.predictions[entrant.chosen][1]
            for entrant in (self.by_id[one], self.by_id[other])
        ]
        return asdict(mcnemar(self.labels.matrix, *said))


def _beats(item: Difference | None) -> bool:
    return item is not None and item.different and item.value > 0


def constant_answer(train: Labels, notes: int, metric: str) -> Predictions:
    """The same answer for every note: the one that scores best on the training notes.

    Parameters
    ----------
    train : Labels
    notes : int
        To answer for.
    metric : str

    Returns
    -------
    (ndarray of float64, ndarray of bool), both of shape [note, class]
        The classes' frequencies for probabilities, and the answer.
    """
    share = train.matrix.mean(axis=0)
    if train.task == "multilabel":
        # The most frequent labels, as many as do best; none at all among the choices.
        frequent = np.argsort(-share, kind="stable")
        answers = [np.isin(np.arange(len(share)), frequent[:n]) for n in range(len(share) + 1)]
    else:
        answers = list(np.eye(len(share), dtype=np.bool_))
    everyone = np.ones((1, len(train.matrix)))
    sign = metrics.sign(metric)

    def score(answer: NDArray[np.bool_]) -> float:
        said = np.broadcast_to(answer, train.matrix.shape)
        given = np.broadcast_to(share, train.matrix.shape)
        value = metrics.values(train, given, said, everyone, [metric])[metric][0]
        return float(np.nan_to_num(sign * value, nan=-np.inf))

    best = max(answers, key=score)
    return np.tile(share, (notes, 1)), np.tile(best, (notes, 1))
