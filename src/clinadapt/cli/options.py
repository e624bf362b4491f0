"""What the commands ask for: options and arguments that several share."""

from pathlib import Path
from typing import Annotated

import typer

NotesArgument = Annotated[
    Path | None, typer.Argument(help="CSV, TSV, JSONL or Parquet; default: built-in notes.")
]
TextOption = Annotated[str, typer.Option(help="Column of the text.")]
LabelOption = Annotated[
    list[str], typer.Option(help="Column of the label; give several 0/1 columns for multi-label.")
]
SeparatorOption = Annotated[
    str | None, typer.Option(help="Splits a multi-label column, such as '|'.")
]
IdOption = Annotated[str | None, typer.Option("--id", help="Column of the identifier.")]
GroupOption = Annotated[
    str | None, typer.Option(help="Column of the patient: no patient in two parts.")
]
SplitOption = Annotated[
    str | None, typer.Option(help="Column of the official part: train, dev, test.")
]
PositiveOption = Annotated[str | None, typer.Option(help="Positive class of a binary task.")]
EncodingOption = Annotated[str, typer.Option(help="Text encoding of CSV, TSV and JSONL.")]
LeaveOutOption = Annotated[
    bool,
    typer.Option("--leave-out-bad", help="Leave out rows without text or label, and list them."),
]
StudyOption = Annotated[str, typer.Option(help="quick, paper, or a TOML file.")]
EncoderOption = Annotated[
    list[str] | None, typer.Option(help="Name, hub id or folder; instead of the study's own.")
]
OutOption = Annotated[Path, typer.Option(help="Folder of the study.")]
MaxTokensOption = Annotated[int | None, typer.Option(help="Tokens read of each note.")]
CutOption = Annotated[
    str | None, typer.Option(help="head, tail, head+tail or windows, for longer notes.")
]
SeedOption = Annotated[list[int] | None, typer.Option(help="Instead of the study's own.")]
MetricOption = Annotated[str | None, typer.Option(help="What to rank by.")]
MarginOption = Annotated[
    float | None,
    typer.Option(help="Difference of the metric that does not matter (default 0.01)."),
]
DescribeOption = Annotated[
    list[str] | None,
    typer.Option(help="Column by which scores are told, unread by any model; repeatable."),
]
SitesOption = Annotated[
    str | None,
    typer.Option(help="Column of the site, department or year: each is held out in turn."),
]
TaskOption = Annotated[
    list[str] | None,
    typer.Option(help="Label column of a task of its own, instead of --label; repeatable."),
]
CacheOption = Annotated[
    Path | None, typer.Option(help="Folder of frozen states (patient data); default OUT/cache.")
]
MemoryOption = Annotated[
    str | None, typer.Option(help="That a cell may hold, such as 2GB; what it costs is said.")
]
HoursOption = Annotated[
    float | None, typer.Option(min=0, help="For the whole run; what will not fit is skipped.")
]
EnergyOption = Annotated[
    str | None,
    typer.Option(
        metavar="COUNTRY",
        help="Measure or estimate energy and CO2e: whose electricity, such as FRA, DEU, USA.",
    ),
]
STORES = "local (OUT/mlflow.db), sqlite:///FILE or a server's http address."
OfflineOption = Annotated[
    bool,
    typer.Option(
        "--offline", envvar="CLINADAPT_OFFLINE", help="Make any network attempt an error."
    ),
]
