"""A column of strings is a list of strings, wherever its bytes are."""

import os
import pickle

import numpy as np
import pytest

from clinadapt.data import text_store as module
from clinadapt.data.text_store import Texts, TextWriter

STRINGS = [f"note {n} " + "é€😀 "[: n % 5] * (n % 7) for n in range(3000)] + ["", "fin", "\ud800"]


@pytest.fixture(params=["in memory", "on disk"])
def column(request, monkeypatch):
    if request.param == "on disk":
        monkeypatch.setattr(module, "IN_MEMORY", 1000)
    column = Texts.of(iter(STRINGS))
    assert (column._store.file is not None) == (request.param == "on disk")
    return column


def test_a_column_is_its_strings(column):
    assert len(column) == len(STRINGS)
    assert list(column) == STRINGS
    assert column == STRINGS
    assert column != STRINGS[:-1]
    assert column != [*STRINGS[:-1], "other"]
    assert [column[0], column[17], column[-1], column[np.int64(5)]] == [
        STRINGS[0],
        STRINGS[17],
        STRINGS[-1],
        STRINGS[5],
    ]
    assert "fin" in column
    with pytest.raises(IndexError):
        column[len(STRINGS)]


@pytest.mark.parametrize("at", [slice(3, 9), slice(None, None, -7), slice(2990, 9000), slice(5, 5)])
def test_slices_are_those_of_a_list(column, at):
    assert column[at] == STRINGS[at]
    assert column[at][1:] == STRINGS[at][1:]


def test_rows_are_taken_in_their_order_and_of_views_too(column):
    random = np.random.default_rng(0)
    rows = random.integers(len(STRINGS), size=4000)
    taken = column.take(rows)
    assert taken == [STRINGS[row] for row in rows]
    again = random.permutation(len(rows))[:100]
    assert taken.take(again) == [STRINGS[rows[row]] for row in again]
    assert taken[10:20] == [STRINGS[row] for row in rows[10:20]]
    backwards = column[::-1].take(np.array([0, 2, -1]))
    assert backwards == [STRINGS[-1], STRINGS[-3], STRINGS[0]]
    with pytest.raises(IndexError):
        column.take(np.array([len(STRINGS)]))
    assert column.take(np.array([], dtype=np.int64)) == []


def test_parts_of_a_column_are_joined_as_a_view_and_others_as_a_copy(column):
    first, second = column[:50], column.take(np.array([70, 60]))
    joined = Texts.join([first, second])
    assert joined == [*STRINGS[:50], STRINGS[70], STRINGS[60]]
    assert joined._store is column._store
    assert Texts.join([first, ["new"]]) == [*STRINGS[:50], "new"]


def test_a_column_of_a_column_is_itself_and_pickles_carry_the_strings(column):
    assert Texts.of(column) is column
    assert pickle.loads(pickle.dumps(column[5:8])) == STRINGS[5:8]


def test_its_repr_shows_no_text():
    assert repr(Texts.of(["secret"])) == "Texts(1 strings)"


def test_neighbours_are_read_in_one_go(column, monkeypatch):
    reads = []
    read = module._Store.bytes
    monkeypatch.setattr(
        module._Store, "bytes", lambda self, *span: reads.append(span) or read(self, *span)
    )
    assert list(column[:1024]) == STRINGS[:1024]
    assert len(reads) == 1
    far = np.array([0, len(STRINGS) - 2])
    assert list(column.take(far)) == [STRINGS[row] for row in far]
    assert sum(end - start for start, end in reads[1:]) == sum(len(STRINGS[row]) for row in far)


def test_what_is_many_is_on_disk_unseen_by_others_and_not_in_memory(monkeypatch):
    monkeypatch.setattr(module, "IN_MEMORY", 1000)
    writer = TextWriter()
    for _ in range(50):
        writer.append(["x" * 100])
    column = writer.finish()
    store = column._store
    status = os.fstat(store.file.fileno())
    assert (status.st_nlink, status.st_mode & 0o077, status.st_size) == (0, 0, 5000)
    assert not store.memory
    assert column == ["x" * 100] * 50
