"""Classify a table of unlabelled notes with a bundle."""

import os
from pathlib import Path
from typing import Any

import polars as pl

from clinadapt import results
from clinadapt.bundle import load, read_record
from clinadapt.errors import InputError
from clinadapt.notes import read_texts


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
    probabilities = classifier.predict_proba(texts)
    matrix = classifier.predict_matrix(probabilities)
    decoded = results.decode_text(classifier.task_, classifier.classes_, matrix)
    frame = pl.DataFrame(
        {
            "id": ids,
            "prediction": decoded,
            **results.probability_columns(classifier.classes_, probabilities),
        }
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".csv":
        if classifier.task_ == "multilabel":
            frame = frame.with_columns(pl.col("prediction").list.join("|"))
        results.write_csv(frame, out)
    else:
        synthetic = record["provenance"].get("data", {}).get("synthetic", False)
        about = {"model_fitted_on": "synthetic notes" if synthetic else "notes"}
        results.write_predictions(frame, out, about)
    os.chmod(out, 0o600)  # predictions are patient data
    return len(frame)
