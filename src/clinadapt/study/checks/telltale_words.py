"""A word, or a heading, whose presence alone gives the label away.

The area under the ROC curve of a word's presence is the mean of two shares: of the patients with
the class whose notes have it, and of the others whose notes do not. Among the thousands of words of
a table some reach a high area by chance, so Fisher's exact test of the two shares, corrected for
the number of words and classes (Bonferroni), must be significant too.

A finding quotes a word only if it can hardly be a name: written in small letters in notes that use
capitals, without digits, and in notes of many patients. Else it says what kind of word it is.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from clinadapt.core.arrays import Floats
from clinadapt.core.messages import Message
from clinadapt.data.label_spelling import folded
from clinadapt.data.notes import Notes
from clinadapt.data.positive_class import shown_name
from clinadapt.study.checks.contract import Subject
from clinadapt.study.checks.following import patient_weights
from clinadapt.study.checks.note_parts import headings, words

LEAST_AUROC = 0.98
SIGNIFICANCE = 0.01  # for all words and classes together
LEAST_PATIENTS = 10  # with the class, and without
QUOTED_FROM = 20  # patients with the class whose notes have the word
LONGEST = 25  # letters
IN_SMALL_LETTERS = 0.9  # of a word's occurrences
CAPITALS = 0.02  # of all words, in notes that use capitals
READ_FOR_CAPITALS = 500  # notes
HEADING = ":"  # at the end of a term that is a heading


@dataclass(frozen=True)
class Telltale:
    """A term that gives a class away.

    Attributes
    ----------
    term : str
        A word, or a heading with a colon.
    number : int
        Number of the class.
    auroc : float
    shares : tuple of float
        Of the patients with the class, those whose notes have the term; the same of the others.
    patients, others : int
    """

    term: str
    number: int
    auroc: float
    shares: tuple[float, float]
    patients: int
    others: int


def give_away(subject: Subject) -> str | None:
    """Return what is found where the presence of one word or heading tells a class."""
    notes = subject.sample
    found = sorted(telltales(notes), key=_order)
    if not found:
        return None
    first = found[0]
    named = quoted(first, notes, subject.show_words)
    name = shown_name(notes.labels.classes[first.number])
    count = len({one.term for one in found})
    said = {
        "term": named,
        "name": name,
        "auroc": first.auroc,
        "have": first.shares[0],
        "patients": first.patients,
        "who": subject.patients,
        "lack": first.shares[1],
        "others": first.others,
    }
    if count == 1:
        return Message(
            "the presence of {term} tells class {name} with an AUROC of {auroc:.3f}: {have:.0%} of "
            "the {patients:,} {who} with the class have it, and {lack:.0%} of the {others:,} "
            "others.",
            **said,
        )
    return Message(
        "the presence of each of {count:,} words or headings tells a class; of {term} it tells "
        "class {name} with an AUROC of {auroc:.3f}: {have:.0%} of the {patients:,} {who} with the "
        "class have it, and {lack:.0%} of the {others:,} others.",
        **said,
        count=count,
    )


def _order(found: Telltale) -> tuple[float, bool, bool]:
    """Return a key that sorts the strongest first, of equals a heading, then a plain word."""
    return -found.auroc, not found.term.endswith(HEADING), not found.term.isalpha()


def telltales(notes: Notes) -> Iterator[Telltale]:
    """Yield the terms that give a class away."""
    terms, present = presence(notes)
    labels, clusters = notes.labels, notes.clusters
    classes = range(len(labels.classes))
    tests = max(1, len(terms) * len(classes))
    for number in classes:
        carried = labels.matrix[:, number]
        weights = patient_weights(carried, clusters)
        patients, others = round(weights[carried].sum()), round(weights[~carried].sum())
        if min(patients, others) < LEAST_PATIENTS:
            continue
        have = present.T @ (weights * carried) / patients
        wrongly = present.T @ (weights * ~carried) / others
        area = (have + 1 - wrongly) / 2
        for column in np.flatnonzero(area >= LEAST_AUROC).tolist():
            shares = float(have[column]), float(wrongly[column])
            if exact_p(shares, patients, others) * tests < SIGNIFICANCE:
                yield Telltale(terms[column], number, float(area[column]), shares, patients, others)


def presence(notes: Notes) -> tuple[list[str], sparse.csr_array]:
    """Return the terms of some notes, and whether each note has each [note, term]."""
    number: dict[str, int] = {}
    columns: list[NDArray[np.int64]] = []
    for text in notes.texts:
        terms = {*words(text), *(heading + HEADING for heading in headings(text))}
        columns.append(
            np.array([number.setdefault(term, len(number)) for term in sorted(terms)], np.int64)
        )
    starts = np.r_[0, np.cumsum([len(one) for one in columns])]
    ones: Floats = np.ones(int(starts[-1]))
    shape = (len(columns), len(number))
    return list(number), sparse.csr_array((ones, np.concatenate(columns), starts), shape)


def exact_p(shares: tuple[float, float], patients: int, others: int) -> float:
    """Return the p-value of Fisher's exact test, one-sided, that a term is no sign of a class.

    Shares of patients with several notes are rounded against significance.

    Parameters
    ----------
    shares : tuple of float
        Of the patients with the class, and of the others, those with the term.
    patients, others : int
    """
    hits, false = math.floor(shares[0] * patients + 1e-9), math.ceil(shares[1] * others - 1e-9)
    drawn = hits + false
    return sum(
        math.exp(
            _log_choose(patients, more)
            + _log_choose(others, drawn - more)
            - _log_choose(patients + others, drawn)
        )
        for more in range(hits, min(patients, drawn) + 1)
    )


def _log_choose(of: int, some: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(some + 1) - math.lgamma(of - some + 1)


def quoted(found: Telltale, notes: Notes, show: bool) -> str:
    """Return a term in quotes, or what kind it is where it may be somebody's name or a number."""
    word = found.term.removesuffix(HEADING)
    is_heading = word != found.term
    if show or _is_common(found, notes):
        if is_heading:
            return Message("the heading “{word}”", word=word)
        return Message("the word “{word}”", word=word)
    if folded(word) in {folded(str(name)) for name in notes.labels.classes}:
        if is_heading:
            return Message("a heading with the name of a class")
        return Message("the name of a class")
    if is_heading:
        return Message("a heading (--show-words shows it)")
    if any(sign.isdigit() for sign in word):
        return Message("a number or code (--show-words shows it)")
    return Message("a word (--show-words shows it)")


def _is_common(found: Telltale, notes: Notes) -> bool:
    """Return whether a term is a common word, which tells nothing about a patient."""
    word = found.term
    if not word.isalpha() or len(word) > LONGEST:
        return False
    if found.shares[0] * found.patients < QUOTED_FROM or not _use_capitals(notes):
        return False
    written = re.compile(rf"\b{word}\b", re.IGNORECASE)
    small = seen = 0
    for text in notes.texts:
        for match in written.finditer(text):
            seen += 1
            small += match.group().islower()
    return small >= IN_SMALL_LETTERS * seen > 0


def _use_capitals(notes: Notes) -> bool:
    """Return whether notes have capitals, by which names can be told from words."""
    initials = [
        word[0]
        for text in notes.texts[:READ_FOR_CAPITALS]
        for word in text.split()
        if word[0].isalpha()
    ]
    return sum(map(str.isupper, initials)) >= CAPITALS * len(initials) > 0
