"""Texts of tables without labels: every problem at once, warnings to whoever listens."""

import polars as pl
import pytest

from clinadapt.core.errors import InputError
from clinadapt.data.unlabelled import read_texts


def test_read_texts():
    source = pl.DataFrame({"key": [7.0, 8.0], "body": ["a", "b"]})
    assert read_texts(source, "body", "key") == (["7", "8"], ["a", "b"])
    assert read_texts(source, "body") == (["1", "2"], ["a", "b"])


def test_read_texts_reports_every_problem():
    source = pl.DataFrame({"key": [None, "8", "9"], "body": ["secret", " ", None]})
    with pytest.raises(InputError) as caught:
        read_texts(source, "body", "key")
    empty, missing = caught.value.problems
    assert "empty text in 2 row(s): 2, 3" in empty
    assert "missing id in 1 row(s): 1" in missing
    with pytest.raises(InputError, match=r"no column 'text'.*it has: key, body"):
        read_texts(source)


def test_findings_are_told_or_else_warned_of():
    source = pl.DataFrame({"text": ["a", "NA", "b"]})
    told = []
    assert read_texts(source, tell=told.append)[1] == ["a", "NA", "b"]
    assert "'text' holds a word such as NA, null or None in 1 row(s): 2" in told[0]
    with pytest.warns(UserWarning, match="such as NA"):
        read_texts(source)
    with pytest.raises(InputError, match=r"empty text in 1 row\(s\): 2"):
        read_texts(source, missing=["NA"])
