"""Options and arguments that several commands share.

A command with a parameter of one of these dataclasses, such as ``table: TableOptions``, gets an
option for each of its fields through `spelled_out`.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

TextOption = Annotated[str, typer.Option(help="Column of the text.")]
SeparatorOption = Annotated[
    str | None, typer.Option(help="Separator of several labels in one column, such as '|'.")
]
IdOption = Annotated[str | None, typer.Option("--id", help="Column of the identifier.")]
GroupOption = Annotated[
    str | None,
    typer.Option(help="Column of the patient; a patient's notes are all in the same part."),
]
EncodingOption = Annotated[str, typer.Option(help="Text encoding of CSV, TSV and JSONL.")]
OfflineOption = Annotated[
    bool,
    typer.Option("--offline", envvar="CLINADAPT_OFFLINE", help="Forbid any use of the network."),
]


@dataclass(frozen=True)
class TableOptions:
    """Options for a table of labelled notes and its columns."""

    notes: Annotated[
        Path | None, typer.Argument(help="CSV, TSV, JSONL or Parquet; default: built-in notes.")
    ] = None
    text: TextOption = "text"
    label: Annotated[
        list[str],
        typer.Option(help="Column of the label; give several 0/1 columns for multi-label."),
    ] = field(default_factory=lambda: ["label"])
    separator: SeparatorOption = None
    id: IdOption = None
    group: GroupOption = None
    split: Annotated[
        str | None, typer.Option(help="Column of the official split: train, dev, test.")
    ] = None
    positive: Annotated[
        str | None,
        typer.Option(help="Positive class of a binary task; default: by its name, or the rarer."),
    ] = None
    encoding: EncodingOption = "utf-8"
    leave_out_bad: Annotated[
        bool,
        typer.Option(
            "--leave-out-bad",
            help="Leave out rows without text or label, and list them in the results.",
        ),
    ] = False


@dataclass(frozen=True)
class StudyOptions:
    """Options for the design of a study, its folder, and overrides of the design."""

    study: Annotated[str, typer.Option(help="quick, paper, or a TOML file.")] = "quick"
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help="Encoder instead of the study's own: name, hub id or folder; repeatable."
        ),
    ] = None
    out: Annotated[Path, typer.Option(help="Folder of the study.")] = Path("study")
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens read of each note.")] = None
    truncation: Annotated[
        str | None,
        typer.Option(
            "--truncation",
            "--cut",
            help="How longer notes are shortened: head, tail, head+tail or windows.",
        ),
    ] = None
    seed: Annotated[
        list[int] | None, typer.Option(help="Seed instead of the study's own; repeatable.")
    ] = None
    metric: Annotated[str | None, typer.Option(help="Metric to rank by.")] = None


@dataclass(frozen=True)
class ResourceOptions:
    """Options for a study's limits of memory and time, and its feature cache."""

    cache: Annotated[
        Path | None,
        typer.Option(help="Folder of cached features (patient data); default: OUT/cache."),
    ] = None
    memory: Annotated[
        str | None,
        typer.Option(
            help="Memory limit of each run, such as 2GB; what is done to keep it is reported."
        ),
    ] = None
    hours: Annotated[
        float | None,
        typer.Option(min=0, help="Time limit of the study; runs that will not fit are skipped."),
    ] = None


def spelled_out(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that takes the fields of its dataclasses as separate parameters.

    typer derives options from a function's signature. The fields take the place of their dataclass
    in it, so that ``--help`` lists them in that order.

    Parameters
    ----------
    command : callable
        Function whose dataclass parameters are filled from the given options.
    """
    signature = inspect.signature(command)
    declared = signature.parameters.values()
    groups: dict[str, Any] = {p.name: p.annotation for p in declared if is_dataclass(p.annotation)}
    parameters: list[inspect.Parameter] = []
    for parameter in declared:
        if parameter.name in groups:
            parameters += _parameters(groups[parameter.name])
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def called(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{one.name: given.pop(one.name) for one in fields(group)})
        command(**given)

    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in parameters}
    return called


def _parameters(group: type) -> list[inspect.Parameter]:
    """Return a parameter for each field of a dataclass, with its default."""
    kind = inspect.Parameter.KEYWORD_ONLY
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(name, kind, default=default, annotation=hints[name])
        for name, default in vars(group()).items()
    ]
