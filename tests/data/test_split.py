"""Parts share no patient and have the requested sizes and shares of every class."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import unequal_table
from sklearn.metrics import accuracy_score
from sklearn.model_selection import StratifiedGroupKFold

from clinadapt.core.errors import InputError
from clinadapt.data import labels as labelling
from clinadapt.data.near_duplicates import across_parts
from clinadapt.data.notes import Notes
from clinadapt.data.split import (
    PARTS,
    carve_validation,
    make_split,
    partition,
    read_split,
    save_split,
)
from clinadapt.data.text_store import Texts
from clinadapt.models.tfidf_logistic import TfidfLogistic


def notes_of(classes, groups=None, parts=None, texts=None):
    """Notes of given classes (sets of them if multi-label)."""
    ids = [f"n{row}" for row in range(len(classes))]
    single = isinstance(classes[0], str)
    labels = labelling.from_single(classes) if single else labelling.from_sets(classes)
    return Notes(ids, texts or ids, labels, groups, parts)


def drawn_notes(task, seed=0, n_notes=900, n_patients=250):
    """Notes whose classes vary from patient to patient."""
    random = np.random.default_rng(seed)
    patient = random.integers(n_patients, size=n_notes)
    leaning = random.random(n_patients)[patient]
    noise = random.normal(0, 0.15, n_notes)
    if task == "binary":
        classes = np.where(leaning + noise < 0.36, "yes", "no").tolist()
    elif task == "multiclass":
        cuts = np.digitize(leaning + noise, [0.08, 0.3, 0.5])
        classes = np.array(["rare", "a", "b", "c"])[cuts].tolist()
    else:
        rates = {"a": 0.5, "b": 0.2, "c": 0.1, "rare": 0.04}
        classes = [
            {name for name, rate in rates.items() if (lean + random.normal(0, 0.1)) % 1 < rate}
            for lean in leaning
        ]
    return notes_of(classes, groups=[f"p{number}" for number in patient])


def groups_by_part(notes, split):
    return [{notes.groups[row] for row in rows} for rows in split.parts().values()]


# ---------------------------------------------------------------- by patient


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=40, max_size=70),
    n_classes=st.integers(2, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_patient_is_in_two_parts_and_no_note_is_lost(sizes, n_classes, seed):
    owner = np.repeat(np.arange(len(sizes)), sizes)
    owner = np.random.default_rng(seed).permutation(owner)
    classes = [f"c{number % n_classes}" for number in owner]
    notes = notes_of(classes, groups=[f"p{number}" for number in owner])
    split = make_split(notes, seed=seed)
    train, validation, test = groups_by_part(notes, split)
    assert not train & validation
    assert not train & test
    assert not validation & test
    assert sorted(np.concatenate(list(split.parts().values()))) == list(range(len(notes)))
    assert all((np.diff(rows) > 0).all() for rows in split.parts().values())


@settings(deadline=None, max_examples=40)
@given(
    clusters=st.lists(st.integers(0, 15), min_size=1, max_size=80),
    fractions=st.lists(st.floats(0.05, 1), min_size=2, max_size=5),
    seed=st.integers(0, 1000),
)
def test_any_partition_keeps_clusters_together(clusters, fractions, seed):
    clusters = np.array(clusters)
    fractions = np.array(fractions) / sum(fractions)
    matrix = np.random.default_rng(seed).random((len(clusters), 3)) < 0.4
    part = partition(matrix, clusters, fractions, seed)
    assert set(part) <= set(range(len(fractions)))
    for cluster in set(clusters):
        assert len(set(part[clusters == cluster])) == 1


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("seed", range(3))
def test_sizes_and_class_shares_are_near_those_wanted(task, seed):
    notes = drawn_notes(task, seed)
    split = make_split(notes, seed=seed)
    wanted = {"train": 0.7 * 0.85, "validation": 0.7 * 0.15, "test": 0.3}
    overall = notes.labels.matrix.mean(axis=0)
    for name, rows in split.parts().items():
        assert abs(len(rows) / len(notes) - wanted[name]) < 0.015
        shares = notes.labels.matrix[rows].mean(axis=0)
        np.testing.assert_allclose(shares, overall, atol=0.035)


@pytest.mark.parametrize("seed", range(5))
def test_patients_with_many_notes_are_dealt_first(seed):
    patient = np.r_[np.repeat(np.arange(4), 30), np.arange(4, 484)]
    patient = np.random.default_rng(seed).permutation(patient)
    notes = notes_of([f"c{number % 2}" for number in patient], [f"p{n}" for n in patient])
    sizes = [len(rows) / 600 for rows in make_split(notes, seed=seed).parts().values()]
    np.testing.assert_allclose(sizes, [0.7 * 0.85, 0.7 * 0.15, 0.3], atol=0.01)


FRACTIONS = (0.7 * 0.85, 0.7 * 0.15, 0.3)


def test_unequal_patients_keep_the_share_of_positive_notes():
    """On sixty drawn tables, beside scikit-learn's splitter for groups."""
    errors, of_sklearn = [], []
    for seed in range(60):
        clusters, positive = unequal_table(np.random.default_rng(seed))
        share = positive.mean()
        parts = partition(np.c_[~positive, positive], clusters, FRACTIONS, seed)
        errors.append(abs(positive[parts == 1].mean() - share) / share)
        folds = StratifiedGroupKFold(10, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few positive patients
            _, theirs = next(folds.split(clusters, positive, clusters))
        of_sklearn.append(abs(positive[theirs].mean() - share) / share)
    assert np.median(errors) < 0.03
    assert np.quantile(errors, 0.9) < 0.10
    assert np.quantile(errors, 0.9) < np.quantile(of_sklearn, 0.9)


@pytest.mark.parametrize("seed", range(5))
def test_one_patient_does_not_bring_most_positive_notes_of_a_part(seed):
    """Few groups hold most positive notes, as where a group is a class of drugs."""
    sizes = np.array([80, 60, 60, 55, 30, 20, 15, 15, 15, 10, 10, 10, 8, 8, 6, 6, 4, 4, 4, 3, 3])
    positive = np.arange(270) < len(sizes)
    groups = np.r_[sizes, np.random.default_rng(seed).integers(1, 17, 270 - len(sizes))]
    clusters = np.repeat(np.arange(270), groups)
    carried = positive[clusters]
    parts = partition(np.c_[~carried, carried], clusters, (0.85, 0.15), seed)
    inside = np.bincount(clusters[(parts == 1) & carried])
    assert (inside > 0).sum() >= 4
    assert inside.max() <= 0.5 * inside.sum()
    assert abs(carried[parts == 1].mean() - carried.mean()) < 0.01


def test_a_class_of_few_big_patients_is_still_in_every_part():
    clusters = np.repeat(np.arange(63), [40, 40, 40, *([4] * 60)])
    positive = clusters < 3
    parts = partition(np.c_[~positive, positive], clusters, FRACTIONS, 0)
    assert [positive[parts == number].any() for number in range(3)] == [True] * 3


def test_other_fractions():
    notes = drawn_notes("binary")
    split = make_split(notes, test_fraction=0.2, validation_fraction=0.5)
    sizes = [len(rows) / len(notes) for rows in split.parts().values()]
    np.testing.assert_allclose(sizes, [0.4, 0.4, 0.2], atol=0.015)


def test_notes_without_groups_are_split_one_by_one():
    notes = notes_of(["yes", "no"] * 100)
    split = make_split(notes)
    sizes = [len(rows) for rows in split.parts().values()]
    np.testing.assert_allclose(sizes, [119, 21, 60], atol=1)
    shares = [notes.labels.target[rows].mean() for rows in split.parts().values()]
    np.testing.assert_allclose(shares, 0.5, atol=0.03)


def test_a_seed_gives_one_split_and_another_seed_another():
    notes = drawn_notes("multiclass")
    first, again, other = make_split(notes, seed=1), make_split(notes, seed=1), make_split(notes)
    for name in PARTS:
        np.testing.assert_array_equal(first.parts()[name], again.parts()[name])
        assert not np.array_equal(first.parts()[name], other.parts()[name])


def test_carved_validation_is_of_other_patients():
    notes = drawn_notes("binary")
    validation = carve_validation(notes.labels.matrix, notes.clusters, 0.2, seed=0)
    assert abs(validation.mean() - 0.2) < 0.01
    assert not set(notes.clusters[validation]) & set(notes.clusters[~validation])


# ---------------------------------------------------------------- official parts


@pytest.mark.parametrize("second", ["dev", "valid", "val", "validation", "DEV"])
@pytest.mark.parametrize("first", ["train", "Training"])
def test_official_parts_are_kept(first, second):
    parts = [first, first, second, second, "test", "Test"]
    split = make_split(notes_of(["yes", "no"] * 3, parts=parts))
    assert [rows.tolist() for rows in split.parts().values()] == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("second", ["test", "dev", "validation"])
def test_of_two_official_parts_the_second_is_the_test(second):
    random = np.random.default_rng(0)
    patient = np.sort(random.integers(60, size=240))
    parts = np.where(patient < 40, "train", second).tolist()
    classes = np.where(patient % 2 == 0, "yes", "no").tolist()
    notes = notes_of(classes, [f"p{number}" for number in patient], parts)
    split = make_split(notes, validation_fraction=0.25)
    assert split.test.tolist() == np.flatnonzero(patient >= 40).tolist()
    train, validation, _ = groups_by_part(notes, split)
    assert not train & validation
    share = len(split.validation) / (len(split.train) + len(split.validation))
    assert abs(share - 0.25) < 0.03


def test_a_group_in_two_official_parts_is_named():
    groups = [*"abcabc", "d", "e"]
    parts = ["train", "train", "train", "test", "dev", "train", "test", "dev"]
    with pytest.raises(InputError, match=r"^2 group\(s\) are in two parts.*: 'a', 'b'\. "):
        make_split(notes_of(["yes", "no"] * 4, groups, parts))


@pytest.mark.parametrize(
    "parts",
    [["train", "holdout"], ["test", "dev"], ["train", "train"], ["test", "test"], ["1", "2"]],
)
def test_parts_that_are_no_split(parts):
    with pytest.raises(InputError, match="must name the parts") as caught:
        make_split(notes_of(["yes", "no"] * 4, parts=parts * 4))
    assert all(repr(part) in str(caught.value) for part in parts)


def test_a_class_that_cannot_be_learned_is_a_problem():
    classes = ["a", "b", "a", "b", "a", "b", "c"]
    parts = ["train"] * 2 + ["dev"] * 2 + ["test"] * 3
    with pytest.raises(InputError, match=r"without notes in the train part: c$"):
        make_split(notes_of(classes, parts=parts))
    absent_from_test = [*classes[:6], "c", "c"]
    split = make_split(notes_of(absent_from_test, parts=[*parts[:6], "train", "dev"]))
    assert split.train.tolist() == [0, 1, 6]


def test_a_binary_class_must_be_in_every_part():
    parts = ["train"] * 2 + ["dev"] * 2 + ["test"] * 2
    with pytest.raises(InputError) as caught:
        make_split(notes_of(["a", "b", "a", "a", "b", "b"], parts=parts))
    assert caught.value.problems == [
        "class(es) without notes in the validation part: b",
        "class(es) without notes in the test part: a",
    ]


def test_too_few_notes():
    with pytest.raises(InputError, match="part is empty"):
        make_split(notes_of(["a", "b"]))


def test_saved_ids_lead_back_to_the_rows(tmp_path):
    notes = drawn_notes("binary")
    split = make_split(notes)
    save_split(split, notes.ids, tmp_path / "split.json")
    saved = json.loads((tmp_path / "split.json").read_text(encoding="utf-8"))
    assert list(saved) == list(PARTS)
    row_of = {name: row for row, name in enumerate(notes.ids)}
    for name, rows in split.parts().items():
        assert [row_of[entry] for entry in saved[name]] == rows.tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["split.json"]
    again = read_split(tmp_path / "split.json", notes.ids)
    for name, rows in split.parts().items():
        np.testing.assert_array_equal(again.parts()[name], rows)


def test_a_split_of_other_ids_is_not_taken(tmp_path):
    notes = drawn_notes("binary")
    path = tmp_path / "split.json"
    assert read_split(path, notes.ids) is None
    save_split(make_split(notes), notes.ids, path)
    assert read_split(path, notes.ids[:-1]) is None
    assert read_split(path, Texts.of([*notes.ids, "one more"])) is None
    path.write_text('{"train": [["n1"]], "validation": [], "test": []}')
    assert read_split(path, notes.ids) is None


# ---------------------------------------------------------------- leaks without grouping


@pytest.fixture(scope="module")
def leaky():
    """60 patients with 6 notes each: a long sentence specific to the patient, and random words."""
    random = np.random.default_rng(0)
    common = [f"word{number}" for number in range(200)]
    outcome = random.permutation(["yes", "no"] * 30)
    texts, classes, groups = [], [], []
    for patient in range(60):
        own = " ".join(f"p{number}" for number in random.integers(10**6, size=30))
        for _ in range(6):
            texts.append(f"{own} {' '.join(random.choice(common, 8))}")
            classes.append(str(outcome[patient]))
            groups.append(f"p{patient}")
    return texts, classes, groups


def accuracy(notes, split):
    def part(rows):
        return [notes.texts[row] for row in rows], notes.labels.take(rows)

    model = TfidfLogistic().fit(*part(split.train))
    texts, labels = part(split.test)
    return accuracy_score(labels.target, model.predict_proba(texts).argmax(axis=1))


def test_a_split_by_note_leaks_and_a_split_by_patient_does_not(leaky):
    texts, classes, groups = leaky
    by_note, by_patient = (
        notes_of(classes, None, None, texts),
        notes_of(classes, groups, None, texts),
    )
    leaking, sound = make_split(by_note), make_split(by_patient)

    assert accuracy(by_note, leaking) > 0.9
    assert accuracy(by_patient, sound) < 0.7

    pairs = across_parts(by_note, leaking)
    assert len(pairs) > 0.9 * (len(leaking.validation) + len(leaking.test))
    assert {pair.kind for pair in pairs} == {"near"}
    assert across_parts(by_patient, sound) == []
