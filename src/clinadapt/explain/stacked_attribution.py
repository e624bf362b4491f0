"""Contributions of words to a stacked model: the weighted sum of those to its two parts.

The model's logit is a weighted sum of the parts' logits, so contributions have the same weights.
"""

from collections.abc import Iterator, Sequence

from clinadapt.explain import tfidf_attribution, token_attribution
from clinadapt.explain.attribution import Attribution
from clinadapt.models.stacked import StackedModel


def stacked(
    model: StackedModel, texts: Sequence[str], columns: Sequence[int]
) -> Iterator[Attribution]:
    """Attribute the logit of a class through both parts; TF-IDF reads all of a note."""
    attributions = (
        tfidf_attribution.linear(model.sparse_, texts, columns),
        token_attribution.pretrained(model.encoder_, texts, columns),
    )
    weights = model.weights_.tolist()
    for parts in zip(*attributions, strict=True):
        weighted = list(zip(weights, parts, strict=True))
        yield Attribution(
            [(start, end, w * value) for w, part in weighted for start, end, value in part.pieces],
            sum(w * part.baseline for w, part in weighted),
            sum(w * part.logit for w, part in weighted),
        )
