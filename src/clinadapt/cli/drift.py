"""``clinadapt drift``."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from clinadapt.cli.console import print_json, say
from clinadapt.cli.options import (
    GroupOption,
    JsonOption,
    ReadingOptions,
    SeparatorOption,
    StudyTextOption,
)
from clinadapt.cli.shared import columns_for, go_offline, reading, refuse_early

DRIFTED = 3


def drift(
    *,
    bundle: Annotated[Path, typer.Argument(help="A bundle, such as OUT/recommended.")],
    notes: Annotated[Path, typer.Argument(help="New notes: CSV, TSV, JSON, Parquet or Excel.")],
    text: StudyTextOption = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Column of the label, if labels are known; repeatable."),
    ] = None,
    separator: SeparatorOption = None,
    group: GroupOption = None,
    table_format: ReadingOptions,
    limit: Annotated[
        int, typer.Option(min=30, help="Most notes to read, spread evenly over the table.")
    ] = 5_000,
    out: Annotated[
        Path, typer.Option(help="HTML file; the numbers go into a JSON file next to it.")
    ] = Path("drift.html"),
    json: JsonOption = False,
) -> None:
    """Test if new notes still resemble those a bundle was fitted on. Exit code 3 if not."""
    refuse_early(bundles=[bundle], files=[notes])
    columns = columns_for(notes, bundle, table_format)
    text, group = text or columns.text, group or columns.group
    with ExitStack() as stack:
        go_offline(stack, True)
        from clinadapt.core.atomic_files import read_json
        from clinadapt.deployment.drift.drift_report import write_drift
        from clinadapt.deployment.drift.messages import headline

        comparison = write_drift(
            bundle, notes, out, text, tuple(label or ()), separator, group, limit,
            **reading(table_format),
        )  # fmt: skip
    if json:
        print_json(read_json(out.with_suffix(".json")))
    else:
        say(escape(headline(comparison)))
        say(f"drift report: [bold]{escape(str(out))}[/]")
    if comparison.drifted:
        raise typer.Exit(DRIFTED)
