"""``clinadapt drift``."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from clinadapt.cli.options import EncodingOption, GroupOption, SeparatorOption, TextOption
from clinadapt.cli.shared import go_offline, say

DRIFTED = 3


def drift(
    bundle: Annotated[Path, typer.Argument(help="A bundle, such as OUT/recommended.")],
    notes: Annotated[Path, typer.Argument(help="New notes: CSV, TSV, JSONL or Parquet.")],
    text: TextOption = "text",
    label: Annotated[
        list[str] | None,
        typer.Option(help="Column of the label, where labels came back; repeatable."),
    ] = None,
    separator: SeparatorOption = None,
    group: GroupOption = None,
    encoding: EncodingOption = "utf-8",
    limit: Annotated[
        int, typer.Option(min=30, help="Notes looked at, spread evenly over the table.")
    ] = 5_000,
    out: Annotated[
        Path, typer.Option(help="HTML file; the numbers go into a JSON file beside it.")
    ] = Path("drift.html"),
) -> None:
    """Say whether new notes are still like those of a bundle's fitting. Exit code 3 if not."""
    with ExitStack() as stack:
        go_offline(stack, True)
        from clinadapt.deployment.drift.drift_report import write_drift
        from clinadapt.deployment.drift.messages import headline

        found = write_drift(
            bundle, notes, out, text, tuple(label or ()), separator, group, encoding, limit
        )
    say(escape(headline(found)))
    say(f"drift report: [bold]{escape(str(out))}[/]")
    if found.drifted:
        raise typer.Exit(DRIFTED)
