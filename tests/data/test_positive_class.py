"""The positive class of two is found in their names, or told to be a guess."""

from itertools import permutations

import pytest

from clinadapt.core.errors import InputError
from clinadapt.data.positive_class import choose


@pytest.mark.parametrize(
    ("positive", "negative"),
    [
        ("1", "0"),
        (1, 0),
        (1, -1),
        ("1.0", "0.0"),
        (True, False),
        ("vrai", "faux"),
        ("oui", "non"),
        ("O", "N"),
        ("Y", "N"),
        ("T", "F"),
        ("+", "-"),
        ("HIV+", "HIV-"),
        ("POS", "NEG"),
        ("Positif", "Négatif"),
        ("malade", "sain"),
        ("cas", "témoin"),
        ("case", "control"),
        ("case", "other"),
        ("présent", "absent"),
        ("abnormal", "normal"),
        ("pathologique", "normale"),
        ("malin", "bénin"),
        ("infection", "no infection"),
        ("infection", "no_infection"),
        ("infection", "pas d'infection"),
        ("infection", "pas d’infection"),
        ("fièvre", "Pas de fièvre"),
        ("fièvre", "absence de fièvre"),
        ("embolie", "Absence d'embolie"),
        ("complication", "sans complication"),
        ("avec complication", "sans complication"),
        ("anomalie", "aucune anomalie"),
        ("urgent", "not urgent"),
        ("urgent", "non-urgent"),
        ("urgent", "nonurgent"),
        ("fever", "without any fever"),
        ("infecté", "non infecté"),
        ("symptomatique", "asymptomatique"),
        ("affected", "unaffected"),
        ("active", "inactive"),
        ("fracture", "fracture absente"),
        ("HIV positive", "HIV negative"),
        ("disease", "disease-free"),
        ("smoker", "never smoker"),
        ("not healthy", "healthy"),
        ("grade 1", "grade 0"),
    ],
)
def test_names_say_which_is_positive(positive, negative):
    for rare, frequent in permutations((positive, negative)):
        chosen = choose({rare: 3, frequent: 30})
        assert (chosen.name, chosen.other, chosen.warning) == (positive, negative, None)


@pytest.mark.parametrize(
    "names", [("A", "B"), ("1", "2"), (1, 2), ("b", "ab"), ("yes", "oui"), ("no", "0")]
)
def test_otherwise_the_rarer_is_taken_with_a_warning(names):
    for rare, frequent in permutations(names):
        chosen = choose({frequent: 30, rare: 3})
        assert (chosen.name, chosen.other) == (rare, frequent)
        assert f"so {rare!r}, the rarer (3 of 33 notes), is taken" in chosen.warning
        assert "--positive" in chosen.warning
        assert f"positive={frequent!r}" in chosen.warning
    equal = choose(dict.fromkeys(names, 7))
    assert equal.name == sorted(names)[1]
    assert "equally rare (7 of 14 notes)" in equal.warning


def test_a_chosen_class_is_positive_without_a_word():
    chosen = choose({"no": 5, "yes": 3}, "no")
    assert (chosen.name, chosen.other, chosen.warning) == ("no", "yes", None)
    with pytest.raises(InputError, match="'maybe' is not one of the labels 'no' and 'yes'"):
        choose({"no": 5, "yes": 3}, "maybe")


def test_long_names_are_not_quoted():
    chosen = choose({"word " * 30: 3, "words " * 30: 4})
    assert "word " * 3 not in chosen.warning
    assert "(a long name)" in chosen.warning
