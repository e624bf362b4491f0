"""Tables that fit the terminal without shortening a value, and plain text where there is none."""

import io
import json

import pytest
from rich.text import Text

from clinadapt.cli import console
from clinadapt.cli.console import Column, print_json, print_next, print_table

COLUMNS = [
    Column("name", folds=True),
    Column("score", number=True),
    Column("seconds", number=True, drop=1),
    Column("weights", number=True, drop=2),
]
ROWS = [
    ["TF-IDF + logistic regression (characters=True, refit=True)", "0.863", "1.8", "131"],
    ["short", "0.8", "20.0", Text("1,490,000", style="bold")],
]


@pytest.fixture
def terminal(monkeypatch):
    """Give tables a terminal of some width; return what is printed to it."""

    def of_width(width):
        printed = io.StringIO()
        made = console.QuietConsole(
            file=printed, force_terminal=True, width=width, color_system=None, _environ={}
        )
        monkeypatch.setattr(console, "console", lambda stderr=False: made)
        return printed

    return of_width


def shown(printed):
    return printed.getvalue().splitlines()


def test_a_wide_terminal_shows_every_column(terminal):
    printed = terminal(120)
    print_table("Board", COLUMNS, ROWS, bold=[True, False])
    text = printed.getvalue()
    for value in ("0.863", "1.8", "131", "1,490,000", *(column.heading for column in COLUMNS)):
        assert value in text
    assert "wider terminal" not in text


def test_columns_are_left_out_by_priority_and_named(terminal):
    printed = terminal(50)
    print_table("Board", COLUMNS, ROWS)
    text = printed.getvalue()
    assert "0.863" in text
    assert "1,490,000" not in text
    assert "a wider terminal also shows: weights" in text
    assert "…" not in text
    assert all(len(line) <= 50 for line in shown(printed))


def test_words_wrap_and_are_never_cut(terminal):
    printed = terminal(48)
    print_table("Board", COLUMNS, ROWS)
    words = printed.getvalue().replace("│", " ").split()
    assert set(ROWS[0][0].split()) <= set(words)


def test_in_a_very_narrow_terminal_rows_are_stacked(terminal):
    printed = terminal(20)
    print_table("Board", COLUMNS, ROWS)
    lines = [line.strip() for line in shown(printed)]
    assert f"name {ROWS[0][0]}" in lines
    assert {"score 0.863", "seconds 1.8", "weights 131", "weights 1,490,000"} <= set(lines)


def test_a_pipe_gets_a_line_for_each_row_and_every_column(capsys):
    print_table("Board", COLUMNS, ROWS)
    assert capsys.readouterr().out.splitlines() == [
        "Board",
        "name                                                        score  seconds    weights",
        "TF-IDF + logistic regression (characters=True, refit=True)  0.863      1.8        131",
        "short                                                         0.8     20.0  1,490,000",
    ]


def test_markup_in_values_is_text(capsys):
    print_table("[b]", [Column("[/x] a")], [["[red]1[/]"]])
    assert capsys.readouterr().out == "[b]\n[/x] a\n[red]1[/]\n"


def test_next_steps_can_be_pasted(capsys):
    print_next(("look at it", ["check", "my notes.csv", "--separator", "|"]))
    assert capsys.readouterr().out.splitlines()[1:] == [
        "Next:",
        "  # look at it",
        "  clinadapt check 'my notes.csv' --separator '|'",
    ]


def test_json_keeps_letters_and_markup(capsys):
    print_json({"classe": "fièvre [/b]", "n": None})
    assert json.loads(capsys.readouterr().out) == {"classe": "fièvre [/b]", "n": None}
