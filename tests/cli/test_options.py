"""Shared options are declared once, in a dataclass, and become separate options of a command."""

import inspect
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from clinadapt.cli.options import ResourceOptions, StudyOptions, TableOptions, spelled_out

SEEN = []


@pytest.fixture
def app():
    """Make a command line of one command, with every kind of parameter."""

    def command(
        folder: Annotated[Path, typer.Argument()],
        table: TableOptions,
        *,
        between: int = 3,
        asked: StudyOptions,
        resources: ResourceOptions,
        after: Annotated[bool, typer.Option("--after")] = False,
    ) -> None:
        """Say what the command does."""
        SEEN.append((folder, table, between, asked, resources, after))

    made = typer.Typer(add_completion=False)
    made.command()(spelled_out(command))
    return made


@pytest.fixture
def ask(app):
    """Run the command; return what it was called with, or its exit code if it was not."""

    def call(*arguments):
        SEEN.clear()
        result = CliRunner().invoke(app, arguments)
        return SEEN[0] if SEEN else result.exit_code

    return call


def test_nothing_given_is_the_defaults(ask):
    defaults = TableOptions(), 3, StudyOptions(), ResourceOptions(), False
    assert ask("folder") == (Path("folder"), *defaults)
    assert TableOptions().label is None  # so that a study's own can stand in


def test_each_field_is_an_option_or_an_argument(ask):
    received = ask(
        "folder", "notes.csv", "--text", "t", "--label", "a", "--label", "b", "--separator", "|",
        "--id", "i", "--group", "g", "--split", "s", "--date", "d", "--positive", "p", "--encoding",
        "cp1252", "--leave-out-bad", "--between", "4", "--study", "paper", "--encoder", "x",
        "--encoder", "y", "--out", "there", "--max-tokens", "64", "--cut", "tail", "--seed", "1",
        "--seed", "2", "--metric", "f1", "--cache", "kept", "--memory", "2GB", "--hours", "1.5",
        "--after",
    )  # fmt: skip
    assert received == (
        Path("folder"),
        TableOptions(
            Path("notes.csv"),
            "t",
            ["a", "b"],
            "|",
            "i",
            "g",
            "s",
            "d",
            "p",
            "cp1252",
            leave_out_bad=True,
        ),
        4,
        StudyOptions("paper", ["x", "y"], Path("there"), 64, "tail", [1, 2], "f1"),
        ResourceOptions(Path("kept"), "2GB", 1.5),
        True,
    )


@pytest.mark.parametrize("mistake", [("--hours", "-1"), ("--encodings", "utf-8"), ("a", "b")])
def test_mistakes_are_refused(ask, mistake):
    assert ask("folder", *mistake) == 2


def test_options_stand_where_the_dataclass_stood(app):
    shown = typer.main.get_command(app)
    assert shown.help == "Say what the command does."
    assert [option.name for option in shown.params] == [
        "folder", "notes", "text", "label", "separator", "id", "group", "split", "date",
        "positive", "encoding", "delimiter", "missing", "leave_out_bad", "between", "study",
        "encoder", "out", "max_tokens", "truncation",
        "seed", "metric", "level", "group_label", "aggregation", "ignore", "folds", "nested",
        "cache", "memory", "hours", "after",
    ]  # fmt: skip


def test_a_command_of_plain_parameters_stays_what_it_is():
    def command(context: typer.Context, seed: int = 0) -> None:
        """Do nothing."""

    spelled = inspect.signature(spelled_out(command)).parameters
    assert [(name, one.default, one.annotation) for name, one in spelled.items()] == [
        (name, one.default, one.annotation)
        for name, one in inspect.signature(command).parameters.items()
    ]


def test_two_dataclasses_of_one_name_are_refused():
    def command(table: TableOptions, again: TableOptions) -> None:
        """Do nothing."""

    with pytest.raises(ValueError, match="duplicate parameter name"):
        spelled_out(command)
