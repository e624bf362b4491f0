"""``clinadapt pretrain``."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from clinadapt.commands.common import go_offline, say
from clinadapt.commands.options import EncodingOption, OfflineOption, TextOption


def pretrain(
    texts: Annotated[Path, typer.Argument(help="CSV, TSV, JSONL or Parquet of unlabelled texts.")],
    out: Annotated[Path, typer.Option(help="Folder of the encoder.")] = Path("encoder"),
    text: TextOption = "text",
    encoding: EncodingOption = "utf-8",
    minutes: Annotated[float, typer.Option(min=0.1, help="Of training, on this machine.")] = 60.0,
    start: Annotated[
        str | None,
        typer.Option("--from", help="Encoder to go on from: name, hub id or folder."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="Encoder to agree with: name, hub id or folder; may be a large one."),
    ] = None,
    add_words: Annotated[
        int, typer.Option(min=0, help="At most, that the tokenizer of --from cuts into pieces.")
    ] = 0,
    objective: Annotated[
        str, typer.Option(help="masked (guess what was masked) or replaced (tell what was).")
    ] = "masked",
    size: Annotated[str, typer.Option(help="Of a new encoder: mini, small or medium.")] = "mini",
    vocabulary: Annotated[int, typer.Option(min=100, help="Sub-words of a new encoder.")] = 8192,
    length: Annotated[int, typer.Option(min=16, help="Tokens of a sequence.")] = 128,
    exclude: Annotated[
        Path | None, typer.Option(help="Notes that must not be learned from, such as a test part.")
    ] = None,
    exclude_split: Annotated[
        str | None,
        typer.Option(help="Column of the part: of the excluded notes, those not named train."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order and masks.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    offline: OfflineOption = False,
) -> None:
    """Make an encoder from unlabelled texts; go on if it was interrupted."""
    with ExitStack() as stack:
        go_offline(stack, offline)
        from clinadapt.pretraining.corpus import read_corpus, read_excluded
        from clinadapt.pretraining.make import make_encoder
        from clinadapt.pretraining.trainer import Recipe
        from clinadapt.terminal import print_corpus, print_pretraining, progress_bar

        barred = None
        if exclude is not None:
            barred = read_excluded(exclude, text, exclude_split, encoding)
        corpus = read_corpus(texts, text, barred, encoding)
        print_corpus(corpus)
        with progress_bar() as progress:
            record = make_encoder(
                corpus, out, minutes, start, objective, size, vocabulary, length,
                Recipe(seed=seed, device=device), progress=progress, teacher=teacher,
                add_words=add_words,
            )  # fmt: skip
        print_pretraining(record)
    say(f"encoder: [bold]{escape(str(out))}[/]")
