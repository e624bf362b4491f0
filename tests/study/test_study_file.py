"""A study file is read as TOML in UTF-8; what is wrong with it is told with the line."""

import os

import pytest

from clinadapt.core.errors import InputError
from clinadapt.study.study_file import read_study_file

LINES = ('name = "étude"', "seeds = [1]", "[[configurations]]", 'model = "moe"')
CONTENT = {"name": "étude", "seeds": [1], "configurations": [{"model": "moe"}]}


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_byte_order_marks(tmp_path, mark, end):
    path = tmp_path / "a.toml"
    path.write_bytes((mark + end.join(LINES)).encode())
    assert read_study_file(path) == (CONTENT, str(path))


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_another_encoding_is_told_with_the_line(tmp_path, encoding):
    path = tmp_path / "a.toml"
    path.write_bytes("\n".join(reversed(LINES)).encode(encoding))
    line = 4 if encoding == "cp1252" else 1
    with pytest.raises(InputError, match=rf"not in UTF-8.*\(line {line} is not\)"):
        read_study_file(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('name = "a"\nseeds = [1\nmodel = 2', "line 3"),
        ('name = "a"\nname = "b"\n', "line 2"),
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("# " + "x" * 2**20, "too large"),
        ("name = 'a\0'", "line 1"),
    ],
)
def test_what_is_no_toml(tmp_path, text, words):
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        read_study_file(path)
    assert str(path) in str(caught.value)


def test_what_is_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "mine").write_text('name = "mine"')
    for source, words in (
        (str(tmp_path), "is a folder"),
        ("pipe.toml", "is not a regular file"),
        ("mine", "give ./mine"),
        ("papre", "Did you mean 'paper'"),
        ("absent.toml", "expected one of"),
    ):
        with pytest.raises(InputError, match=words):
            read_study_file(source)
    assert read_study_file("./mine") == ({"name": "mine"}, "mine")
