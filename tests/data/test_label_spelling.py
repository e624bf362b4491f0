"""Names of classes: what nobody sees makes no difference, and what looks alike is told."""

import unicodedata

import pytest

from clinadapt.data.label_spelling import (
    doubtful_names,
    joined_names,
    look_alikes,
    tidy,
    words_for_nothing,
)


@pytest.mark.parametrize(
    "spelled",
    [
        "chest pain",
        " chest pain ",
        "chest\u00a0pain",
        "chest  pain",
        "chest\tpain\n",
        "\ufeffchest pain",
        "chest pain\u200b",
        "ch\u00adest pain",
        "chest\u202fpain\u200e",
        "chest\ufe0f pain\u3164",
        "chest pain\x00\x07",
    ],
)
def test_what_nobody_sees_makes_no_difference(spelled):
    assert tidy(spelled) == "chest pain"


def test_accents_are_composed_and_blanks_are_nothing():
    assert tidy(unicodedata.normalize("NFD", "fièvre")) == "fièvre"
    assert [tidy(blank) for blank in ("", " ", "\u00a0", "\u200b", " \u2060\t")] == [""] * 5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("yes", "YES"),
        ("Straße", "STRASSE"),
        ("fièvre", "fievre"),
        ("1", "1.0"),
        ("1", "01"),
        ("1,0", "1.0"),
        ("yes", "ｙｅｓ"),
        ("yes", '"yes"'),
        ("yes", "yes."),
        ("non urgent", "non-urgent"),
        ("no_infection", "No infection"),
        ("pas d'infection", "pas d’infection"),
    ],
)
def test_names_that_look_alike_are_told_with_a_proposal(one, other):
    (warning,) = look_alikes({one: 20, "else": 9, other: 3})
    assert f"{one!r} (20), {other!r} (3): if they mean the same, write {one!r} for all" in warning
    assert "else" not in warning


@pytest.mark.parametrize(
    "names",
    [
        ("A+", "A-"),
        ("yes", "no"),
        ("1", "10"),
        ("1.0", "1.5"),
        ("<5", ">5"),
        ("+", "-"),
        ("stage I", "stage II"),
        (1, 2),
        ("?", "!"),
    ],
)
def test_other_names_are_not_alike(names):
    assert look_alikes(dict.fromkeys(names, 4)) == []


def test_many_and_long_names_are_counted():
    (warning,) = look_alikes({name: 1 for n in range(40) for name in (f"c{n}x", f"C{n}X")})
    assert "and 30 more such groups" in warning
    secret = "word " * 20 + "end"
    (warning,) = look_alikes({secret: 3, secret.upper(): 3})
    assert "2 long names" in warning
    assert "word" not in warning.lower()


@pytest.mark.parametrize(
    ("one", "other"),
    [("œdème", "Oedeme"), ("asthme", "\u0430sthme"), ("ABO", "\u0391\u0392\u039f")],
)
def test_ligatures_and_letters_of_other_scripts_look_alike(one, other):
    (warning,) = look_alikes({one: 9, other: 3, "rien": 5})
    assert f"write {one!r} for all" in warning


@pytest.mark.parametrize("name", ["na", "N.A.", "Null", "?", "--", "#REF!", "NSP", "Non renseigné"])
def test_names_that_may_mean_missing_are_doubted(name):
    (warning,) = words_for_nothing(["a", name, "none", "Na+"])
    assert warning.startswith(f"{name!r} count as classes")
    assert "--missing" in warning


@pytest.mark.parametrize("name", ["['a', 'b']", '["a"]', "[]", "{'a'"])
def test_lists_written_as_text_are_doubted(name):
    (warning,) = doubtful_names(["a", "b (other)", name], 90)
    assert "1 class(es) look like lists" in warning


@pytest.mark.parametrize("joined", ["a|b", "b, a", "a;"])
def test_classes_that_are_others_joined_are_doubted(joined):
    warnings = joined_names(["a", "b", joined], None)
    assert bool(warnings) == (joined != "a;")
    assert all(f"use --separator {joined[1]!r}" in warning for warning in warnings)


def test_a_separator_with_a_space_may_leave_labels_joined():
    (warning,) = joined_names(["a", "b", "a,b"], ", ")
    assert "--separator ',' reads both" in warning
    assert joined_names(["a", "a,b"], ",") == joined_names(["a", "a b"], " ") == []
