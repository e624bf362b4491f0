"""Configurations that enter a comparison, and the pairs of them that answer a question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clinadapt.evaluation.paired_comparison import Predictions

# Settings that may differ between a configuration with an adapter and the same one without.
ADAPTER_SETTINGS = (
    "adapter",
    "adapter_options",
    "match_parameters",
    "placement",
    "adapted_layers",
    "batch_size",
    "learning_rate",
)
# Settings that may differ between a tuned encoder and the same one frozen.
TUNING_SETTINGS = ("tuned_layers", "epochs", "batch_size", "encoder_learning_rate")


@dataclass(frozen=True, eq=False)
class Entrant:
    """A configuration and its results for every seed.

    Attributes
    ----------
    configuration_id, label, model : str
    kind : str
        Kind of model, see `clinadapt.models.contract`.
    is_baseline : bool
        True if the model is a baseline; all configurations are compared with the best baseline.
    settings : mapping
        Resolved settings, without the seed.
    validation : float
        Mean score on validation notes; higher is better.
    seconds : float
        Time to encode, train and predict, mean over seeds.
    predictions, validated : sequence of (probabilities, predicted), both [note, class]
        Predictions on the test notes and on the validation notes, one pair per seed.
    chosen : int
        Index of the seed that scores best on validation.
    unrepeated : bool
        True if there is one seed although training is random.
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
    unrepeated: bool = False


def relevant_pairs(
    entrants: Sequence[Entrant], leader: Entrant
) -> dict[tuple[str, str], list[str]]:
    """Return the relevant pairs of configurations, and the questions that each pair answers.

    Parameters
    ----------
    entrants : sequence of Entrant
    leader : Entrant
        The one with the best validation score.

    Returns
    -------
    dict of (str, str) to list of str
        By configuration ids; the questions are "best", "adapter", "tuning" and "tfidf".
    """
    asked: dict[tuple[str, str], list[str]] = {}

    def ask(one: Entrant, other: Entrant, question: str) -> None:
        if one is not other:
            reverse = (other.configuration_id, one.configuration_id)
            pair = reverse if reverse in asked else (one.configuration_id, other.configuration_id)
            asked.setdefault(pair, []).append(question)

    for entrant in entrants:
        ask(leader, entrant, "best")
    for entrant in entrants:
        settings = entrant.settings
        if entrant.kind == "encoder":
            if settings.get("adapter", "none") != "none":
                for plain in _alike(entrant, entrants, ADAPTER_SETTINGS, adapter="none"):
                    ask(entrant, plain, "adapter")
            if settings.get("tuned_layers", 0) != 0:
                for frozen in _alike(entrant, entrants, TUNING_SETTINGS, tuned_layers=0):
                    ask(entrant, frozen, "tuning")
    baselines = [entrant for entrant in entrants if entrant.is_baseline]
    if baselines:
        reference = max(baselines, key=lambda entrant: entrant.validation)
        for entrant in entrants:
            ask(entrant, reference, "tfidf")
    return asked


def _alike(
    entrant: Entrant, entrants: Sequence[Entrant], free: Sequence[str], **fixed: Any
) -> list[Entrant]:
    """Return the configurations that equal `entrant` except in `free`, and have `fixed`."""

    def rest(other: Entrant) -> dict[str, Any]:
        return {name: value for name, value in other.settings.items() if name not in free}

    return [
        other
        for other in entrants
        if other.model == entrant.model
        and rest(other) == rest(entrant)
        and all(other.settings[name] == value for name, value in fixed.items())
    ]
