"""Explanations as one HTML page, with the words of each note marked by their contribution."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from clinadapt.core import html
from clinadapt.core.language import use_language
from clinadapt.explain.error_analysis import KINDS, TOP, Mistakes
from clinadapt.explain.explain import Explanation
from clinadapt.explain.faithfulness import Faithfulness
from clinadapt.explain.words import BLOCK, LONG, Word
from clinadapt.models.classifier import NoteClassifier

LEAST_MARKED = 0.2  # strength relative to the strongest word of the note
HEAVY = 0.5
LISTED = 8


@dataclass(frozen=True)
class Segment:
    """A piece of a note on the page.

    Attributes
    ----------
    text : str
    kind : {"plain", "raises", "lowers", "unread"}
    strength : float
        From 0 to 1, relative to the strongest word of the note.
    contribution : float
        Contribution to the logit.
    """

    text: str
    kind: str
    strength: float = 0.0
    contribution: float = 0.0

    @property
    def heavy(self) -> bool:
        """True if the piece is also set in bold."""
        return self.strength >= HEAVY


def explanations_page(
    classifier: NoteClassifier,
    ids: Sequence[str],
    explanations: Sequence[Explanation],
    source: str,
    faithfulness: Faithfulness | None = None,
) -> str:
    """Return explained notes as one page, which loads nothing from the network.

    Parameters
    ----------
    classifier : NoteClassifier
    ids : sequence of str
    explanations : sequence of Explanation
    source : str
        Name of the bundle.
    faithfulness : Faithfulness, optional

    Returns
    -------
    str
        HTML, which contains the text of the notes.
    """
    return _render(
        "explanations.html.jinja",
        classifier,
        notes=list(zip(ids, explanations, strict=True)),
        source=source,
        faithfulness=faithfulness,
    )


def mistakes_page(mistakes: Mistakes) -> str:
    """Return a study's errors as one page, which contains the text of notes."""
    return _render(
        "mistakes.html.jinja",
        mistakes.classifier,
        mistakes=mistakes,
        about=mistakes.study.about,
        run=mistakes.study.handed_over,
        kinds=KINDS,
        top=TOP,
    )


def _render(template: str, classifier: NoteClassifier, **values: Any) -> str:
    environment = html.page_environment("clinadapt.explain.explain")
    environment.filters |= {"signed": signed, "segments": segments, "listed": _listed}
    threshold = classifier.threshold_.value
    with use_language("en"):  # the texts of this page have no translation
        return environment.get_template(template).render(
            style=html.source(environment, html.STYLE, "explain.css"),
            threshold=None if math.isnan(threshold) else threshold,
            task=classifier.task_,
            **values,
        )


def segments(explanation: Explanation) -> Iterator[Segment]:
    """Yield the text in pieces: marked words, passages that were not read, and plain text."""
    read = [word.contribution for word in explanation.words if word.contribution is not None]
    largest = max(map(abs, read), default=0.0) or 1.0
    text, end = explanation.text, 0

    def marked(word: Word) -> bool:
        return not word.read or abs(word.contribution or 0.0) / largest >= LEAST_MARKED

    shown = filter(marked, explanation.words)
    # Consecutive words that were not read become one passage.
    for key, group in groupby(shown, key=lambda word: word.start if word.read else -1):
        words = list(group)
        start, stop = words[0].start, words[-1].end
        if start > end:
            yield Segment(_in_short(text[end:start]), "plain")
        value = words[0].contribution
        if key < 0 or value is None:
            yield Segment(_in_short(text[start:stop]), "unread")
        else:
            kind = "raises" if value > 0 else "lowers"
            yield Segment(text[start:stop], kind, abs(value) / largest, value)
        end = stop
    if end < len(text):
        yield Segment(_in_short(text[end:]), "plain")


def _in_short(text: str) -> str:
    """Return a passage between marked words; of a very long one, its ends."""
    if len(text) <= LONG:
        return text
    left_out = f"{len(text) - 2 * BLOCK:,} characters"
    return f"{text[:BLOCK]} […] ({left_out}) […] {text[-BLOCK:]}"


def _listed(explanation: Explanation) -> list[Word]:
    """Return the words with the largest contributions of either sign."""
    read = [word for word in explanation.words if word.contribution]
    return sorted(read, key=lambda word: -abs(word.contribution or 0.0))[:LISTED]


def signed(value: float) -> str:
    """Return a number with a sign and three decimals; zero is +0.000."""
    return f"{round(value, 3) + 0.0:+.3f}".replace("-", "−")
