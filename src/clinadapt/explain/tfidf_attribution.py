"""Contributions of words to models on TF-IDF, exact for a linear model.

A term's contribution is divided equally among its occurrences in the note, and that of an
occurrence among the words (word n-grams) or word characters (character n-grams) that it covers.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer
from torch import Tensor

from clinadapt.core.device import pick_device
from clinadapt.data.labels import Task
from clinadapt.explain.attribution import Attribution
from clinadapt.explain.integrated_gradients import SMALL_STEPS, integrate, pick
from clinadapt.explain.words import LONG, Piece, Span
from clinadapt.features.tfidf import TfidfFeatures
from clinadapt.models.tfidf_autoencoder import TfidfAutoencoder
from clinadapt.models.tfidf_logistic import TfidfLogistic
from clinadapt.models.tfidf_mlp import TfidfMLP
from clinadapt.neural.training.batch_sources import one_token_each

Columns = Sequence[int]
NOT_SPACE = re.compile(r"\S+")


def linear(model: TfidfLogistic, texts: Sequence[str], columns: Columns) -> Iterator[Attribution]:
    """Attribute by coefficient times TF-IDF value; with the intercept they sum to the logit."""
    weights, intercepts = model.coefficients_, model.intercepts_
    if model.task_ == "binary":  # one regression, for the second class
        weights, intercepts = np.vstack([-weights, weights]), np.r_[-intercepts, intercepts]
    matrix = model.features_.transform(texts)
    for note, (text, column) in enumerate(zip(texts, columns, strict=True)):
        values = matrix[note].toarray()[0] * weights[column]
        intercept = float(intercepts[column])
        logit = float((matrix[note] @ weights[column])[0]) + intercept
        yield Attribution(pieces(model.features_, text, values), intercept, logit)


def perceptron(model: TfidfMLP, texts: Sequence[str], columns: Columns) -> Iterator[Attribution]:
    """Attribute by integrated gradients on TF-IDF, from a note with none of the terms."""
    network = model.network_.to(pick_device(model.device)).eval()

    def scores(vectors: Tensor) -> Tensor:
        return network(one_token_each(vectors))[0]

    return _integrated(scores, model.features_, model.task_, model.device, texts, columns)


def codes(model: TfidfAutoencoder, texts: Sequence[str], columns: Columns) -> Iterator[Attribution]:
    """Attribute by integrated gradients through the codes, from a note with none of the terms."""
    device = pick_device(model.device)
    encode = model.autoencoder_.to(device).eval().encode
    classifier = model.classifier_.to(device).eval()

    def scores(vectors: Tensor) -> Tensor:
        return classifier(one_token_each(model.standardize(encode(vectors))))[0]

    return _integrated(scores, model.features_, model.task_, model.device, texts, columns)


def _integrated(
    scores: Callable[[Tensor], Tensor],
    features: TfidfFeatures,
    task: Task,
    device: str,
    texts: Sequence[str],
    columns: Columns,
) -> Iterator[Attribution]:
    matrix = features.transform(texts)
    for note, (text, column) in enumerate(zip(texts, columns, strict=True)):
        dense = torch.from_numpy(matrix[note].toarray()).float().to(pick_device(device))

        def logit(vectors: Tensor, column: int = column) -> Tensor:
            return pick(task, scores(vectors), column)

        baseline = torch.zeros_like(dense)
        values, at_note, at_baseline = integrate(logit, dense, baseline, SMALL_STEPS)
        yield Attribution(pieces(features, text, values.numpy()), at_baseline, at_note)


def pieces(features: TfidfFeatures, text: str, values: NDArray[np.float64]) -> list[Piece]:
    """Divide contributions of terms among their occurrences in the text.

    Those of occurrences after the first `LONG` characters of a text are one piece of no length.

    Parameters
    ----------
    features : TfidfFeatures
    text : str
    values : ndarray of float64, shape [feature]
        Contribution of each term.
    """
    divided: list[Piece] = []
    first = 0
    shown = text[:LONG]
    for name, vectorizer in features.blocks.items():
        column_of = vectorizer.vocabulary_
        places: dict[int, list[list[Span]]] = defaultdict(list)
        for term, covered in OCCURRENCES[name](shown, *vectorizer.ngram_range):
            if term in column_of and values[first + column_of[term]]:
                places[first + column_of[term]].append(covered)
        # In a long note, terms occur after the part that is shown as well.
        in_note = CountVectorizer.transform(vectorizer, [text]) if shown != text else None
        for column, occurrences in places.items():
            times = len(occurrences) if in_note is None else int(in_note[0, column - first])
            for covered in occurrences[:times]:
                part = float(values[column]) / times / len(covered)
                divided += [(start, end, part) for start, end in covered]
        first += len(column_of)
    if shown != text:
        divided.append((0, 0, float(values.sum()) - sum(part for _, _, part in divided)))
    return divided


def word_ngrams(text: str, least: int, most: int) -> Iterator[tuple[str, list[Span]]]:
    """Yield word n-grams as scikit-learn counts them (two letters or more) with word positions."""
    lowered, where = _lower(text)
    matches = list(re.finditer(r"\b\w\w+\b", lowered))
    for size in range(least, most + 1):
        for start in range(len(matches) - size + 1):
            group = matches[start : start + size]
            yield " ".join(m.group() for m in group), [where(*m.span()) for m in group]


def character_ngrams(text: str, least: int, most: int) -> Iterator[tuple[str, list[Span]]]:
    """Yield character n-grams within words as scikit-learn counts them, with positions."""
    lowered, where = _lower(text)
    for match in NOT_SPACE.finditer(lowered):
        padded = f" {match.group()} "
        start, end = match.span()
        for size in range(least, most + 1):
            for offset in range(max(1, len(padded) - size + 1)):
                # The first position belongs to the padding on the left of the word.
                left, right = start + offset - 1, start + offset - 1 + size
                yield padded[offset : offset + size], [where(max(left, start), min(right, end))]
            if len(padded) <= size:  # a short word is counted once
                break


OCCURRENCES = {"words": word_ngrams, "characters": character_ngrams}


def _lower(text: str) -> tuple[str, Callable[[int, int], Span]]:
    """Return a text in lower case, perhaps longer, and a map to positions in the original."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered, lambda start, end: (start, end)
    origin = np.repeat(np.arange(len(text)), [len(character.lower()) for character in text])
    return lowered, lambda start, end: (int(origin[start]), int(origin[end - 1]) + 1)
