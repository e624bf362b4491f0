"""``clinadapt pretrain``."""

from collections.abc import Mapping
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from clinadapt.cli.console import say
from clinadapt.cli.options import OfflineOption, ReadingOptions, TextOption
from clinadapt.cli.shared import go_offline, reading, refuse_early
from clinadapt.core import formatting
from clinadapt.core.errors import InputError

if TYPE_CHECKING:
    from clinadapt.pretraining.corpus import Corpus

SHOWN_NOTES = 10


class Strength(StrEnum):
    """Method of learning from the texts."""

    FULL = "full"
    FAST = "fast"


# Options that apply to one strength only.
ONLY = {
    Strength.FULL: (
        "minutes",
        "start",
        "teacher",
        "add_words",
        "objective",
        "size",
        "length",
        "device",
    ),
    Strength.FAST: ("width",),
}


def pretrain(
    *,
    context: typer.Context,
    texts: Annotated[Path, typer.Argument(help="CSV, TSV, JSON, Parquet or Excel, of texts.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder; default: encoder, or vectors with --strength fast.")
    ] = None,
    strength: Annotated[
        Strength, typer.Option(help="full: an encoder; fast: sub-word vectors, in minutes.")
    ] = Strength.FULL,
    text: TextOption = "text",
    table_format: ReadingOptions,
    minutes: Annotated[
        float, typer.Option(min=0.1, help="Minutes of training on this machine.")
    ] = 60.0,
    start: Annotated[
        str | None,
        typer.Option("--from", help="Encoder to start from: name, hub id or folder."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="Encoder to distil, which may be large: name, hub id or folder.",
        ),
    ] = None,
    add_words: Annotated[
        int,
        typer.Option(
            min=0,
            help="Most words to add to the tokenizer of --from, of those that it splits.",
        ),
    ] = 0,
    objective: Annotated[
        str | None,
        typer.Option(
            help="masked (predict masked tokens) or bag (also predict which words the sequence "
            "contains; the default)."
        ),
    ] = None,
    size: Annotated[
        str, typer.Option(help="Size of a new encoder: mini, small or medium.")
    ] = "mini",
    vocabulary: Annotated[
        int, typer.Option(min=100, help="Number of sub-words of a new tokenizer.")
    ] = 8192,
    width: Annotated[
        int, typer.Option(min=1, help="Width of the vectors of --strength fast.")
    ] = 256,
    length: Annotated[int, typer.Option(min=16, help="Tokens per training sequence.")] = 128,
    exclude: Annotated[
        list[Path] | None,
        typer.Option(help="Notes that must not be learned from, such as a test part; repeatable."),
    ] = None,
    exclude_split: Annotated[
        str | None,
        typer.Option(
            help="Column of the split; notes of --exclude in its part train may be learned from."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and masks.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    offline: OfflineOption = False,
) -> None:
    """Make an encoder or sub-word vectors from unlabelled texts.

    If the training of an encoder is interrupted, run the same command again to resume it.
    """
    _refuse_meaningless(context, strength)
    refuse_early(files=[texts, *(exclude or ())])
    out = out or Path("encoder" if strength is Strength.FULL else "vectors")
    with ExitStack() as stack:
        go_offline(stack, offline)
        from clinadapt.cli.progress import progress_bar
        from clinadapt.pretraining.corpus import Excluded, read_corpus, read_excluded
        from clinadapt.pretraining.pretrain import make_encoder
        from clinadapt.pretraining.subword_vectors import make_vectors
        from clinadapt.pretraining.trainer import PretrainingRecipe

        excluded = Excluded()
        for notes in exclude or ():
            excluded += read_excluded(notes, text, exclude_split, **reading(table_format))
        corpus = read_corpus(texts, text, excluded, **reading(table_format))
        _print_corpus(corpus)
        if strength is Strength.FAST:
            with progress_bar() as progress:
                record = make_vectors(corpus, out, vocabulary, width, seed, progress)
            _print_vectors(record)
            return say(f"vectors: [bold]{escape(str(out))}[/]")
        with progress_bar() as progress:
            record = make_encoder(
                corpus, out, minutes, start, objective, size, vocabulary, length,
                PretrainingRecipe(seed=seed, device=device), progress=progress, teacher=teacher,
                add_words=add_words,
            )  # fmt: skip
        _print_pretraining(record)
    say(f"encoder: [bold]{escape(str(out))}[/]")


def _refuse_meaningless(context: typer.Context, strength: Strength) -> None:
    """Raise `InputError` for given options that do not apply to the strength."""
    problems = []
    for other, names in ONLY.items():
        for option in context.command.params:
            if other is strength or option.name not in names:
                continue
            # Compared by name, because newer versions of typer have their own copy of click's enum.
            source = context.get_parameter_source(option.name)
            if source is not None and source.name != "DEFAULT":
                problems.append(
                    f"{option.opts[0]} does not apply to --strength {strength}: remove it, or use "
                    f"--strength {other}"
                )
    if problems:
        raise InputError(problems)


def _print_corpus(corpus: "Corpus") -> None:
    """Print the size of a training corpus and what was left out of it."""
    say(
        f"{corpus.words:,} words in {len(corpus.train):,} texts, and {len(corpus.held_out):,} "
        f"texts held out; {corpus.repeated:,} repeated segments left out"
    )
    if corpus.excluded:
        named = ", ".join(corpus.contained[:SHOWN_NOTES])
        more = len(corpus.contained) - SHOWN_NOTES
        say(
            f"[yellow]warning[/] the texts contained {corpus.excluded:,} segments of notes to "
            f"exclude, which are left out; at least half of each of {len(corpus.contained)} such "
            f"notes was present: {escape(named)}{f' and {more} more' if more > 0 else ''}"
        )


def _print_pretraining(record: Mapping[str, Any]) -> None:
    """Print the record of an encoder's pretraining."""
    result = record["result"]
    if extension := record["extension"]:
        say(
            f"{extension['words']:,} words added; tokens per word: "
            f"{extension['tokens_per_word_before']:.2f} before, "
            f"{extension['tokens_per_word_after']:.2f} after"
        )
    if teacher := record["teacher"]:
        say(
            f"agreement with {escape(teacher['name'])}: {result['agreement']:.3f} "
            "(mean correlation of features)"
        )
    say(
        f"{record['parameters']:,} weights; {result['tokens']:,} tokens in "
        f"{formatting.seconds(result['seconds'])}, {result['tokens_per_second']:,} per second; "
        f"held-out loss {result['held_out_loss']:.3f}, "
        f"accuracy {result['held_out_accuracy']:.1%}"
    )
    memory = record["memory"]
    peak = f"peak memory {formatting.size(memory['peak_memory_bytes'])}"
    if "peak_gpu_memory_bytes" in memory:
        peak += f", GPU {formatting.size(memory['peak_gpu_memory_bytes'])}"
    say(peak)


def _print_vectors(record: Mapping[str, Any]) -> None:
    """Print the record of how sub-word vectors were made."""
    result = record["result"]
    say(
        f"{record['vocabulary']:,} sub-words with vectors of width {record['width']}; "
        f"{result['tokens']:,} tokens in {formatting.seconds(result['seconds'])}, "
        f"{result['tokens_per_second']:,} per second"
    )
