"""Labels in every supported form become one matrix, and are decoded to the same labels."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from clinadapt.core.errors import InputError
from clinadapt.data.labels import Labels, decode, from_sets, from_single
from clinadapt.data.python_inputs import as_labels

WORDS = ["no", "yes", "yes", "no"]
CODES = [0, 1, 1, 0]
SITES = ["lung", "heart", "skin", "heart"]
SETS = [("a", "b"), (), ("c",), ("a", "c")]
RAGGED = [["a"], ["b", "c"], ["c"]]
INDICATOR = [[1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 1]]


@pytest.mark.parametrize(
    ("y", "task", "classes", "decoded"),
    [
        (WORDS, "binary", ["no", "yes"], WORDS),
        (tuple(WORDS), "binary", ["no", "yes"], WORDS),
        (np.array(WORDS), "binary", ["no", "yes"], WORDS),
        (np.array(WORDS, dtype=object), "binary", ["no", "yes"], WORDS),
        (pd.Series(WORDS), "binary", ["no", "yes"], WORDS),
        (pd.Series(WORDS, dtype="category"), "binary", ["no", "yes"], WORDS),
        (pl.Series(WORDS), "binary", ["no", "yes"], WORDS),
        (CODES, "binary", [0, 1], CODES),
        (np.array(CODES), "binary", [0, 1], CODES),
        (np.array(CODES, dtype=bool), "binary", [False, True], [bool(code) for code in CODES]),
        (SITES, "multiclass", ["heart", "lung", "skin"], SITES),
        (np.array([2, 7, 5]), "multiclass", [2, 5, 7], [2, 7, 5]),
        (SETS, "multilabel", [*"abc"], SETS),
        (RAGGED, "multilabel", [*"abc"], [tuple(row) for row in RAGGED]),
        ([["a", "b"], ["b", "c"]], "multilabel", [*"abc"], [("a", "b"), ("b", "c")]),
        ([("a",), ("b",)], "multilabel", [*"ab"], [("a",), ("b",)]),
        ([{"a", "b"}, frozenset("b")], "multilabel", [*"ab"], [("a", "b"), ("b",)]),
        (pd.Series(RAGGED), "multilabel", [*"abc"], [tuple(row) for row in RAGGED]),
        (pl.Series(RAGGED), "multilabel", [*"abc"], [tuple(row) for row in RAGGED]),
        (np.array(INDICATOR), "multilabel", [0, 1, 2], [(0, 1), (), (2,), (0, 2)]),
        (np.array(INDICATOR, dtype=bool), "multilabel", [0, 1, 2], [(0, 1), (), (2,), (0, 2)]),
        (np.array(INDICATOR, dtype=float), "multilabel", [0, 1, 2], [(0, 1), (), (2,), (0, 2)]),
        (pd.DataFrame(INDICATOR), "multilabel", [0, 1, 2], [(0, 1), (), (2,), (0, 2)]),
        (
            pl.DataFrame(INDICATOR, orient="row"),
            "multilabel",
            [0, 1, 2],
            [(0, 1), (), (2,), (0, 2)],
        ),
        (INDICATOR, "multilabel", [0, 1, 2], [(0, 1), (), (2,), (0, 2)]),
    ],
)
def test_every_form_of_y(y, task, classes, decoded):
    labels = as_labels(y)
    assert labels.task == task
    assert labels.classes.tolist() == classes
    assert labels.matrix.shape == (len(labels), len(classes))
    assert labels.matrix.dtype == bool
    assert labels.decode().tolist() == decoded


@pytest.mark.parametrize("values", [WORDS, SITES, [3, 1, 2, 1]])
def test_single_labels_are_decoded_from_their_codes(values):
    labels = from_single(values)
    assert (labels.matrix.sum(axis=1) == 1).all()
    assert labels.classes[labels.target].tolist() == values
    assert as_labels(labels.decode()).target.tolist() == labels.target.tolist()


def test_sets_are_decoded_and_their_target_is_scikit_learn_s_indicator():
    labels = from_sets(SETS)
    assert labels.target.tolist() == INDICATOR
    again = as_labels(labels.decode())
    np.testing.assert_array_equal(again.matrix, labels.matrix)
    assert as_labels(labels.target).target.tolist() == INDICATOR


def test_decoding_predictions():
    classes = np.array(["x", "y", "z"])
    matrix = np.array([[0, 1, 0], [0, 0, 1]], dtype=bool)
    assert decode("multiclass", classes, matrix).tolist() == ["y", "z"]
    assert decode("multilabel", classes, ~matrix).tolist() == [("x", "z"), ("x", "y")]


def test_taking_rows_keeps_the_classes():
    some = from_single(SITES).take(np.array([3, 1]))
    assert (some.task, some.classes.tolist()) == ("multiclass", ["heart", "lung", "skin"])
    assert some.decode().tolist() == ["heart", "heart"]
    assert len(some) == 2


@pytest.mark.parametrize(
    ("classes", "positive", "ordered"),
    [
        (["no", "yes"], None, ["no", "yes"]),
        (["positif", "sain"], None, ["sain", "positif"]),
        (["CASE", "control"], None, ["control", "CASE"]),
        ([False, True], None, [False, True]),
        (["a", "b"], "a", ["b", "a"]),
        (["no", "yes"], "no", ["yes", "no"]),
        ([0, 1], 0, [1, 0]),
    ],
)
def test_positive_class_is_second(classes, positive, ordered):
    labels = as_labels(classes, positive)
    assert labels.classes.tolist() == ordered
    assert labels.positive == ordered[1]
    assert labels.target.tolist() == [ordered.index(name) for name in classes]


@pytest.mark.parametrize(
    ("y", "positive", "message"),
    [
        ([], None, "at least one label, got none"),
        (["a", "a"], None, r"at least two classes, got 1 class: 'a'"),
        (["a", "b"], "c", "positive class 'c' is not one of the labels"),
        ([("a",), ("a",), ()], None, r"at least two labels.*'a'"),
        (np.array([[1, 2], [0, 1]]), None, "matrix of zeros and ones"),
        ([[0, 1], [2, 3]], None, "matrix of zeros and ones"),
        (np.array([["a", "x"], ["b", "y"]]), None, "matrix of zeros and ones"),
    ],
)
def test_labels_that_will_not_do(y, positive, message):
    with pytest.raises(InputError, match=message):
        as_labels(y, positive)


def test_length_is_that_of_the_notes():
    assert len(Labels("binary", np.arange(2), np.zeros((5, 2), dtype=bool))) == 5
