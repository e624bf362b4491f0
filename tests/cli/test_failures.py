"""What a command says when it fails, and its exit code."""

import errno
import os

import pytest

from clinadapt.cli.failures import fail, stopped
from clinadapt.core.errors import InputError, MachineError, NothingDoneError


@pytest.fixture(autouse=True)
def _without_debugging(monkeypatch):
    monkeypatch.delenv("CLINADAPT_DEBUG", raising=False)


def told(error, capsys):
    with pytest.raises(SystemExit) as stop:
        fail(error)
    return stop.value.code, capsys.readouterr().err


class OutOfMemoryError(RuntimeError):
    """As torch calls it."""


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("one"), 2, "error: one\n"),
        (InputError(["one", "two"]), 2, "error: 2 problems:\n  - one\n  - two\n"),
        (NothingDoneError("nothing"), 3, "error: nothing\n"),
        (MachineError("full"), 2, "error: full\n"),
        (OSError(errno.ENOSPC, "x", "out.csv"), 2, "out.csv: the disk is full"),
        (OSError(errno.EDQUOT, "x"), 2, "quota"),
        (OSError(errno.ENOMEM, "x"), 2, "memory"),
        (MemoryError(), 2, "memory"),
        (OutOfMemoryError("CUDA out of memory"), 2, "memory"),
        (PermissionError(errno.EACCES, "x", "notes.csv"), 2, "permission denied: notes.csv"),
        (FileNotFoundError(errno.ENOENT, "x", "a.csv"), 2, "no such file or folder: a.csv"),
        (IsADirectoryError(errno.EISDIR, "x", "a"), 2, "this is a folder: a"),
        (OSError(errno.EBUSY, os.strerror(errno.EBUSY), "a"), 2, "a"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_exit_codes_and_words(error, code, words, capsys):
    found, said = told(error, capsys)
    assert (found, words in said) == (code, True), said
    assert said.startswith("error: ")


def test_a_bug_is_not_quoted(capsys):
    code, said = told(KeyError("Madame Quillévéré"), capsys)
    assert code == 1
    assert "This is a bug" in said
    assert "Quillévéré" not in said


def test_ctrl_c_says_how_to_go_on(capsys):
    code, said = told(stopped("study", ["study", "my notes.csv", "--out", "o"]), capsys)
    assert code == 130
    assert "goes on from there" in said
    assert "clinadapt study 'my notes.csv' --out o" in said


def test_a_password_is_not_printed(capsys):
    url = "postgresql://me:secret@host/notes"
    _, said = told(stopped("predict", ["predict", "b", "--database", url]), capsys)
    assert "secret" not in said


def test_a_command_that_keeps_nothing_says_so(capsys):
    code, said = told(stopped("check", ["check", "notes.csv"]), capsys)
    assert code == 130
    assert "goes on" not in said
