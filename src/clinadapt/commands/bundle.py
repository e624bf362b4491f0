"""Commands on a bundle: ``predict`` and ``explain``."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from clinadapt.commands.common import go_offline, say
from clinadapt.commands.options import (
    EncodingOption,
    IdOption,
    TextOption,
)


def predict(
    bundle: Annotated[Path, typer.Argument(help="A bundle, such as OUT/best.")],
    notes: Annotated[Path, typer.Argument(help="CSV, TSV, JSONL or Parquet.")],
    out: Annotated[Path, typer.Option(help="Parquet or CSV file.")] = Path("predictions.parquet"),
    text: TextOption = "text",
    id: IdOption = None,
    encoding: EncodingOption = "utf-8",
) -> None:
    """Classify notes with a bundle, offline."""
    with ExitStack() as stack:
        go_offline(stack, True)
        from clinadapt.predict import predict_table

        rows = predict_table(bundle, notes, out, text, id, encoding)
    say(f"{rows} notes classified: {escape(str(out))}")


def explain(
    bundle: Annotated[Path, typer.Argument(help="A bundle, such as OUT/best.")],
    notes: Annotated[Path, typer.Argument(help="CSV, TSV, JSONL or Parquet.")],
    text: TextOption = "text",
    id: IdOption = None,
    encoding: EncodingOption = "utf-8",
    limit: Annotated[
        int, typer.Option("--limit", "--rows", min=1, help="Notes explained, from the first on.")
    ] = 20,
    target: Annotated[
        str | None, typer.Option("--class", help="Explained class; default: what is predicted.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="HTML, JSONL or Parquet file. It will contain patient text.")
    ] = Path("explanations.html"),
    faithfulness: Annotated[
        bool, typer.Option("--faithfulness", help="Delete the strongest words and see.")
    ] = False,
) -> None:
    """Say which words of notes moved a bundle's model. Writes patient text."""
    with ExitStack() as stack:
        go_offline(stack, True)
        from clinadapt.explain.files import explain_table
        from clinadapt.terminal import print_faithfulness, progress_bar

        with progress_bar() as progress:
            count, found = explain_table(
                bundle, notes, out, text, id, encoding, limit, target, faithfulness, progress
            )
    if found is not None:
        print_faithfulness(found)
    say(f"{count} notes explained: {escape(str(out))} ([bold]contains patient text[/])")
