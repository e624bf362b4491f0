"""What the commands print about notes, plans and leaderboards."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from rich.markup import escape

from clinadapt.cli.console import Column, print_table, say
from clinadapt.core import formatting
from clinadapt.core.messages import Message, looked_up, shown, translate
from clinadapt.data.folds import USUAL
from clinadapt.data.positive_class import quoted, shown_name

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from clinadapt.data.labels import Labels
    from clinadapt.data.near_duplicates import Duplicates
    from clinadapt.data.notes import Notes
    from clinadapt.data.split import Split
    from clinadapt.study.checks.registry import Checked
    from clinadapt.study.planning.plan import Line

CLASSES_ACROSS = 6  # more classes are listed below each other
SHOWN_CLASSES = 20  # of more, only sizes are shown
CLASS_SIZES = (Message("smallest class"), Message("median class"), Message("largest class"))
SHOWN_DUPLICATES = 5
KINDS = {"exact": Message("exact"), "near": Message("near")}
TASKS = {name: Message(name) for name in ("binary", "multiclass", "multilabel")}
STATUSES = {
    "skipped": Message("[yellow]skipped[/] {name}: {reason}"),
    "failed": Message("[yellow]failed[/] {name}: {reason}"),
}
QUANTILES = {"minimum": 0, "p05": 0.05, "median": 0.5, "p95": 0.95, "maximum": 1}


def print_notes(notes: "Notes", split: "Split") -> None:
    """Print the number of notes by part and class, warnings, and the number left out."""
    parts = split.parts()
    columns = {Message("notes"): {part: len(inside) for part, inside in parts.items()}}
    if notes.groups is not None:
        columns[Message("groups")] = {
            part: len(np.unique(notes.clusters[inside])) for part, inside in parts.items()
        }
    counts = {part: notes.labels.matrix[rows].sum(axis=0) for part, rows in parts.items()}
    title = Message("{n} notes, {task}", n=len(notes), task=TASKS[notes.labels.task])
    _print_counts(title, columns, notes.labels, counts)
    if notes.labels.positive is not None:
        negative, positive = (quoted(name) for name in notes.labels.classes.tolist())
        say(
            Message(
                "positive class: [bold]{positive}[/] (precision, recall and F1 are about it; with "
                "--positive {negative} they are about the other)",
                positive=escape(positive),
                negative=escape(negative),
            )
        )
    for warning in notes.warnings:
        say(Message("[yellow]warning[/] {text}", text=escape(shown(warning))))
    if notes.left_out:
        say(Message("[yellow]left out[/] {n} rows (listed in study.json)", n=len(notes.left_out)))


def print_patients(parts: "Mapping[str, Notes]") -> None:
    """Print the number of patients by part and class, where they are what is classified."""
    sizes = {part: len(patients) for part, patients in parts.items()}
    counts = {part: of.labels.matrix.sum(axis=0) for part, of in parts.items()}
    title = Message("{n:,} patients, which are classified and scored", n=sum(sizes.values()))
    labels = next(iter(parts.values())).labels
    _print_counts(title, {Message("patients"): sizes}, labels, counts)


def _print_counts(
    title: Message,
    sizes: "Mapping[Message, Mapping[str, int]]",
    labels: "Labels",
    counts: "Mapping[str, NDArray[Any]]",
) -> None:
    """Print the size of each part, by heading, and how often it has each class [class]."""
    classes = [shown_name(name) for name in labels.classes]
    headings, told = classes, dict(counts)
    if len(classes) > SHOWN_CLASSES:
        headings = list(CLASS_SIZES)
        told = {part: np.quantile(n, [0, 0.5, 1], method="lower") for part, n in counts.items()}
    across = len(headings) <= CLASSES_ACROSS
    columns = [Column(Message("part")), *(Column(heading, number=True) for heading in sizes)]
    if across:
        columns += [Column(name, number=True) for name in headings]
    rows = []
    for part in counts:
        row = [looked_up(part), *(formatting.count(of[part]) for of in sizes.values())]
        rows.append(row + list(map(formatting.count, told[part].tolist())) * across)
    print_table(title, columns, rows)
    if not across:
        print_table(
            Message("{n} classes", n=len(classes)),
            [
                Column(Message("class"), folds=True),
                *(Column(looked_up(part), number=True) for part in counts),
            ],
            [
                [name, *(formatting.count(part[at]) for part in counts.values())]
                for at, name in enumerate(classes)
            ],
        )
    elif headings is not classes:
        say(Message("{n:,} classes", n=len(classes)))


def print_check(notes: "Notes", pairs: "Duplicates") -> None:
    """Print the lengths of notes and duplicates across parts."""
    words = word_counts(notes)
    say(
        Message(
            "words per note: mean {mean:.0f}; minimum, 5 %, median, 95 %, maximum: {quantiles}",
            mean=words["mean"],
            quantiles=[words[name] for name in QUANTILES],
        )
    )
    exact = sum(pair.kind == "exact" for pair in pairs)
    say(
        Message(
            "across parts: {exact} exact and {near} near duplicates",
            exact=exact,
            near=len(pairs) - exact,
        )
    )
    if pairs.searched < pairs.later:
        say(
            Message(
                "near duplicates were searched for in a random sample of {n:,} of the {of:,} notes "
                "of later parts",
                n=pairs.searched,
                of=pairs.later,
            )
        )
    for pair in pairs[:SHOWN_DUPLICATES]:
        say(
            Message(
                "  {kind} ({similarity:.2f}): {one} ({part}), {other} ({other_part})",
                kind=KINDS[pair.kind],
                similarity=pair.similarity,
                one=escape(pair.id_a),
                part=looked_up(pair.part_a),
                other=escape(pair.id_b),
                other_part=looked_up(pair.part_b),
            )
        )
    if pairs and notes.groups is None:
        say(
            Message(
                "[yellow]warning[/] duplicates may inflate the scores: if notes belong to patients "
                "or sources, name that column with --group"
            )
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
        title, sentence = escape(looked_up(finding["title"])), escape(shown(finding["sentence"]))
        code = finding["code"]
        say(Message("[yellow]{code}[/] {title}: {text}", code=code, title=title, text=sentence))
    if findings:
        say(
            Message(
                "[dim]`clinadapt docs {code}` says what a finding means and what to do; --ignore "
                "{code} silences it[/]",
                code=findings[0]["code"],
            )
        )
    else:
        say(Message("checks: none of {n} found anything", n=len(checked["passed"])))
    if checked["ignored"]:
        say(Message("checks silenced: {codes}", codes=checked["ignored"]))
    if checked["read"] < checked["notes"]:
        say(
            Message(
                "checks read the texts of {read:,} of the {notes:,} notes, those of randomly drawn "
                "patients",
                read=checked["read"],
                notes=checked["notes"],
            )
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
        Message("Plan"),
        [
            Column(Message("configuration"), folds=True),
            Column(Message("runs"), number=True),
            Column(Message("time, at most"), number=True),
            Column(Message("memory"), number=True),
            Column(Message("disk"), number=True, drop=1),
            Column(Message("memory savings"), drop=2, folds=True),
        ],
        rows,
    )
    for configuration, reason in dict.fromkeys(
        (line.configuration, line.reason) for line in lines if line.status == "skip"
    ):
        why = escape(shown(reason or ""))
        say(Message("[yellow]skipped[/] {name}: {reason}", name=escape(configuration), reason=why))
    done = sum(line.status == "done" for line in lines)
    total = {"time": sum(line.seconds for line in lines), "runs": len(running), "disk": disk}
    if done:
        say(
            Message(
                "{done} runs are already done; in total at most [bold]{time:seconds}[/] for {runs} "
                "runs, and [bold]{disk:size}[/] of disk",
                done=done,
                **total,
            )
        )
    else:
        say(
            Message(
                "in total at most [bold]{time:seconds}[/] for {runs} runs, and "
                "[bold]{disk:size}[/] of disk",
                **total,
            )
        )
    if folds > 1:
        say(
            Message(
                "Every run is fitted on {folds} folds as well (--folds 1: on one validation part).",
                folds=folds,
            )
        )
    elif running:
        once = sum(line.features_seconds for line in lines)
        say(
            Message(
                "With --folds {folds} all labelled notes decide which is best, in at most "
                "[bold]{time:seconds}[/].",
                folds=USUAL,
                time=once + USUAL * (sum(line.seconds for line in lines) - once),
            )
        )
    say(
        Message(
            "[dim]estimated from short runs on some of these notes; early stopping may end "
            "sooner[/]"
        )
    )


def print_leaderboard(
    board: pl.DataFrame,
    metric: str,
    out: "Path",
    sentences: Sequence[str],
    synthetic: bool,
    reasons: Mapping[str, str],
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
    reasons : mapping of str to str
        Messages of the board's reasons, by their English text.
    """
    done = board.filter(pl.col("status") == "done")
    rows = []
    for line in done.iter_rows(named=True):
        test = translate(
            "{value:score} [{low:score}, {high:score}]",
            value=line["test"],
            low=line["test_low"],
            high=line["test_high"],
        )
        rows.append(
            [
                str(line["rank"]),
                "" if line["group"] is None else str(line["group"]),
                line["configuration"],
                formatting.score(line["validation"]),
                test,
                formatting.decimals(line["encode_seconds"], 1),
                formatting.decimals(line["fit_seconds"], 1),
                formatting.count(line["trainable_parameters"]),
                formatting.count(line["peak_memory_bytes"] / 1e6),
            ]
        )
    print_table(
        Message("Leaderboard (synthetic notes), ranked on validation")
        if synthetic
        else Message("Leaderboard, ranked on validation"),
        [
            Column("", number=True),
            Column(Message("group"), number=True, drop=2),
            Column(Message("configuration"), folds=True),
            Column(Message("validation"), number=True, drop=1),
            Column(Message("test {metric} [95 %]", metric=metric), number=True),
            Column(Message("encode s"), number=True, drop=4),
            Column(Message("fit s"), number=True, drop=3),
            Column(Message("trainable"), number=True, drop=6),
            Column(Message("peak MB"), number=True, drop=5),
        ],
        rows,
        bold=[bool(recommended) for recommended in done["recommended"]],
    )
    for line in board.filter(pl.col("status") != "done").iter_rows(named=True):
        name, reason = escape(line["configuration"]), line["reason"]
        reason = escape(shown(reasons.get(reason, reason)))
        say(Message(STATUSES[line["status"]], name=name, reason=reason))
    for sentence in sentences:
        say(escape(shown(sentence)))
    for text, folder, there in (
        (Message("recommended: [bold]{path}[/]"), "recommended", board["recommended"].any()),
        (Message("best model:  [bold]{path}[/]"), "best", board["best"].any()),
        (Message("report:      [bold]{path}[/]"), "report.html", True),
    ):
        if there:
            say(Message(text, path=escape(str(out / folder))))
