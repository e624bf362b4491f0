"""Terminal output of the commands: progress, tables and messages."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from clinadapt.core import formatting
from clinadapt.core.atomic_files import read_json
from clinadapt.data.near_duplicates import Duplicates
from clinadapt.data.notes import Notes
from clinadapt.data.positive_class import quoted
from clinadapt.data.split import Split
from clinadapt.study.energy import Meter, in_words
from clinadapt.study.planning.plan import Plan, disk_bytes, schedule
from clinadapt.study.result_files import EVIDENCE
from clinadapt.study.runner import Study

if TYPE_CHECKING:
    from clinadapt.explain.error_analysis import Mistakes, Share
    from clinadapt.explain.faithfulness import Faithfulness
    from clinadapt.pretraining.corpus import Corpus

STAGE_WIDTH = 44
SHOWN_NOTES = 10
SHOWN_CLASSES = 20
CLASS_SIZES = ("smallest class", "median class", "largest class")
WIDE = 110  # narrowest terminal, in characters, that shows every column of the leaderboard


class StudyDisplay:
    """Progress bars for the study and the current stage, and a line for each finished run.

    Parameters
    ----------
    runs : int
        Number of runs of the study.
    """

    def __init__(self, runs: int) -> None:
        self.console = Console()
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.whole = self.bars.add_task("runs".ljust(STAGE_WIDTH), total=runs)
        self.stage = self.bars.add_task("", total=None)
        self.stage_name = ""

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bars.stop()

    def progress(self, stage: str, done: int, total: int) -> None:
        """Update a bar; a new stage resets its bar and the estimate of the remaining time."""
        if stage == "runs":
            self.bars.update(self.whole, completed=done, total=total)
            return
        if stage != self.stage_name:
            self.stage_name = stage
            shown = stage if len(stage) <= STAGE_WIDTH else "…" + stage[1 - STAGE_WIDTH :]
            self.bars.reset(self.stage, description=shown.ljust(STAGE_WIDTH), total=total)
        self.bars.update(self.stage, completed=done, total=total)

    def finished(self, result: dict[str, Any]) -> None:
        """Print a line about a finished run."""
        name = f"{escape(result['configuration'])} [dim]seed {result['seed']}[/]"
        if result["status"] != "done":
            self.console.print(f"[yellow]{result['status']}[/] {name}: {escape(result['reason'])}")
            return
        metric = result["threshold"]["metric"]
        validation = result["validation_metrics"][metric]["value"]
        seconds = result["cost"]["fit_seconds"] + result["cost"]["encode_seconds_spent_here"]
        self.console.print(
            f"[green]done[/] {name}: {metric} {formatting.score(validation)} on validation, "
            f"{formatting.seconds(seconds)}"
        )


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for one stage of work, and yield the callback that updates it."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeRemainingColumn(), transient=True) as bars:
        bar = bars.add_task("", total=None)
        yield lambda stage, done, total: bars.update(
            bar, description=stage, completed=done, total=total
        )


def print_corpus(corpus: "Corpus") -> None:
    """Print the size of a training corpus and what was left out of it."""
    console = Console()
    console.print(
        f"{corpus.words:,} words in {len(corpus.train):,} texts, and {len(corpus.held_out):,} "
        f"texts held out; {corpus.repeated:,} repeated segments left out"
    )
    if corpus.excluded:
        named = ", ".join(corpus.contained[:SHOWN_NOTES])
        more = len(corpus.contained) - SHOWN_NOTES
        console.print(
            f"[yellow]warning[/] the texts contained {corpus.excluded:,} segments of notes to "
            f"exclude, which are left out; at least half of each of {len(corpus.contained)} such "
            f"notes was present: {escape(named)}{f' and {more} more' if more > 0 else ''}"
        )


def print_pretraining(record: Mapping[str, Any]) -> None:
    """Print the record of an encoder's pretraining."""
    result, console = record["result"], Console()
    if extension := record["extension"]:
        console.print(
            f"{extension['words']:,} words added; tokens per word: "
            f"{extension['tokens_per_word_before']:.2f} before, "
            f"{extension['tokens_per_word_after']:.2f} after"
        )
    if teacher := record["teacher"]:
        console.print(
            f"agreement with {escape(teacher['name'])}: {result['agreement']:.3f} "
            "(mean correlation of features)"
        )
    console.print(
        f"{record['parameters']:,} weights; {result['tokens']:,} tokens in "
        f"{formatting.seconds(result['seconds'])}, {result['tokens_per_second']:,} per second; "
        f"held-out loss {result['held_out_loss']:.3f}, "
        f"accuracy {result['held_out_accuracy']:.1%}"
    )
    memory = record["memory"]
    peak = f"peak memory {formatting.size(memory['peak_memory_bytes'])}"
    if "peak_gpu_memory_bytes" in memory:
        peak += f", GPU {formatting.size(memory['peak_gpu_memory_bytes'])}"
    console.print(peak)


def print_vectors(record: Mapping[str, Any]) -> None:
    """Print the record of how sub-word vectors were made."""
    result = record["result"]
    Console().print(
        f"{record['vocabulary']:,} sub-words with vectors of width {record['width']}; "
        f"{result['tokens']:,} tokens in {formatting.seconds(result['seconds'])}, "
        f"{result['tokens_per_second']:,} per second"
    )


def print_faithfulness(faithfulness: "Faithfulness") -> None:
    """Print the effect of deleting the strongest words, compared with random ones."""
    table = Table(
        title=f"Drop in the predicted class's probability, mean of {faithfulness.notes} notes",
        title_justify="left",
    )
    table.add_column("deleted")
    table.add_column("drop [95 %]", justify="right")
    for name, score in (
        ("the strongest tenth of the words", faithfulness.strongest),
        ("as many random words", faithfulness.random),
        ("difference", faithfulness.difference),
    ):
        shown = f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
        table.add_row(name, escape(shown))
    Console().print(table)


def print_kinds(mistakes: "Mistakes") -> None:
    """Print the frequency of each kind among misclassified and correctly classified notes."""
    table = Table(
        title=f"{mistakes.wrong} of {mistakes.wrong + mistakes.right} test notes misclassified",
        title_justify="left",
    )
    for heading in ("kind", "among wrong notes [95 %]", "among right notes [95 %]"):
        table.add_column(escape(heading), justify="left" if heading == "kind" else "right")
    for kind, shares in mistakes.shares.items():
        table.add_row(kind, *map(_share, shares))
    Console().print(table)


def _share(share: "Share | None") -> str:
    if share is None:
        return formatting.MISSING
    percent = f"{share.count / share.of:.0%} [{share.low:.0%}, {share.high:.0%}]"
    return escape(f"{share.count} of {share.of}, {percent}")


def print_notes(notes: Notes, split: Split) -> None:
    """Print the number of notes by part and class, warnings, and the number left out."""
    console = Console()
    table = Table(title=f"{len(notes)} notes, {notes.labels.task}", title_justify="left")
    table.add_column("part")
    table.add_column("notes", justify="right")
    if notes.groups is not None:
        table.add_column("groups", justify="right")
    named = len(notes.labels.classes) <= SHOWN_CLASSES
    headings = map(str, notes.labels.classes) if named else CLASS_SIZES
    for heading in headings:
        table.add_column(escape(heading), justify="right")
    for part, rows in split.parts().items():
        groups = [str(len(np.unique(notes.clusters[rows])))] if notes.groups is not None else []
        counts = np.count_nonzero(notes.labels.matrix[rows], axis=0)
        if not named:
            counts = np.quantile(counts, [0, 0.5, 1], method="lower")
        table.add_row(part, str(len(rows)), *groups, *map(str, counts.tolist()))
    console.print(table)
    if not named:
        console.print(f"{len(notes.labels.classes):,} classes")
    if notes.labels.positive is not None:
        negative, positive = (quoted(name) for name in notes.labels.classes.tolist())
        console.print(
            f"positive class: [bold]{escape(positive)}[/] (precision, recall and F1 are about it; "
            f"with --positive {escape(negative)} they are about the other)",
            soft_wrap=True,
        )
    for warning in notes.warnings:
        console.print(f"[yellow]warning[/] {escape(warning)}")
    if notes.left_out:
        console.print(f"[yellow]left out[/] {len(notes.left_out)} rows (listed in study.json)")


def print_meter(meter: Meter) -> None:
    """Print how energy will be measured or estimated, and codecarbon's warnings."""
    console = Console()
    console.print(f"energy of the whole machine: {escape(in_words(meter.parts))}", soft_wrap=True)
    for warning in meter.warnings:
        console.print(f"[yellow]warning[/] codecarbon: {escape(warning)}", soft_wrap=True)


def print_check(notes: Notes, pairs: Duplicates) -> None:
    """Print the lengths of notes and duplicates across parts."""
    console = Console()
    words = np.array([len(text.split()) for text in notes.texts])
    quantiles = np.quantile(words, [0, 0.05, 0.5, 0.95, 1]).round().astype(int).tolist()
    console.print(
        f"words per note: mean {words.mean():.0f}; minimum, 5 %, median, 95 %, maximum: "
        + ", ".join(map(str, quantiles))
    )
    exact = sum(pair.kind == "exact" for pair in pairs)
    console.print(f"across parts: {exact} exact and {len(pairs) - exact} near duplicates")
    if pairs.searched < pairs.later:
        console.print(
            f"near duplicates were searched for in a random sample of {pairs.searched:,} of the "
            f"{pairs.later:,} notes of later parts"
        )
    for pair in pairs[:5]:
        console.print(
            f"  {pair.kind} ({pair.similarity:.2f}): {escape(pair.id_a)} ({pair.part_a}), "
            f"{escape(pair.id_b)} ({pair.part_b})"
        )
    if pairs and notes.groups is None:
        console.print(
            "[yellow]warning[/] duplicates may inflate the scores: if notes belong to patients "
            "or sources, name that column with --group"
        )
    console.print("[green]no problem prevents a study of these notes[/]")


def print_plan(plan: Plan, study: Study) -> None:
    """Print the cost of each configuration, what is skipped, and the total."""
    console = Console()
    lines = schedule(study, plan)
    table = Table(title="Plan", title_justify="left")
    table.add_column("configuration", min_width=26)
    for heading in ("runs", "time, at most", "memory", "disk"):
        table.add_column(heading, justify="right")
    table.add_column("memory savings")
    running = [line for line in lines if line.status == "run"]
    for configuration in dict.fromkeys(line.configuration for line in running):
        runs = [line for line in running if line.configuration == configuration]
        table.add_row(
            escape(configuration),
            str(len(runs)),
            formatting.seconds(sum(line.seconds for line in runs)),
            formatting.size(max(line.peak_memory_bytes for line in runs)),
            formatting.size(sum(line.disk_bytes for line in runs)),
            ", ".join(runs[0].memory_savings),
        )
    console.print(table)
    for configuration, reason in dict.fromkeys(
        (line.configuration, line.reason) for line in lines if line.status == "skip"
    ):
        console.print(f"[yellow]skipped[/] {escape(configuration)}: {escape(str(reason))}")
    done = sum(line.status == "done" for line in lines)
    already = f"{done} runs are already done; " if done else ""
    total = formatting.seconds(sum(line.seconds for line in lines))
    console.print(
        f"{already}in total at most [bold]{total}[/] for {len(running)} runs, and "
        f"[bold]{formatting.size(disk_bytes(plan, lines))}[/] of disk"
    )
    console.print(
        "[dim]estimated from short runs on some of these notes; early stopping may end sooner[/]"
    )


def print_leaderboard(board: pl.DataFrame, study: Study) -> None:
    """Print the leaderboard and the paths of the results."""
    console = Console()
    synthetic = " (synthetic notes)" if study.notes.synthetic else ""
    table = Table(title=f"Leaderboard{synthetic}, ranked on validation", title_justify="left")
    wide = console.width >= WIDE
    table.add_column("", justify="right")
    table.add_column("group", justify="right")
    table.add_column("configuration", min_width=26)
    for heading in ("validation", f"test {study.metric} [95 %]", "encode s", "fit s"):
        table.add_column(escape(heading), justify="right")
    for heading in ("trainable", "peak MB") if wide else ():
        table.add_column(heading, justify="right")
    for line in board.filter(pl.col("status") == "done").iter_rows(named=True):
        interval = f"[{formatting.score(line['test_low'])}, {formatting.score(line['test_high'])}]"
        sizes = [f"{line['trainable_parameters']:,}", f"{line['peak_memory_bytes'] / 1e6:,.0f}"]
        table.add_row(
            str(line["rank"]),
            "" if line["group"] is None else str(line["group"]),
            escape(line["configuration"]),
            formatting.score(line["validation"]),
            escape(f"{formatting.score(line['test'])} {interval}"),
            f"{line['encode_seconds']:.1f}",
            f"{line['fit_seconds']:.1f}",
            *(sizes if wide else ()),
            style="bold" if line["recommended"] else None,
        )
    console.print(table)
    for line in board.filter(pl.col("status") != "done").iter_rows(named=True):
        console.print(
            f"[yellow]{line['status']}[/] {escape(line['configuration'])}: {escape(line['reason'])}"
        )
    evidence = read_json(study.out / EVIDENCE)
    if evidence is not None:
        console.print(escape(evidence["sentence"]), soft_wrap=True)
    if board["recommended"].any():
        console.print(f"recommended: [bold]{escape(str(study.out / 'recommended'))}[/]")
    if board["best"].any():
        console.print(f"best model:  [bold]{escape(str(study.out / 'best'))}[/]")
    console.print(f"report:      [bold]{escape(str(study.out / 'report.html'))}[/]")


def print_encoders() -> None:
    """Print the catalogue of encoders: language, licence, size, and if it is on this machine."""
    from clinadapt.features.encoders.catalog import CATALOG, encoder_home, find_local, how_to_get

    console = Console()
    table = Table(title="Encoders known by name", title_justify="left")
    for heading in ("name", "hub id", "language", "licence", "M weights", "here"):
        table.add_column(heading)
    missing = []
    for entry in CATALOG.values():
        folder = find_local(entry.name)
        if folder is None:
            missing.append(entry)
        table.add_row(
            entry.name,
            entry.hub_id,
            entry.language,
            entry.licence,
            str(entry.parameters),
            "[green]yes[/]" if folder else "no",
        )
    console.print(table)
    for entry in missing:
        note = f" ({entry.note})" if entry.note else ""
        console.print(
            f"[bold]{entry.name}[/]{escape(note)}: {escape(how_to_get(entry.name))}", soft_wrap=True
        )
    console.print(
        "Any other hub id or local folder works too. Encoders are searched for in "
        f"{encoder_home()} (set CLINADAPT_ENCODERS to change it)."
    )
