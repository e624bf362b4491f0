"""A table of new notes against a bundle: the page, and the same numbers as JSON."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.core import html
from clinadapt.core.atomic_files import atomic_path, write_json
from clinadapt.core.errors import InputError
from clinadapt.data.checks import shown_values
from clinadapt.data.columns import Columns
from clinadapt.data.labels import Labels
from clinadapt.data.notes import read_notes, read_texts
from clinadapt.data.text_store import Texts
from clinadapt.deployment.drift import messages
from clinadapt.deployment.drift.compare import Drift, find_drift
from clinadapt.models.bundle.record import read_record
from clinadapt.models.bundle.reference import Measured, some
from clinadapt.models.classifier import NoteClassifier
from clinadapt.models.load import load

MOST_NOTES = 5_000


def write_drift(
    bundle: Path,
    notes: Any,
    out: Path,
    text: str = "text",
    label: tuple[str, ...] = (),
    separator: str | None = None,
    group: str | None = None,
    encoding: str = "utf-8",
    most: int = MOST_NOTES,
) -> Drift:
    """Hold a table of new notes against a bundle, and write a page and its numbers beside it.

    Parameters
    ----------
    bundle : Path
    notes
        Anything that `clinadapt.data.table_readers.open_table` opens.
    out : Path
        ``.html``; the JSON file has the same name.
    text : str
        Column of the text.
    label : tuple of str
        Columns of labels, where they came back; rows without one are then left out.
    separator : str, optional
        Splits a multi-label column.
    group : str, optional
        Column of the patient.
    encoding : str
        Text encoding of CSV, TSV and JSON lines.
    most : int
        Notes that are looked at, spread evenly over the table.

    Returns
    -------
    Drift

    Raises
    ------
    InputError
        Not a bundle, one without counts of its notes, an unreadable table, labels that the bundle
        does not know, too few notes, scores in the bundle that are none, or another kind of output
        file.
    """
    if out.suffix != ".html":
        raise InputError(f"expected --out to end in .html, got {out.name!r}")
    classifier, record = load(bundle), read_record(bundle)
    texts, groups, labels = _read(classifier, notes, text, label, separator, group, encoding)
    rows = some(len(texts), most)
    found = find_drift(
        classifier,
        list(texts.take(rows)),
        None if groups is None else _numbered(groups.take(rows)),
        None if labels is None else labels.take(rows),
        _tested(record["provenance"].get("metrics", {})),
    )
    about = {
        "bundle": bundle.name,
        "configuration": record["provenance"].get("configuration", bundle.name),
        "source": Path(notes).name if isinstance(notes, str | Path) else "memory",
        "synthetic": bool(record["provenance"].get("data", {}).get("synthetic", False)),
        "notes_in_table": len(texts),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out.with_suffix(".json"), {**about, **found.to_json()})
    with atomic_path(out) as partial:
        partial.write_text(drift_page(found, about), encoding="utf-8")
    return found


def drift_page(found: Drift, about: dict[str, Any]) -> str:
    """Write what was found as one page, which asks the network for nothing.

    Parameters
    ----------
    found : Drift
    about : dict
        Bundle, row, source, whether the bundle is of synthetic notes, notes in the table.
    """
    environment = html.page_environment("clinadapt.deployment.drift")
    style = html.source(environment, html.STYLE)
    template = environment.get_template("drift.html.jinja")
    return template.render(found=found, about=about, messages=messages, style=style)


def _read(
    classifier: NoteClassifier,
    notes: Any,
    text: str,
    label: tuple[str, ...],
    separator: str | None,
    group: str | None,
    encoding: str,
) -> tuple[Texts, Texts | None, Labels | None]:
    """Texts, patients and labels of a table."""
    if not label:
        # Patients are read as what names a row; several rows may have the same.
        groups, texts = read_texts(notes, text, group, encoding)
        return texts, None if group is None else groups, None
    columns = Columns(text, label, separator, group=group)
    table = read_notes(notes, columns, encoding=encoding, leave_out_bad=True, minimum_per_class=0)
    return table.texts, table.groups, _aligned(classifier, table.labels)


def _aligned(classifier: NoteClassifier, found: Labels) -> Labels:
    """Labels in the order of the classifier's classes."""
    known = [str(name) for name in classifier.classes_]
    new = [str(name) for name in found.classes]
    if strange := sorted(set(new) - set(known)):
        raise InputError(
            f"{len(strange)} label(s) that the bundle does not know: {shown_values(strange)}; it "
            f"knows: {shown_values(known)}"
        )
    matrix = np.zeros((len(found), len(known)), dtype=np.bool_)
    matrix[:, [known.index(name) for name in new]] = found.matrix
    if classifier.task_ != "multilabel" and (matrix.sum(axis=1) != 1).any():
        raise InputError("the bundle gives one class a note, but some notes carry several")
    return Labels(classifier.task_, classifier.classes_, matrix)


def _numbered(groups: Texts) -> NDArray[np.int64]:
    return np.unique(np.array(list(groups)), return_inverse=True)[1]


def _tested(scores: dict[str, Any]) -> dict[str, Measured] | None:
    """Scores of a study's test notes, those that are defined; None if there are none."""
    ends = ("value", "low", "high")
    try:
        whole = {
            name: Measured(**{end: score[end] for end in ends})
            for name, score in scores.items()
            if all(score.get(end) is not None for end in ends)
        }
    except (AttributeError, ValueError):
        raise InputError("the scores in the bundle are not what a study writes") from None
    return whole or None
