"""``clinadapt export``."""

from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.markup import escape

from clinadapt.cli.console import Column, print_table, say
from clinadapt.cli.options import ReadingOptions, TextOption
from clinadapt.cli.shared import go_offline, reading, refuse_early

if TYPE_CHECKING:
    from clinadapt.deployment.onnx_export.export import Exported
    from clinadapt.models.onnx_runtime import Runtime


class To(StrEnum):
    """Runtime of an exported network."""

    onnx = "onnx"
    openvino = "openvino"


def export(
    *,
    bundle: Annotated[Path, typer.Argument(help="A bundle, such as OUT/recommended.")],
    notes: Annotated[
        Path,
        typer.Argument(
            help="Unlabelled notes to compare both bundles on: CSV, TSV, JSON, Parquet or Excel."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The new bundle; default: BUNDLE-exported.")
    ] = None,
    to: Annotated[
        To | None, typer.Option(help="Runtime; default: the one measured to be fastest.")
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="8-bit instead of 32-bit weights.")] = False,
    bound: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Largest allowed difference of a probability; default 0.03, with --int8 0.05.",
        ),
    ] = None,
    text: TextOption = "text",
    table_format: ReadingOptions,
    limit: Annotated[
        int, typer.Option(min=20, help="Most notes to compare on, spread evenly over the table.")
    ] = 1_000,
) -> None:
    """Write a bundle that runs as an ONNX file, if it agrees with the native one."""
    refuse_early(bundles=[bundle], files=[notes])
    with ExitStack() as stack:
        go_offline(stack, True)
        from clinadapt.deployment.onnx_export.export import export_bundle

        exported = export_bundle(
            bundle,
            notes,
            out or Path(f"{bundle}-exported"),
            cast("Runtime | None", to and to.value),
            "int8" if int8 else "fp32",
            bound,
            text,
            limit,
            **reading(table_format),
        )
    _print(exported)


def _print(exported: "Exported") -> None:
    chosen = exported.chosen
    rows = [["native", "", "", f"{exported.native_seconds:.2f}", "1.00", "", "", ""]]
    for candidate in (chosen, *exported.others):
        mark = " (kept)" if candidate is chosen else ""
        rows.append(
            [
                candidate.runtime + mark,
                candidate.weights,
                f"{candidate.file_bytes / 1e6:.1f}",
                f"{candidate.seconds:.2f}",
                f"{candidate.speed:.2f}",
                f"{candidate.largest:.5f}",
                f"{candidate.mean:.6f}",
                str(candidate.changed),
            ]
        )
    print_table(
        f"{chosen.notes:,} notes, bound {exported.bound}",
        [
            Column("runtime"),
            Column("weights", drop=3),
            Column("MB", number=True, drop=4),
            Column("seconds", number=True),
            Column("speed", number=True, drop=1),
            Column("largest diff.", number=True),
            Column("mean diff.", number=True, drop=5),
            Column("changed", number=True, drop=2),
        ],
        rows,
    )
    if chosen.speed < 1:
        say("On this machine the native bundle is [bold]faster[/] than the exported one.")
    say(f"exported: [bold]{escape(str(exported.folder))}[/]")
