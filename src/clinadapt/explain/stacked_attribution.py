"""Contributions of words to word counts and an encoder, stacked: the parts' own, weighted alike.

The logit is a weighted sum, so what a word adds to it is the weighted sum of what it adds to each.
"""

from collections.abc import Iterator, Sequence

from clinadapt.explain import tfidf_attribution, token_attribution
from clinadapt.explain.attribution import Attribution
from clinadapt.models.stacked import StackedModel


def stacked(
    model: StackedModel, texts: Sequence[str], columns: Sequence[int]
) -> Iterator[Attribution]:
    """Contributions through both parts; the one on TF-IDF reads all of a note."""
    ways = (
        tfidf_attribution.linear(model.sparse_, texts, columns),
        token_attribution.pretrained(model.encoder_, texts, columns),
    )
    weights = model.weights_.tolist()
    for parts in zip(*ways, strict=True):
        weighed = list(zip(weights, parts, strict=True))
        yield Attribution(
            [(start, end, w * value) for w, part in weighed for start, end, value in part.pieces],
            sum(w * part.baseline for w, part in weighed),
            sum(w * part.logit for w, part in weighed),
        )
