"""Words that give a label away: significance by an independent test, and which are quoted."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import fisher_exact
from sklearn.metrics import roc_auc_score

from clinadapt.data.columns import Columns
from clinadapt.data.notes import read_notes
from clinadapt.data.split import make_split
from clinadapt.study.checks.contract import Subject
from clinadapt.study.checks.telltale_words import exact_p, give_away, presence, telltales


def notes_of(marker, positives=40, others=80, repeats=1):
    """Notes of patients of which those with the class contain a word; `repeats` notes of each."""
    generator = np.random.default_rng(0)
    lines = []
    for patient in range(positives + others):
        for _ in range(repeats):
            filler = " ".join(generator.choice(["Examen", "normal", "toux", "sans", "Fièvre"], 8))
            has = patient < positives
            text = f"{filler}. {marker}. {filler}" if has else filler
            lines.append((str(patient), text, "oui" if has else "non"))
    table = pl.DataFrame(lines, ["patient", "text", "label"], orient="row")
    return read_notes(table.sample(fraction=1, shuffle=True, seed=0), Columns(group="patient"))


def said_of(notes, **more):
    return give_away(Subject(notes, make_split(notes), **more))


@pytest.mark.parametrize(("hits", "patients", "false", "others"), [(9, 10, 1, 30), (3, 8, 2, 9)])
def test_the_test_is_fishers(hits, patients, false, others):
    counts = [[hits, patients - hits], [false, others - false]]
    expected = fisher_exact(counts, alternative="greater").pvalue
    assert exact_p((hits / patients, false / others), patients, others) == pytest.approx(expected)


def test_the_area_is_that_of_the_words_presence():
    notes = notes_of("revu en staff")
    (found,) = [one for one in telltales(notes) if one.term == "staff"]
    terms, matrix = presence(notes)
    has = matrix[:, [terms.index("staff")]].toarray().ravel()
    assert found.auroc == pytest.approx(roc_auc_score(notes.labels.matrix[:, found.number], has))


def test_a_common_word_in_small_letters_is_quoted():
    assert "the word “revu”" in said_of(notes_of("revu"))


@pytest.mark.parametrize(
    ("marker", "kind"),
    [
        ("Quillévéré", "a word"),
        ("71345", "a number or code"),
        ("Staff : Vu", "a heading"),
    ],
)
def test_names_numbers_and_headings_are_not(marker, kind):
    notes = notes_of(marker)
    hidden, shown = said_of(notes), said_of(notes, show_words=True)
    assert "“" not in hidden
    assert kind in hidden
    assert marker.split()[0].lower() in shown


def test_a_word_of_few_patients_is_not_quoted():
    assert "“" not in said_of(notes_of("revu au staff", positives=15, others=200))


def test_in_notes_without_capitals_names_cannot_be_told_from_words():
    notes = notes_of("revu au staff")
    lower = read_notes(
        pl.DataFrame(
            {
                "text": [text.lower() for text in notes.texts],
                "label": [str(name) for name in notes.labels.decode()],
                "patient": list(notes.groups),
            }
        ),
        Columns(group="patient"),
    )
    assert "“" not in said_of(lower)


def test_many_notes_of_few_patients_are_few():
    assert said_of(notes_of("revu au staff", positives=3, others=60, repeats=30)) is None


@pytest.mark.parametrize(("words", "found"), [(40, True), (20_000, False)])
def test_among_many_words_some_fit_few_patients_by_chance(words, found):
    generator = np.random.default_rng(1)
    present = generator.random((20, words)) < 0.5
    present[:, 0] = np.arange(20) < 10  # one fits all ten with the class, as one of many may
    lines = [
        (" ".join(f"w{word}" for word in np.flatnonzero(one)), "oui" if at < 10 else "non")
        for at, one in enumerate(present)
    ]
    notes = read_notes(pl.DataFrame(lines, ["text", "label"], orient="row"))
    assert ("w0" in [one.term for one in telltales(notes)]) == found
