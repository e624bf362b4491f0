"""What Python callers pass is read like a table's columns, or refused with positions."""

import datetime
import decimal
import warnings

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

from clinadapt.core.errors import InputError
from clinadapt.data.python_inputs import as_clusters, as_labels, as_texts, is_indicator

TEXTS = ["toux et fievre", "suivi", "toux", "stable"]
FRAME = pd.DataFrame({"text": TEXTS, "id": range(4)})


@pytest.mark.parametrize(
    "X",
    [
        TEXTS,
        tuple(TEXTS),
        iter(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        np.array(TEXTS)[:, None],
        pd.Series(TEXTS, index=[7, 7, 3, 1]),
        pd.Series(TEXTS, dtype="string"),
        pl.Series(TEXTS),
        pa.array(TEXTS),
        pa.chunked_array([TEXTS[:2], TEXTS[2:]]),
        FRAME[["text"]],
        pl.DataFrame({"text": TEXTS}),
        datasets.Dataset.from_dict({"text": TEXTS})["text"],
    ],
)
def test_texts(X):
    assert list(as_texts(X)) == TEXTS


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("toux", "one string as X"),
        (b"toux", "one string as X"),
        (np.array("toux"), "X of shape"),
        (FRAME, r"X of shape \[4, 2\]"),
        (pl.DataFrame(FRAME), r"X of shape \[4, 2\]"),
        (FRAME.to_dict("list"), "got a dict as X"),
        (dict(enumerate(TEXTS)), "got a dict as X"),
        (pa.table({"text": TEXTS}), "got a Table as X"),
        (datasets.Dataset.from_dict({"text": TEXTS}), "got a Dataset as X"),
        (set(TEXTS), "no order"),
        (sparse.eye_array(4), "sparse matrix as X"),
        (None, "X cannot be None"),
        (3, "X cannot be 3"),
        (pd.Series([[text] for text in TEXTS]), r"at 4 position\(s\): 0, 1, 2, 3 \(list\)"),
        (np.array([text.encode() for text in TEXTS]), r"at 4 position\(s\).*\(bytes\)"),
        (np.zeros(4), r"at 4 position\(s\).*\(float\)"),
        ([*TEXTS, 3], r"at 1 position\(s\): 4 \(int\)"),
        (pd.Series([*TEXTS, pd.NA], dtype="string"), r"at 1 position\(s\): 4 \(NAType\)"),
        (np.array([None, *TEXTS], dtype=object), r"at 1 position\(s\): 0 \(NoneType\)"),
        ([*TEXTS, " \n"], r"empty text at 1 position\(s\): 4"),
    ],
)
def test_what_is_no_texts(X, message):
    with pytest.raises(InputError, match=message) as refused:
        as_texts(X)
    assert "toux" not in str(refused.value)


WORDS = ["no", "yes", "yes", "no"]


def with_gap(nothing, values=(0, 1, 1, 0), at=2):
    return [*values[:at], nothing, *values[at:]]


@pytest.mark.parametrize(
    "y",
    [
        with_gap(None),
        with_gap(float("nan")),
        with_gap(np.float32("nan")),
        with_gap(pd.NA),
        with_gap(pd.NaT),
        with_gap(np.datetime64("NaT")),
        with_gap("", WORDS),
        with_gap("  ", WORDS),
        pd.Series(with_gap(pd.NA), dtype="Int64"),
        pd.Series(with_gap(pd.NA, (True, False, True, False)), dtype="boolean"),
        pd.Series(with_gap(pd.NA, WORDS), dtype="string"),
        pd.Series(with_gap(None, WORDS)),
        pd.Series(with_gap(None, WORDS), dtype="category"),
        pl.Series(with_gap(None, WORDS)),
        pa.array(with_gap(None)),
        np.ma.array([0, 1, 1, 0, 1], mask=[0, 0, 1, 0, 0]),
        pd.DataFrame({"a": with_gap(pd.NA), "b": 1}),
        pl.DataFrame({"a": with_gap(None), "b": with_gap(1)}),
        [{"a"}, {"b"}, None, set()],
        [{"a"}, {"b"}, {"a", None}, set()],
    ],
)
def test_missing_labels_are_told_with_positions(y):
    with pytest.raises(InputError, match=r"missing label at 1 position\(s\): 2:"):
        as_labels(y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (sparse.csr_array(np.eye(3)), "sparse matrix as y"),
        (sparse.csr_matrix([[0, 1, 1]]), "sparse matrix as y"),
        ("yes", "one string as y"),
        ({"a": 1}, "got a dict as y"),
        ({"a", "b"}, "no order"),
        ((one for one in WORDS), "a generator as y: pass a list"),
        (None, "target y is None"),
        (np.array(1), "y of shape"),
        (np.zeros((2, 2, 2)), "y of shape"),
        (with_gap("1"), r"one type, got number and other types at 1 position\(s\): 2 \(str\)"),
        (with_gap(True), r"other types at 1 position\(s\): 2 \(bool\)"),
        (with_gap(b"yes", WORDS), r"other types at 1 position\(s\): 2 \(bytes\)"),
        (with_gap({"a": 1}, WORDS), r"other types at 1 position\(s\): 2 \(dict\)"),
        ([decimal.Decimal(1), decimal.Decimal(0)], r"at 2 position\(s\): 0, 1 \(Decimal\)"),
        ([datetime.date(2020, 1, 1)] * 2, r"\(date\)"),
        ([0.5, 1.0, 0.0], r"continuous numbers at 1 position\(s\): 0"),
        (with_gap(["a"], WORDS), "first other one is at position 2"),
        ([["a"], [1], ["b"]], r"other types at 1 position\(s\): 1 \(int\)"),
        (pd.DataFrame({"a": WORDS, "b": WORDS}), "zeros and ones"),
        ([set(), set()], "at least two labels in a multi-label task, got none"),
        (["a long note " * 9] * 3, r"got 1 class: \(a long name\)"),
    ],
)
def test_what_is_no_labels(y, message):
    with pytest.raises(InputError, match=message):
        as_labels(y)


def test_blank_names_in_collections_are_no_labels():
    labels = as_labels([{"a", ""}, [" "], ("b",)])
    assert labels.classes.tolist() == ["a", "b"]
    assert labels.matrix.tolist() == [[True, False], [False, False], [False, True]]


def test_a_column_vector_is_no_indicator():
    assert not is_indicator(np.array([[1], [0]]))
    assert not is_indicator([[1], [0]])
    assert is_indicator([[1, 0], [0, 1]])
    with pytest.warns(UserWarning, match="column-vector"):
        assert as_labels(pd.DataFrame({"label": WORDS})).classes.tolist() == ["no", "yes"]


def test_names_that_look_alike_are_told():
    with pytest.warns(UserWarning, match=r"'yes' \(2\), 'Yes' \(1\): if they mean the same"):
        as_labels(["yes", "no", "Yes", "yes"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_labels(["yes", "no"])


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (with_gap(None, ["p", "p", "q", "q"]), r"missing group at 1 position\(s\): 2"),
        (with_gap(float("nan"), [1.0, 1.0, 2.0, 2.0]), r"missing group at 1 position\(s\): 2"),
        (pd.Series(with_gap(pd.NA, ["p"] * 4), dtype="string"), r"missing.*: 2"),
        (pd.Series(pd.to_datetime(with_gap(None, ["2020-01-01"] * 4))), r"missing.*: 2"),
        (with_gap(" ", ["p"] * 4), r"missing.*: 2"),
        (pl.Series(with_gap(None, ["p"] * 4)), r"missing.*: 2"),
        (with_gap("1", [1, 1, 2, 2]), r"one type, got number.*position\(s\): 2 \(str\)"),
        (with_gap(3, ["1", "1", "2", "2"]), r"one type, got str.*position\(s\): 2 \(int\)"),
        (sparse.eye_array(5), "sparse"),
        (pd.DataFrame({"a": [1] * 5, "b": [2] * 5}), r"groups of shape \[5, 2\]"),
        ("pqrst", "one string as groups"),
        ({"p": 1}, "got a dict as groups"),
    ],
)
def test_what_is_no_groups(groups, message):
    with pytest.raises(InputError, match=message):
        as_clusters(groups)


@pytest.mark.parametrize(
    "groups", [["q", "p", "q"], [20, 10, 20], [20.0, 10, 20], pl.Series(["q", "p", "q"])]
)
def test_groups_are_numbered_in_the_order_of_their_names(groups):
    assert as_clusters(groups).tolist() == [1, 0, 1]


def test_patients_are_the_same_whatever_spaces_are_around_their_names():
    assert as_clusters(["p1", "p1 ", "p2", "p2\0"]).tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("y", "message"), [(["a\0", "a"], "null character"), (["\u200b", "a"], "missing label")]
)
def test_classes_that_would_become_another_are_refused(y, message):
    with pytest.raises(InputError, match=rf"{message}.* 1 position\(s\): 0"):
        as_labels(y)


def test_a_missing_value_that_became_a_word_is_told():
    with pytest.warns(UserWarning, match="'nan' count as classes"):
        as_labels(np.array(["a", "b", np.nan]))
