"""Summarise a study's notes: counts, parts, rows left out and duplicates."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from clinadapt.data import near_duplicates
from clinadapt.data.notes import Notes
from clinadapt.data.split import Split

SHOWN_DUPLICATES = 100


def summarize(notes: Notes, fingerprint: str) -> dict[str, Any]:
    """Return the summary of the notes that every result contains.

    Parameters
    ----------
    notes : Notes
    fingerprint : str
        Hash of the notes and their split.
    """
    return {
        "source": notes.source,
        "synthetic": notes.synthetic,
        "fingerprint": fingerprint,
        "notes": len(notes),
        "groups": None if notes.groups is None else int(notes.clusters.max()) + 1,
        "left_out_rows": len(notes.left_out),
    }


def describe(
    notes: Notes, split: Split, parts: Mapping[str, Notes], fingerprint: str
) -> dict[str, Any]:
    """Return the description of the notes for ``study.json``.

    It contains the ids of some duplicates, but no text.

    Parameters
    ----------
    notes : Notes
    split : Split
    parts : mapping of str to Notes
        Notes of each part of the split.
    fingerprint : str
        Hash of the notes and their split.
    """
    pairs = near_duplicates.across_parts(notes, split)
    counted = {}
    for name, part in parts.items():
        counts = part.labels.matrix.sum(axis=0).tolist()
        counted[name] = {
            "notes": len(part),
            "groups": len(np.unique(part.clusters)) if notes.groups is not None else None,
            "labels": dict(zip(map(str, notes.labels.classes), counts, strict=True)),
        }
    return {
        **summarize(notes, fingerprint),
        "columns": None if notes.columns is None else asdict(notes.columns),
        "parts": counted,
        "left_out": [asdict(entry) for entry in notes.left_out],
        "duplicates": {
            "exact_across_parts": sum(pair.kind == "exact" for pair in pairs),
            "near_across_parts": sum(pair.kind == "near" for pair in pairs),
            "near_looked_for_in": {"notes": pairs.searched, "of": pairs.later},
            "pairs": [asdict(pair) for pair in pairs[:SHOWN_DUPLICATES]],
        },
        "warnings": notes.warnings,
    }
