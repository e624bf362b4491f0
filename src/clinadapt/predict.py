"""Classify a table of unlabelled notes with a bundle, in memory that they do not grow."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from clinadapt import results
from clinadapt.bundle import load, read_record
from clinadapt.classifier import NoteClassifier
from clinadapt.errors import InputError
from clinadapt.notes import read_texts
from clinadapt.texts import Texts


def predict_table(
    bundle: Path,
    notes: Any,
    out: Path,
    text: str = "text",
    id: str | None = None,
    encoding: str = "utf-8",
) -> int:
    """Write id, prediction and probabilities of every note of a table.

    Parameters
    ----------
    bundle : Path
        Folder such as ``OUT/best``.
    notes
        Anything that `clinadapt.tables.open_table` opens.
    out : Path
        ``.parquet`` or ``.csv``; appears at once, whole. In CSV several labels are joined by ``|``.
    text, id : str
        Columns; without `id` the row number is the id.
    encoding : str
        Text encoding of CSV, TSV and JSON lines.

    Returns
    -------
    int
        Number of notes.

    Raises
    ------
    InputError
        Not a bundle, an unreadable table, or another kind of output file.
    """
    if out.suffix not in (".parquet", ".csv"):
        raise InputError(f"expected --out to end in .parquet or .csv, got {out.name!r}")
    record = read_record(bundle)
    ids, texts = read_texts(notes, text, id, encoding)
    classifier = load(bundle)
    synthetic = record["provenance"].get("data", {}).get("synthetic", False)
    about = {"model_fitted_on": "synthetic notes" if synthetic else "notes"}
    out.parent.mkdir(parents=True, exist_ok=True)
    results.write_predictions(_predicted(classifier, ids, texts), out, about)
    return len(ids)


def _predicted(classifier: NoteClassifier, ids: Texts, texts: Texts) -> Iterator[pl.DataFrame]:
    """Predictions of notes, block after block; one empty block if there are none."""
    for start in range(0, max(len(ids), 1), results.NOTES_AT_ONCE):
        block = slice(start, start + results.NOTES_AT_ONCE)
        probabilities = classifier.predict_proba(texts[block])
        matrix = classifier.predict_matrix(probabilities)
        yield pl.DataFrame(
            {
                "id": pl.Series(list(ids[block]), dtype=pl.String),
                "prediction": results.decode_text(classifier.task_, classifier.classes_, matrix),
                **results.probability_columns(classifier.classes_, probabilities),
            }
        )
