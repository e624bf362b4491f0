"""``clinadapt export``."""

from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.markup import escape

from clinadapt.cli.options import EncodingOption, TextOption
from clinadapt.cli.shared import go_offline, say

if TYPE_CHECKING:
    from clinadapt.deployment.onnx_export.export import Exported
    from clinadapt.models.onnx_runtime import Runtime


class To(StrEnum):
    """Who is to run an exported network."""

    onnx = "onnx"
    openvino = "openvino"


def export(
    bundle: Annotated[Path, typer.Argument(help="A bundle, such as OUT/recommended.")],
    notes: Annotated[
        Path, typer.Argument(help="Notes to compare on: CSV, TSV, JSONL or Parquet. No labels.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The new bundle; default: BUNDLE-exported.")
    ] = None,
    to: Annotated[
        To | None, typer.Option(help="Who runs it; default: who is measured to be fastest.")
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Weights of 8 bit, not 32.")] = False,
    bound: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Largest difference of a probability; default 0.03, int8: 0.05."
        ),
    ] = None,
    text: TextOption = "text",
    encoding: EncodingOption = "utf-8",
    limit: Annotated[
        int, typer.Option(min=20, help="Notes compared on, spread evenly over the table.")
    ] = 1_000,
) -> None:
    """Write a bundle that runs as an ONNX file, if it says the same as the native one."""
    with ExitStack() as stack:
        go_offline(stack, True)
        from clinadapt.deployment.onnx_export.export import export_bundle

        found = export_bundle(
            bundle,
            notes,
            out or Path(f"{bundle}-exported"),
            cast("Runtime | None", to and to.value),
            "int8" if int8 else "fp32",
            bound,
            text,
            encoding,
            limit,
        )
    _print(found)


def _print(found: "Exported") -> None:
    from rich.console import Console
    from rich.table import Table

    chosen = found.chosen
    table = Table(title=f"{chosen.notes:,} notes, bound {found.bound}", title_justify="left")
    for name in ("run by", "weights"):
        table.add_column(name, no_wrap=True)
    for name in ("MB", "seconds", "speed", "most apart", "mean", "changed"):
        table.add_column(name, justify="right")
    table.add_row("native", "", "", f"{found.native_seconds:.2f}", "1.00")
    for one in (chosen, *found.others):
        mark = " (kept)" if one is chosen else ""
        table.add_row(
            one.runtime + mark,
            one.weights,
            f"{one.file_bytes / 1e6:.1f}",
            f"{one.seconds:.2f}",
            f"{one.speed:.2f}",
            f"{one.largest:.5f}",
            f"{one.mean:.6f}",
            str(one.changed),
        )
    Console().print(table)
    if chosen.speed < 1:
        say("On this machine the native bundle is [bold]faster[/] than the exported one.")
    say(f"exported: [bold]{escape(str(found.folder))}[/]")
