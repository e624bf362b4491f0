"""Options and arguments that several commands share.

A command with a parameter of one of these dataclasses, such as ``table: TableOptions``, gets an
option for each of its fields through `spelled_out`.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

# Headings of `--help`.
TABLE, DESIGN, LIMITS, OUTPUT = "Table of notes", "Study", "Limits", "Output"
DECISION = "Prediction"

TextOption = Annotated[str, typer.Option(help="Column of the text.", rich_help_panel=TABLE)]
StudyTextOption = Annotated[
    str | None,
    typer.Option(help="Column of the text; default: the study's, or text.", rich_help_panel=TABLE),
]
SeparatorOption = Annotated[
    str | None,
    typer.Option(
        help="Separator of several labels in one column, such as '|'.", rich_help_panel=TABLE
    ),
]
IdOption = Annotated[
    str | None, typer.Option("--id", help="Column of the identifier.", rich_help_panel=TABLE)
]
GroupOption = Annotated[
    str | None,
    typer.Option(
        help="Column of the patient; a patient's notes are all in the same part.",
        rich_help_panel=TABLE,
    ),
]
EncodingOption = Annotated[
    str, typer.Option(help="Text encoding of CSV, TSV and JSON.", rich_help_panel=TABLE)
]
DelimiterOption = Annotated[
    str | None,
    typer.Option(
        help="Character between cells of CSV and TSV, or tab; default: found out.",
        rich_help_panel=TABLE,
    ),
]
MissingOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WORD",
        help="Word for a missing value, instead of NA, NaN, null, None and the like; repeatable.",
        rich_help_panel=TABLE,
    ),
]
IgnoreOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CODE",
        help="Check to leave out, such as CLA004, beside those of the study file; repeatable.",
        rich_help_panel=DESIGN,
    ),
]
ScaleOption = Annotated[
    str | None,
    typer.Option(
        "--probabilities",
        metavar="raw|calibrated",
        help="The model's own probabilities, or calibrated ones; default: the bundle's choice.",
        rich_help_panel=DECISION,
    ),
]
ThresholdOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NUMBER",
        help="Probability from which on a class is predicted, instead of the bundle's own; with "
        "several bundles also NAME=NUMBER, repeatable.",
        rich_help_panel=DECISION,
    ),
]
OfflineOption = Annotated[
    bool,
    typer.Option(
        "--offline",
        envvar="CLINADAPT_OFFLINE",
        help="Forbid any use of the network.",
        rich_help_panel=LIMITS,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print JSON, and nothing else.", rich_help_panel=OUTPUT),
]


@dataclass(frozen=True)
class ReadingOptions:
    """Options for how tables are read."""

    encoding: EncodingOption = "utf-8"
    delimiter: DelimiterOption = None
    missing: MissingOption = None


@dataclass(frozen=True)
class TableOptions:
    """Options for a table of labelled notes and its columns."""

    notes: Annotated[Path | None, typer.Argument(help="CSV, TSV, JSON, Parquet or Excel.")] = None
    text: Annotated[
        str | None,
        typer.Option(help="Column of the text; default: text.", rich_help_panel=TABLE),
    ] = None
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of the label; give several 0/1 columns for multi-label. Default: label.",
            rich_help_panel=TABLE,
        ),
    ] = None
    separator: SeparatorOption = None
    id: IdOption = None
    group: GroupOption = None
    split: Annotated[
        str | None,
        typer.Option(help="Column of the official split: train, dev, test.", rich_help_panel=TABLE),
    ] = None
    date: Annotated[
        str | None,
        typer.Option(
            help="Column of the note's date, which checks look at and no model reads.",
            rich_help_panel=TABLE,
        ),
    ] = None
    positive: Annotated[
        str | None,
        typer.Option(
            help="Positive class of a binary task; default: by its name, or the rarer.",
            rich_help_panel=TABLE,
        ),
    ] = None
    encoding: EncodingOption = "utf-8"
    delimiter: DelimiterOption = None
    missing: MissingOption = None
    leave_out_bad: Annotated[
        bool,
        typer.Option(
            "--leave-out-bad",
            help="Leave out rows without text or label, and list them in the results.",
            rich_help_panel=TABLE,
        ),
    ] = False


@dataclass(frozen=True)
class StudyOptions:
    """Options for the design of a study, its folder, and overrides of the design."""

    study: Annotated[
        str,
        typer.Option(help="quick, paper, crossover, or a TOML file.", rich_help_panel=DESIGN),
    ] = "quick"
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help="Encoder instead of the study's own: name, hub id or folder; repeatable.",
            rich_help_panel=DESIGN,
        ),
    ] = None
    out: Annotated[Path, typer.Option(help="Folder of the study.", rich_help_panel=OUTPUT)] = Path(
        "study"
    )
    max_tokens: Annotated[
        int | None,
        typer.Option(help="Most tokens read of each note.", rich_help_panel=DESIGN),
    ] = None
    truncation: Annotated[
        str | None,
        typer.Option(
            "--truncation",
            "--cut",
            help="How longer notes are shortened: head, tail, head+tail or windows.",
            rich_help_panel=DESIGN,
        ),
    ] = None
    seed: Annotated[
        list[int] | None,
        typer.Option(help="Seed instead of the study's own; repeatable.", rich_help_panel=DESIGN),
    ] = None
    metric: Annotated[
        str | None, typer.Option(help="Metric to rank by.", rich_help_panel=DESIGN)
    ] = None
    level: Annotated[
        str | None,
        typer.Option(
            help="What is classified and scored: note, or group for patients (--group).",
            rich_help_panel=DESIGN,
        ),
    ] = None
    group_label: Annotated[
        str | None,
        typer.Option(
            metavar="any",
            help="With --level group, where notes of a patient differ: any positive note decides.",
            rich_help_panel=DESIGN,
        ),
    ] = None
    aggregation: Annotated[
        list[str] | None,
        typer.Option(
            help="With --level group: mean, maximum or noisy-or of the notes' probabilities; "
            "repeatable. Default: the best on validation.",
            rich_help_panel=DESIGN,
        ),
    ] = None
    ignore: IgnoreOption = None
    folds: Annotated[
        str | None,
        typer.Option(
            help="Folds that the choice stands on; 1: one validation part; auto: 5 where cheap.",
            rich_help_panel=DESIGN,
        ),
    ] = None
    nested: Annotated[
        bool | None,
        typer.Option(
            "--nested", help="Test on every note in turn: for few notes.", rich_help_panel=DESIGN
        ),
    ] = None


@dataclass(frozen=True)
class ResourceOptions:
    """Options for a study's limits of memory and time, and its feature cache."""

    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder of cached features (patient data); default: OUT/cache.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    memory: Annotated[
        str | None,
        typer.Option(
            help="Memory limit of each run, such as 2GB; what is done to keep it is reported.",
            rich_help_panel=LIMITS,
        ),
    ] = None
    hours: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Time limit of the study; runs that will not fit are skipped.",
            rich_help_panel=LIMITS,
        ),
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


def as_arguments(*groups: Any) -> list[str]:
    """Return the arguments of a command that give groups of options the values they have.

    Parameters
    ----------
    *groups
        Instances of the dataclasses above. Values that are the default are left out.
    """
    positional, options = [], []
    for group in groups:
        hints = get_type_hints(type(group), include_extras=True)
        defaults = vars(type(group)())
        for name, value in vars(group).items():
            if value == defaults[name]:
                continue
            info = hints[name].__metadata__[0]
            if isinstance(info, typer.models.ArgumentInfo):
                positional.append(str(value))
                continue
            option = _spelling(name, info)
            for one in value if isinstance(value, list) else [value]:
                if one is True:
                    options.append(option)
                elif str(one).startswith("-"):
                    options.append(f"{option}={one}")
                else:
                    options += [option, str(one)]
    return positional + options


def _spelling(name: str, info: Any) -> str:
    """Return how an option is written; typer takes the first spelling for the default."""
    given = [spelling for spelling in (info.default, *(info.param_decls or ())) if spelling]
    return next((one for one in given if str(one).startswith("--")), f"--{name.replace('_', '-')}")
