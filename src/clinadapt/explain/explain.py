"""Explain a decision by the contribution of each word of a note to a class's logit.

A contribution describes what the model did with a word, not what the word means for the patient.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.errors import InputError
from clinadapt.core.run_context import Progress, no_progress
from clinadapt.data.labels import Task
from clinadapt.explain import patient_attribution, tfidf_attribution, token_attribution
from clinadapt.explain.attribution import Attribution
from clinadapt.explain.occlusion import occlusion
from clinadapt.explain.stacked_attribution import stacked
from clinadapt.explain.words import Word, gather
from clinadapt.models.classifier import NoteClassifier
from clinadapt.models.contract import Model

Method = Callable[[Any, Sequence[str], Sequence[int]], Iterator[Attribution]]
# By the name in the `explained_by` of a model.
METHODS: dict[str, Method] = {
    "occlusion": occlusion,
    "stacked": stacked,
    "tfidf-autoencoder": tfidf_attribution.codes,
    "tfidf-linear": tfidf_attribution.linear,
    "tfidf-mlp": tfidf_attribution.perceptron,
    "tokens-pretrained": token_attribution.pretrained,
    "tokens-scratch": token_attribution.scratch,
    "note-occlusion": patient_attribution.by_occlusion,
}
METHODS["strongest-note"] = partial(patient_attribution.of_strongest_note, methods=METHODS)
WITHOUT_CAPTUM = ("occlusion", "tfidf-linear", "note-occlusion")


@dataclass(frozen=True)
class Explanation:
    """Contributions of the words of a note to the logit of a class.

    ``logit`` is the sum of ``baseline``, ``rest``, ``gap`` and the contributions of all words.

    Attributes
    ----------
    text : str
        The note; of a patient's document, the note that speaks most for the class.
    target : str
        The explained class. Its logit is the log-odds (binary: of this class; multi-label: of the
        label), or the input of the softmax (multi-class; by occlusion the log-odds of the class).
    said : bool
        True if the classifier predicts this class for the note.
    probability : float
        Probability of the class, from the classifier.
    words : list of Word
        All words of the note; of one longer than `clinadapt.explain.words.LONG` those near the
        ones that contribute.
    baseline : float
        Logit of the note without its words; see the module of the method.
    logit : float
        Logit of the note, in fp32 or better.
    rest : float
        Contribution of characters outside words, and of words that are not among those above.
    gap : float
        Part of the logit that is not attributed: the error of the numerical integral; by occlusion
        the joint effect of words; rounding where the attribution is exact.
    """

    text: str
    target: str
    said: bool
    probability: float
    words: list[Word]
    baseline: float
    logit: float
    rest: float
    gap: float

    @property
    def truncated(self) -> bool:
        """True if the model did not read all words."""
        return not all(word.read for word in self.words)

    def strongest(self, count: int, towards: bool = True) -> list[Word]:
        """Return the words that contributed most to the prediction, or most against it.

        Parameters
        ----------
        count : int
            Largest number of words; those that contributed the other way are left out.
        towards : bool
            False for words against the prediction.

        Returns
        -------
        list of Word
            Strongest first.
        """
        sign = 1.0 if self.said == towards else -1.0
        moved = [(sign * (word.contribution or 0.0), word) for word in self.words]
        ordered = sorted((pair for pair in moved if pair[0] > 0), key=lambda pair: -pair[0])
        return [word for _, word in ordered[:count]]


def explain(
    classifier: NoteClassifier,
    texts: Sequence[str],
    target: Any = None,
    progress: Progress = no_progress,
) -> list[Explanation]:
    """Explain a classifier's decisions on notes.

    Parameters
    ----------
    classifier : NoteClassifier
        Fitted, or opened from a bundle.
    texts : sequence of str
    target : class, or list of classes [note], optional
        Explained class. Default: the positive one (binary), the predicted one (multi-class), the
        most probable label (multi-label).
    progress : callable
        Called after each note.

    Returns
    -------
    list of Explanation

    Raises
    ------
    InputError
        The class is unknown, or the model has no explanations, or none of so long a note.
    MissingExtraError
        The model's method needs captum, which is not installed.
    """
    model = classifier.model_
    if model.network_part.explained_by is None:
        raise InputError(
            "this bundle was exported, and gradients cannot pass through an exported network: "
            "explain with the bundle it was made from"
        )
    probabilities = classifier.in_label_order(classifier.predict_proba(texts))
    if model.explained_by not in METHODS:
        raise InputError(
            f"{type(model).__name__} has explained_by = {model.explained_by!r}, an unknown method; "
            f"known: {', '.join(METHODS)}"
        )
    names = [str(name) for name in classifier.label_classes_]
    columns = _columns(classifier.task_, names, probabilities, target)
    predicted = classifier.threshold_.predict(classifier.task_, probabilities)
    attributions = METHODS[model.explained_by](model, texts, columns)
    explanations = []
    for note, (text, column, one) in enumerate(zip(texts, columns, attributions, strict=True)):
        is_predicted, probability = (
            bool(predicted[note, column]),
            float(probabilities[note, column]),
        )
        explanations.append(_explanation(text, names[column], is_predicted, probability, one))
        progress("explain", note + 1, len(texts))
    return explanations


def can_explain(model: Model) -> bool:
    """Return whether a fitted model's decisions can be explained with the installed packages."""
    if model.network_part.explained_by is None:
        return False
    return model.explained_by in WITHOUT_CAPTUM or find_spec("captum") is not None


def _columns(
    task: Task, names: list[str], probabilities: NDArray[np.float64], target: Any
) -> list[int]:
    """Return the column of the explained class, for each note."""
    if target is None:
        likely: list[int] = probabilities.argmax(axis=1).tolist()
        return [1] * len(likely) if task == "binary" else likely
    wanted = [str(name) for name in target] if isinstance(target, list) else [str(target)]
    if unknown := sorted(set(wanted) - set(names)):
        raise InputError(f"unknown class {unknown[0]!r}; known: {', '.join(names)}")
    columns = [names.index(name) for name in wanted]
    return columns if isinstance(target, list) else columns * len(probabilities)


def _explanation(
    text: str, target: str, is_predicted: bool, probability: float, attribution: Attribution
) -> Explanation:
    text = text if attribution.text is None else attribution.text
    words, rest = gather(text, attribution.pieces, attribution.read)
    total = sum(word.contribution or 0.0 for word in words)
    return Explanation(
        text=text,
        target=target,
        said=is_predicted,
        probability=probability,
        words=words,
        baseline=attribution.baseline,
        logit=attribution.logit,
        rest=rest,
        gap=attribution.logit - attribution.baseline - rest - total,
    )
