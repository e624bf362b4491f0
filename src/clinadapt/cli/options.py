"""What the commands ask for: options and arguments that several share.

A command whose parameter is one of the dataclasses here, such as ``table: TableOptions``, has an
option for each field: `spelled_out` tells typer so.
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
    str | None, typer.Option(help="Splits a multi-label column, such as '|'.")
]
IdOption = Annotated[str | None, typer.Option("--id", help="Column of the identifier.")]
GroupOption = Annotated[
    str | None, typer.Option(help="Column of the patient: no patient in two parts.")
]
EncodingOption = Annotated[str, typer.Option(help="Text encoding of CSV, TSV and JSONL.")]
OfflineOption = Annotated[
    bool,
    typer.Option(
        "--offline", envvar="CLINADAPT_OFFLINE", help="Make any network attempt an error."
    ),
]


@dataclass(frozen=True)
class TableOptions:
    """A table of labelled notes, and which of its columns is what."""

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
        str | None, typer.Option(help="Column of the official part: train, dev, test.")
    ] = None
    positive: Annotated[str | None, typer.Option(help="Positive class of a binary task.")] = None
    encoding: EncodingOption = "utf-8"
    leave_out_bad: Annotated[
        bool,
        typer.Option(
            "--leave-out-bad", help="Leave out rows without text or label, and list them."
        ),
    ] = False


@dataclass(frozen=True)
class StudyOptions:
    """Which study it is, where it is kept, and what differs from its design."""

    study: Annotated[str, typer.Option(help="quick, paper, or a TOML file.")] = "quick"
    encoder: Annotated[
        list[str] | None, typer.Option(help="Name, hub id or folder; instead of the study's own.")
    ] = None
    out: Annotated[Path, typer.Option(help="Folder of the study.")] = Path("study")
    max_tokens: Annotated[int | None, typer.Option(help="Tokens read of each note.")] = None
    truncation: Annotated[
        str | None,
        typer.Option(
            "--truncation", "--cut", help="head, tail, head+tail or windows, for longer notes."
        ),
    ] = None
    seed: Annotated[list[int] | None, typer.Option(help="Instead of the study's own.")] = None
    metric: Annotated[str | None, typer.Option(help="What to rank by.")] = None


@dataclass(frozen=True)
class ResourceOptions:
    """What a study may take of the machine, and where it keeps features."""

    cache: Annotated[
        Path | None,
        typer.Option(help="Folder of cached features (patient data); default OUT/cache."),
    ] = None
    memory: Annotated[
        str | None, typer.Option(help="That a run may hold, such as 2GB; what it costs is said.")
    ] = None
    hours: Annotated[
        float | None, typer.Option(min=0, help="For the whole run; what will not fit is skipped.")
    ] = None


def spelled_out(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that takes the fields of its dataclasses one by one.

    typer makes its options of a function's signature. Fields stand in it where their dataclass
    stood, so ``--help`` lists them there.

    Parameters
    ----------
    command : callable
        Called with dataclasses of what was given.
    """
    signature = inspect.signature(command)
    found = signature.parameters.values()
    groups: dict[str, Any] = {p.name: p.annotation for p in found if is_dataclass(p.annotation)}
    parameters: list[inspect.Parameter] = []
    for parameter in found:
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
    """Make a parameter of each field of a dataclass, with its default."""
    kind = inspect.Parameter.KEYWORD_ONLY
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(name, kind, default=default, annotation=hints[name])
        for name, default in vars(group()).items()
    ]
