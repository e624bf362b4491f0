"""What the commands print about notes, plans and leaderboards."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from rich.markup import escape

from clinadapt.cli.console import Column, print_table, say
from clinadapt.core import formatting
from clinadapt.data.folds import USUAL
from clinadapt.data.positive_class import quoted, shown_name

if TYPE_CHECKING:
    from pathlib import Path

    from clinadapt.data.near_duplicates import Duplicates
    from clinadapt.data.notes import Notes
    from clinadapt.data.split import Split
    from clinadapt.study.checks.registry import Checked
    from clinadapt.study.planning.plan import Line

CLASSES_ACROSS = 6  # more classes are listed below each other
SHOWN_CLASSES = 20  # of more, only sizes are shown
CLASS_SIZES = ("smallest class", "median class", "largest class")
SHOWN_DUPLICATES = 5
QUANTILES = {"minimum": 0, "p05": 0.05, "median": 0.5, "p95": 0.95, "maximum": 1}


def print_notes(notes: "Notes", split: "Split") -> None:
    """Print the number of notes by part and class, warnings, and the number left out."""
    classes = [shown_name(name) for name in notes.labels.classes]
    counts = {
        part: np.count_nonzero(notes.labels.matrix[rows], axis=0)
        for part, rows in split.parts().items()
    }
    headings, shown = classes, counts
    if len(classes) > SHOWN_CLASSES:
        headings = list(CLASS_SIZES)
        shown = {part: np.quantile(n, [0, 0.5, 1], method="lower") for part, n in counts.items()}
    across = len(headings) <= CLASSES_ACROSS
    columns = [Column("part"), Column("notes", number=True)]
    if notes.groups is not None:
        columns.append(Column("groups", number=True))
    if across:
        columns += [Column(name, number=True) for name in headings]
    rows = []
    for part, inside in split.parts().items():
        row = [part, f"{len(inside):,}"]
        if notes.groups is not None:
            row.append(f"{len(np.unique(notes.clusters[inside])):,}")
        rows.append(row + [f"{count:,}" for count in shown[part].tolist()] * across)
    print_table(f"{len(notes)} notes, {notes.labels.task}", columns, rows)
    if not across:
        print_table(
            f"{len(classes)} classes",
            [Column("class", folds=True), *(Column(part, number=True) for part in counts)],
            [
                [name, *(f"{part[at]:,}" for part in counts.values())]
                for at, name in enumerate(classes)
            ],
        )
    elif headings is not classes:
        say(f"{len(classes):,} classes")
    if notes.labels.positive is not None:
        negative, positive = (quoted(name) for name in notes.labels.classes.tolist())
        say(
            f"positive class: [bold]{escape(positive)}[/] (precision, recall and F1 are about it; "
            f"with --positive {escape(negative)} they are about the other)"
        )
    for warning in notes.warnings:
        say(f"[yellow]warning[/] {escape(warning)}")
    if notes.left_out:
        say(f"[yellow]left out[/] {len(notes.left_out)} rows (listed in study.json)")


def print_patients(parts: "Mapping[str, Notes]") -> None:
    """Print the number of patients by part and class, where they are what is classified."""
    classes = next(iter(parts.values())).labels.classes
    counts = {part: patients.labels.matrix.sum(axis=0) for part, patients in parts.items()}
    if len(classes) > CLASSES_ACROSS:
        counts = {part: np.quantile(n, [0, 0.5, 1], method="lower") for part, n in counts.items()}
    headings = map(shown_name, classes) if len(classes) <= CLASSES_ACROSS else CLASS_SIZES
    print_table(
        f"{sum(map(len, parts.values())):,} patients, which are classified and scored",
        [Column("part"), Column("patients", number=True)]
        + [Column(name, number=True) for name in headings],
        [
            [part, f"{len(patients):,}", *(f"{n:,}" for n in counts[part].tolist())]
            for part, patients in parts.items()
        ],
    )


def print_check(notes: "Notes", pairs: "Duplicates") -> None:
    """Print the lengths of notes and duplicates across parts."""
    words = word_counts(notes)
    say(
        f"words per note: mean {words['mean']:.0f}; minimum, 5 %, median, 95 %, maximum: "
        + ", ".join(str(words[name]) for name in QUANTILES)
    )
    exact = sum(pair.kind == "exact" for pair in pairs)
    say(f"across parts: {exact} exact and {len(pairs) - exact} near duplicates")
    if pairs.searched < pairs.later:
        say(
            f"near duplicates were searched for in a random sample of {pairs.searched:,} of the "
            f"{pairs.later:,} notes of later parts"
        )
    for pair in pairs[:SHOWN_DUPLICATES]:
        say(
            f"  {pair.kind} ({pair.similarity:.2f}): {escape(pair.id_a)} ({pair.part_a}), "
            f"{escape(pair.id_b)} ({pair.part_b})"
        )
    if pairs and notes.groups is None:
        say(
            "[yellow]warning[/] duplicates may inflate the scores: if notes belong to patients "
            "or sources, name that column with --group"
        )


def print_checks(checked: Mapping[str, Any]) -> None:
    """Print what checks found, and which were silenced.

    Parameters
    ----------
    checked : mapping
        As `clinadapt.study.checks.registry.Checked.to_json` returns it.
    """
    findings = checked["findings"]
    for finding in findings:
        say(
            f"[yellow]{finding['code']}[/] {escape(finding['title'])}: "
            f"{escape(finding['sentence'])}"
        )
    if findings:
        code = findings[0]["code"]
        say(
            f"[dim]`clinadapt docs {code}` says what a finding means and what to do; "
            f"--ignore {code} silences it[/]"
        )
    else:
        say(f"checks: none of {len(checked['passed'])} found anything")
    if checked["ignored"]:
        say(f"checks silenced: {', '.join(checked['ignored'])}")
    if checked["read"] < checked["notes"]:
        say(
            f"checks read the texts of {checked['read']:,} of the {checked['notes']:,} notes, "
            "those of randomly drawn patients"
        )


def word_counts(notes: "Notes") -> dict[str, float]:
    """Return the mean and some quantiles of the number of words of a note."""
    words = np.array([len(text.split()) for text in notes.texts])
    quantiles = np.quantile(words, list(QUANTILES.values())).round().astype(int).tolist()
    return {"mean": float(words.mean()), **dict(zip(QUANTILES, quantiles, strict=True))}


def check_as_json(
    notes: "Notes", split: "Split", pairs: "Duplicates", checked: "Checked"
) -> dict[str, Any]:
    """Return what is printed of notes and checks, as values; no ids and no text."""
    exact = sum(pair.kind == "exact" for pair in pairs)
    return {
        "notes": len(notes),
        "task": notes.labels.task,
        "classes": [shown_name(name) for name in notes.labels.classes],
        "positive": None if notes.labels.positive is None else shown_name(notes.labels.positive),
        "parts": {
            part: {
                "notes": len(rows),
                "groups": None if notes.groups is None else len(np.unique(notes.clusters[rows])),
                "notes_of_class": notes.labels.matrix[rows].sum(axis=0).tolist(),
            }
            for part, rows in split.parts().items()
        },
        "words_per_note": word_counts(notes),
        "duplicates_across_parts": {
            "exact": exact,
            "near": len(pairs) - exact,
            "searched": pairs.searched,
            "of": pairs.later,
        },
        "left_out": [{"row": one.row, "reason": one.reason} for one in notes.left_out],
        "warnings": notes.warnings,
        "checks": checked.to_json(),
    }


def print_plan(lines: Sequence["Line"], disk: int, folds: int = 1) -> None:
    """Print the cost of each configuration, what is skipped, and the total.

    Parameters
    ----------
    lines : sequence of Line
        The schedule of a plan.
    disk : int
        Bytes of the study's folder.
    folds : int
        Folds on which every run is fitted; 1 for one validation part.
    """
    running = [line for line in lines if line.status == "run"]
    rows = []
    for configuration in dict.fromkeys(line.configuration for line in running):
        runs = [line for line in running if line.configuration == configuration]
        rows.append(
            [
                configuration,
                str(len(runs)),
                formatting.seconds(sum(line.seconds for line in runs)),
                formatting.size(max(line.peak_memory_bytes for line in runs)),
                formatting.size(sum(line.disk_bytes for line in runs)),
                ", ".join(runs[0].memory_savings),
            ]
        )
    print_table(
        "Plan",
        [
            Column("configuration", folds=True),
            Column("runs", number=True),
            Column("time, at most", number=True),
            Column("memory", number=True),
            Column("disk", number=True, drop=1),
            Column("memory savings", drop=2, folds=True),
        ],
        rows,
    )
    for configuration, reason in dict.fromkeys(
        (line.configuration, line.reason) for line in lines if line.status == "skip"
    ):
        say(f"[yellow]skipped[/] {escape(configuration)}: {escape(str(reason))}")
    done = sum(line.status == "done" for line in lines)
    already = f"{done} runs are already done; " if done else ""
    total = formatting.seconds(sum(line.seconds for line in lines))
    say(
        f"{already}in total at most [bold]{total}[/] for {len(running)} runs, and "
        f"[bold]{formatting.size(disk)}[/] of disk"
    )
    if folds > 1:
        say(f"Every run is fitted on {folds} folds as well (--folds 1: on one validation part).")
    elif running:
        once = sum(line.features_seconds for line in lines)
        more = once + USUAL * (sum(line.seconds for line in lines) - once)
        say(
            f"With --folds {USUAL} all labelled notes decide which is best, in at most "
            f"[bold]{formatting.seconds(more)}[/]."
        )
    say("[dim]estimated from short runs on some of these notes; early stopping may end sooner[/]")


def print_leaderboard(
    board: pl.DataFrame, metric: str, out: "Path", sentences: Sequence[str], synthetic: bool
) -> None:
    """Print the leaderboard and the paths of the results.

    Parameters
    ----------
    board : polars.DataFrame
    metric : str
        Metric that ranks the configurations.
    out : Path
        Folder of the study.
    sentences : sequence of str
        What is recommended and why, and what speaks against it.
    synthetic : bool
        True if the notes are the built-in ones.
    """
    done = board.filter(pl.col("status") == "done")
    rows = []
    for line in done.iter_rows(named=True):
        interval = f"[{formatting.score(line['test_low'])}, {formatting.score(line['test_high'])}]"
        rows.append(
            [
                str(line["rank"]),
                "" if line["group"] is None else str(line["group"]),
                line["configuration"],
                formatting.score(line["validation"]),
                f"{formatting.score(line['test'])} {interval}",
                f"{line['encode_seconds']:.1f}",
                f"{line['fit_seconds']:.1f}",
                f"{line['trainable_parameters']:,}",
                f"{line['peak_memory_bytes'] / 1e6:,.0f}",
            ]
        )
    print_table(
        f"Leaderboard{' (synthetic notes)' if synthetic else ''}, ranked on validation",
        [
            Column("", number=True),
            Column("group", number=True, drop=2),
            Column("configuration", folds=True),
            Column("validation", number=True, drop=1),
            Column(f"test {metric} [95 %]", number=True),
            Column("encode s", number=True, drop=4),
            Column("fit s", number=True, drop=3),
            Column("trainable", number=True, drop=6),
            Column("peak MB", number=True, drop=5),
        ],
        rows,
        bold=[bool(recommended) for recommended in done["recommended"]],
    )
    for line in board.filter(pl.col("status") != "done").iter_rows(named=True):
        say(
            f"[yellow]{line['status']}[/] {escape(line['configuration'])}: {escape(line['reason'])}"
        )
    for sentence in sentences:
        say(escape(sentence))
    for name, folder, there in (
        ("recommended", "recommended", board["recommended"].any()),
        ("best model", "best", board["best"].any()),
        ("report", "report.html", True),
    ):
        if there:
            say(f"{name + ':':<13}[bold]{escape(str(out / folder))}[/]")
