"""Duplicates across parts are those that a brute-force search over shingles finds."""

import re

import numpy as np
import pytest

from clinadapt.data import labels as labelling
from clinadapt.data import near_duplicates
from clinadapt.data.near_duplicates import Duplicate, across_parts
from clinadapt.data.notes import Notes
from clinadapt.data.split import PARTS, Split


def notes_of(texts):
    ids = [f"n{row}" for row in range(len(texts))]
    return Notes(ids, texts, labelling.from_single(["a", *"b" * (len(texts) - 1)]))


def split_of(train, validation, test):
    return Split(*(np.array(rows, dtype=np.int64) for rows in (train, validation, test)))


def pair_of(first, second, **settings):
    """Return the duplicates among a training note and a test note."""
    notes = notes_of([first, second, "quite another note of no interest"])
    return across_parts(notes, split_of([0], [2], [1]), **settings)


def shingles(text):
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[at : at + 5]) for at in range(len(words) - 4)} or {tuple(words)}


def jaccard(first, second):
    first, second = shingles(first), shingles(second)
    return len(first & second) / len(first | second)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("near", [0.2, 0.5, 1.0])
def test_pairs_are_those_of_brute_force(seed, near):
    random = np.random.default_rng(seed)
    stems = [[f"w{number}" for number in random.integers(40, size=40)] for _ in range(8)]
    texts = []
    for _ in range(120):
        words = list(stems[random.integers(8)][: random.choice([2, 6, 12, 25, 40])])
        for at in random.integers(len(words), size=random.integers(3)):
            words[at] = "changed"
        texts.append(" ".join(words))
    notes = notes_of(texts)
    order = random.permutation(120)
    split = split_of(np.sort(order[:60]), np.sort(order[60:80]), np.sort(order[80:]))

    part_of = {row: name for name, rows in split.parts().items() for row in rows.tolist()}
    nearest = {}
    for row, part in part_of.items():
        earlier = PARTS[: PARTS.index(part)]
        values = [jaccard(texts[row], texts[o]) for o in part_of if part_of[o] in earlier]
        if values and max(values) >= near:
            nearest[f"n{row}"] = max(values)

    pairs = across_parts(notes, split, near)
    assert len(nearest) > 5
    assert {pair.id_b: pair.similarity for pair in pairs} == pytest.approx(nearest, abs=1e-12)
    assert len(pairs) == len(nearest)
    for pair in pairs:
        first, second = int(pair.id_a[1:]), int(pair.id_b[1:])
        assert jaccard(texts[first], texts[second]) == pytest.approx(pair.similarity, abs=1e-12)
        assert (part_of[first], part_of[second]) == (pair.part_a, pair.part_b)
        assert PARTS.index(pair.part_a) < PARTS.index(pair.part_b)
        assert (pair.kind == "exact") == (texts[first] == texts[second])
    similarities = [pair.similarity for pair in pairs]
    assert similarities == sorted(similarities, reverse=True)


def test_a_copy_is_exact_whatever_its_spaces():
    pairs = pair_of(
        "pas de signe d'insuffisance cardiaque", "pas de  signe\nd'insuffisance cardiaque"
    )
    assert pairs == [Duplicate("exact", "n0", "train", "n1", "test", 1.0)]


def test_same_words_in_other_case_or_punctuation_are_near():
    (pair,) = pair_of(
        "pas de signe d'insuffisance cardiaque", "Pas de signe d'insuffisance cardiaque."
    )
    assert (pair.kind, pair.similarity) == ("near", 1.0)


def test_similarity_by_hand():
    # 8 and 9 words: 4 and 5 shingles, 4 shared: 4 / 5.
    (pair,) = pair_of("a1 a2 a3 a4 a5 a6 a7 a8", "a1 a2 a3 a4 a5 a6 a7 a8 a9")
    assert (pair.kind, pair.similarity) == ("near", 0.8)
    # A word changed in the middle of 11 spoils 5 of 7 shingles: 2 / 12.
    words = [f"b{number}" for number in range(11)]
    changed = [*words[:5], "other", *words[6:]]
    assert pair_of(" ".join(words), " ".join(changed)) == []
    (pair,) = pair_of(" ".join(words), " ".join(changed), near=0.1)
    assert pair.similarity == pytest.approx(2 / 12)


@pytest.mark.parametrize(
    ("first", "second", "kinds"),
    [
        ("RAS", "RAS", ["exact"]),
        ("RAS", "ras", ["near"]),
        ("RAS", "RAS ce jour", []),
        ("un deux trois quatre", "un deux trois quatre", ["exact"]),
        ("un deux trois quatre", "un deux trois cinq", []),
        ("pas - de - fièvre", "pas - de - fièvre", ["exact"]),
        ("- - - fièvre - -", "- - - toux - -", []),
        ("T° 38,2", "T° 38,2", ["exact"]),
    ],
)
def test_short_notes_are_compared_as_a_whole(first, second, kinds):
    assert [pair.kind for pair in pair_of(first, second)] == kinds


def test_each_later_note_is_listed_once_with_its_nearest():
    base = "a1 a2 a3 a4 a5 a6 a7 a8 a9 a10"
    texts = [f"{base} x", f"{base} x y z", f"{base} x y", f"{base} x y"]
    pairs = across_parts(notes_of(texts), split_of([0, 1], [2], [3]))
    # Of n3 the copy in validation, not the training notes; of n2: 7/8 with n0, 8/9 with n1.
    assert [(pair.id_b, pair.id_a, pair.part_a) for pair in pairs] == [
        ("n3", "n2", "validation"),
        ("n2", "n1", "train"),
    ]
    assert [pair.similarity for pair in pairs] == pytest.approx([1, 8 / 9])


def test_copies_within_a_part_are_not_leaks():
    texts = ["one two three four five"] * 3 + ["six seven eight nine ten", "eleven twelve"]
    assert across_parts(notes_of(texts), split_of([0, 1, 2], [3], [4])) == []


def test_texts_in_common_words_but_not_in_phrases_are_no_duplicates():
    random = np.random.default_rng(0)
    words = np.array([f"w{number}" for number in range(30)])
    texts = [" ".join(random.permutation(words)) for _ in range(90)]
    split = split_of(range(60), range(60, 70), range(70, 90))
    assert across_parts(notes_of(texts), split) == []


def many_pairs(n=60):
    """As many training notes as test notes, each test note near one training note."""
    texts = [" ".join(f"w{note}x{word}" for word in range(12)) for note in range(n)]
    return notes_of([*texts, *(f"{text} more" for text in texts), "none of these at all here"])


def test_everything_is_searched_where_it_can_be():
    pairs = across_parts(many_pairs(), split_of(range(60), [120], range(60, 120)))
    assert len(pairs) == pairs.later - 1 == pairs.searched - 1 == 60


def test_of_very_many_later_notes_a_sample_is_searched_and_that_is_reported(monkeypatch):
    monkeypatch.setattr(near_duplicates, "MOST_SEARCHED", 20)
    notes, split = many_pairs(), split_of(range(60), [120], range(60, 120))
    pairs = across_parts(notes, split)
    assert (pairs.later, pairs.searched) == (61, 20)
    assert len(pairs) in (19, 20)
    copies = notes_of([*notes.texts[:60], *notes.texts[:60], "none of these"])
    assert len(across_parts(copies, split)) == 60  # copies are always found


def test_where_notes_share_too_much_fewer_are_searched_and_that_is_reported(monkeypatch):
    header = "service de reanimation pediatrique compte rendu du jour "
    notes = notes_of([header + f"numero {n} suite numero {n}" for n in range(200)])
    split = split_of(range(100), [100], range(101, 200))
    complete = across_parts(notes, split, near=0.3)
    assert complete.searched == complete.later == 100
    assert len(complete) == 100
    monkeypatch.setattr(near_duplicates, "MOST_COMPARISONS", 2000)
    pairs = across_parts(notes, split, near=0.3)
    assert pairs.later == 100
    assert 1 <= pairs.searched < 100
    # Notes that were searched have the same nearest notes as in the complete search.
    assert set(pairs) <= set(complete)
    assert len(pairs) == pairs.searched
