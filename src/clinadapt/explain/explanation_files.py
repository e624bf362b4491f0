"""Explanations as files readable only by their owner: a page, JSON lines or Parquet."""

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import polars as pl

from clinadapt.core.atomic_files import atomic_path
from clinadapt.core.errors import InputError, NothingDoneError
from clinadapt.core.output_guard import (
    Output,
    Recognise,
    check_outputs,
    is_page,
    jsonl_with,
    parquet_columns,
)
from clinadapt.core.run_context import Progress, no_progress
from clinadapt.data.notes import Notes
from clinadapt.data.tables.table import ReadOptions
from clinadapt.data.unlabelled import read_texts
from clinadapt.explain.error_analysis import Mistakes, find_mistakes
from clinadapt.explain.explain import Explanation, explain
from clinadapt.explain.explanation_page import explanations_page, mistakes_page
from clinadapt.explain.faithfulness import Faithfulness, faithfulness
from clinadapt.models.classifier import NoteClassifier
from clinadapt.models.load import load

WORD = {"start": pl.Int64, "end": pl.Int64, "word": pl.String, "contribution": pl.Float64}
SCHEMA: dict[str, Any] = {
    "id": pl.String,
    "class": pl.String,
    "said": pl.Boolean,
    "probability": pl.Float64,
    "threshold": pl.Float64,
    "logit": pl.Float64,
    "baseline": pl.Float64,
    "rest": pl.Float64,
    "gap": pl.Float64,
    "words": pl.List(pl.Struct(WORD)),
}
RECOGNISED: dict[str, Recognise] = {
    ".html": is_page,
    ".jsonl": jsonl_with(*SCHEMA),
    ".parquet": lambda path: parquet_columns(path) == list(SCHEMA),
}


def explain_table(
    bundle: Path,
    notes: Any,
    out: Path,
    text: str = "text",
    id: str | None = None,
    limit: int = 20,
    target: str | None = None,
    try_faithfulness: bool = False,
    progress: Progress = no_progress,
    **options: Unpack[ReadOptions],
) -> tuple[int, int, Faithfulness | None]:
    """Explain the first notes of a table, and write the explanations to a file.

    Notes in which the model finds nothing that it can read are left out.

    Parameters
    ----------
    bundle : Path
        Folder such as ``OUT/best``.
    notes
        Anything that `clinadapt.data.tables.opening.open_table` opens.
    out : Path
        ``.html``, ``.jsonl`` or ``.parquet``; it will contain the notes.
    text, id : str
        Column names; without `id` the row number is the id.
    limit : int
        Largest number of notes explained.
    target : str, optional
        Explained class; see `explain`.
    try_faithfulness : bool
        True to measure the effect of deleting the strongest words.
    progress : callable
    **options
        ``encoding``, ``delimiter`` and ``missing``: how to read the table. See
        `clinadapt.data.tables.table.ReadOptions`.

    Returns
    -------
    count : int
        Number of notes explained.
    left_out : int
        Number of notes in which the model finds nothing that it can read.
    measured : Faithfulness, optional

    Raises
    ------
    InputError
        The folder is not a bundle, the table is unreadable or empty, the class is unknown, or the
        output file has another suffix.
    """
    _check_suffix(out, list(RECOGNISED))
    check_outputs([Output(out, "--out", RECOGNISED[out.suffix])], [notes, bundle])
    ids, texts = read_texts(notes, text, id, **options)
    if not len(ids):
        raise InputError("the table has no rows: expected notes to explain")
    classifier = load(bundle)
    readable = classifier.model_.readable(texts[:limit])
    if not readable.any():
        raise NothingDoneError("the model finds nothing that it can read in any of the notes")
    rows = np.flatnonzero(readable)
    ids = ids.take(rows)
    explanations = explain(classifier, list(texts.take(rows)), target, progress)
    measured = faithfulness(classifier, explanations) if try_faithfulness else None
    write_explanations(out, classifier, ids, explanations, bundle.resolve().name, measured)
    return len(ids), int((~readable).sum()), measured


def write_explanations(
    out: Path,
    classifier: NoteClassifier,
    ids: Sequence[str],
    explanations: Sequence[Explanation],
    source: str,
    measured: Faithfulness | None = None,
) -> None:
    """Write explanations in the format given by the file's suffix.

    A table has one row per note, with the position, text and contribution of each word; the
    contribution is null if the model did not read the word.

    Parameters
    ----------
    out : Path
        ``.html``, ``.jsonl`` or ``.parquet``.
    classifier : NoteClassifier
    ids : sequence of str
    explanations : sequence of Explanation
    source : str
        Name of the bundle.
    measured : Faithfulness, optional
        Shown on the page.
    """
    if out.suffix == ".html":
        page = explanations_page(classifier, ids, explanations, source, measured)
        write_private(out, page.encode())
        return
    threshold = classifier.threshold_.value
    rows = [
        {
            "id": id,
            "class": one.target,
            "said": one.said,
            "probability": one.probability,
            "threshold": None if threshold != threshold else threshold,
            "logit": one.logit,
            "baseline": one.baseline,
            "rest": one.rest,
            "gap": one.gap,
            "words": [
                dict(
                    zip(
                        WORD,
                        (w.start, w.end, one.text[w.start : w.end], w.contribution),
                        strict=True,
                    )
                )
                for w in one.words
            ],
        }
        for id, one in zip(ids, explanations, strict=True)
    ]
    if out.suffix == ".jsonl":
        lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows]
        write_private(out, "".join(lines).encode())
        return
    buffer = BytesIO()
    pl.DataFrame(rows, schema=SCHEMA).write_parquet(buffer)
    write_private(out, buffer.getvalue())


def write_mistakes(
    folder: Path,
    notes: Notes,
    out: Path,
    limit: int = 50,
    sample: int = 200,
    progress: Progress = no_progress,
) -> Mistakes:
    """Write a study's most confident errors as a page; see `find_mistakes`.

    Parameters
    ----------
    folder : Path
        Folder of a finished study.
    notes : Notes
        The notes of the study.
    out : Path
        ``.html``; it will contain notes.
    limit, sample : int
        See `find_mistakes`.
    progress : callable

    Returns
    -------
    Mistakes

    Raises
    ------
    InputError
        The folder is not a finished study, the notes are not those of the study, or the output
        file has another suffix.
    """
    _check_suffix(out, [".html"])
    check_outputs([Output(out, "--out", is_page)])
    mistakes = find_mistakes(folder, notes, limit, sample, progress=progress)
    write_private(out, mistakes_page(mistakes).encode())
    return mistakes


def _check_suffix(out: Path, suffixes: Sequence[str]) -> None:
    if out.suffix not in suffixes:
        raise InputError(f"expected --out to end in {' or '.join(suffixes)}, got {out.name!r}")


def write_private(path: Path, content: bytes) -> None:
    """Write a file with patient text in one step, readable only by its owner."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial:
        partial.write_bytes(content)
