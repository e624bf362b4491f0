"""Writes the drift report of a table of new notes: a page, and its numbers as JSON."""

from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from clinadapt.core import html
from clinadapt.core.arrays import evenly_spaced
from clinadapt.core.atomic_files import atomic_path, write_json
from clinadapt.core.errors import InputError
from clinadapt.core.language import use_language
from clinadapt.core.output_guard import Output, check_outputs, is_page, json_with
from clinadapt.data.checks import shown_values
from clinadapt.data.columns import Columns
from clinadapt.data.label_spelling import tidy
from clinadapt.data.labels import Labels
from clinadapt.data.notes import read_notes
from clinadapt.data.patients import documents_of, patient_labels
from clinadapt.data.tables.table import ReadOptions
from clinadapt.data.text_store import Texts
from clinadapt.data.unlabelled import read_texts
from clinadapt.deployment.drift import messages
from clinadapt.deployment.drift.compare import Drift, find_drift
from clinadapt.models.bundle.record import read_record
from clinadapt.models.bundle.reference import MeasuredScore
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
    most: int = MOST_NOTES,
    **options: Unpack[ReadOptions],
) -> Drift:
    """Compare a table of new notes with a bundle; write a page and a JSON file.

    Parameters
    ----------
    bundle : Path
    notes : path or table
        Anything that `clinadapt.data.tables.opening.open_table` can open.
    out : Path
        Page, ``.html``; the JSON file has the same name with ``.json``.
    text : str
        Text column.
    label : tuple of str
        Label columns, if there are labels; rows without a label are then left out.
    separator : str, optional
        Separator of several labels in one column.
    group : str, optional
        Patient column.
    most : int
        Maximum number of notes that are read, spread evenly over the table.
    **options
        ``encoding``, ``delimiter`` and ``missing``: how to read the table. See
        `clinadapt.data.tables.table.ReadOptions`.

    Returns
    -------
    Drift

    Raises
    ------
    InputError
        If the folder is not a bundle or contains no reference, the table cannot be read, labels
        are unknown to the bundle, there are too few notes, scores in the bundle are not valid, or
        `out` does not end in ``.html``.
    """
    if out.suffix != ".html":
        raise InputError(f"expected --out to end in .html, got {out.name!r}")
    numbers = out.with_suffix(".json")
    is_own = json_with("bundle", "configuration", "source", "notes_in_table")
    outputs = [Output(out, "--out", is_page), Output(numbers, "--out", is_own, beside=True)]
    check_outputs(outputs, [notes, bundle])
    classifier, record = load(bundle), read_record(bundle)
    texts, groups, labels = _read(classifier, notes, text, label, separator, group, options)
    if classifier.model_.level == "group":
        texts, labels = _patients(texts, labels, groups)
        groups = None
    rows = evenly_spaced(len(texts), most)
    drift = find_drift(
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
    write_json(numbers, {**about, **drift.to_json()})
    with atomic_path(out) as partial:
        partial.write_text(drift_page(drift, about), encoding="utf-8")
    return drift


def drift_page(drift: Drift, about: dict[str, Any]) -> str:
    """Return the report as one HTML page without external resources.

    Parameters
    ----------
    drift : Drift
    about : dict
        ``bundle``, ``configuration``, ``source``, ``synthetic`` (of the training notes) and
        ``notes_in_table``.
    """
    environment = html.page_environment("clinadapt.deployment.drift")
    style = html.source(environment, html.STYLE)
    template = environment.get_template("drift.html.jinja")
    with use_language("en"):  # the texts of this page have no translation
        return template.render(drift=drift, about=about, messages=messages, style=style)


def _read(
    classifier: NoteClassifier,
    notes: Any,
    text: str,
    label: tuple[str, ...],
    separator: str | None,
    group: str | None,
    options: ReadOptions,
) -> tuple[Texts, Texts | None, Labels | None]:
    """Return the texts, patients and labels of a table."""
    if not label:
        # Patients are read in place of ids, which need not be unique here.
        groups, texts = read_texts(notes, text, group, **options)
        return texts, None if group is None else groups, None
    columns = Columns(text, label, separator, group=group)
    table = read_notes(notes, columns, leave_out_bad=True, minimum_per_class=0, **options)
    return table.texts, table.groups, _aligned(classifier, table.labels)


def _patients(
    texts: Texts, labels: Labels | None, groups: Texts | None
) -> tuple[Texts, Labels | None]:
    """Return the documents of patients, and their labels: any of those of their notes."""
    if groups is None:
        raise InputError(
            "this bundle classifies patients, from all notes of each: name the column of the "
            "patient with --group"
        )
    clusters = _numbered(groups)
    documents = documents_of(texts, clusters)
    return documents, None if labels is None else patient_labels(labels, clusters, "any")


def _aligned(classifier: NoteClassifier, labels: Labels) -> Labels:
    """Return labels with the classes in the order of the classifier's labels."""
    known = [tidy(str(name)) for name in classifier.label_classes_]
    new = [str(name) for name in labels.classes]
    if unknown := sorted(set(new) - set(known)):
        raise InputError(
            f"{len(unknown)} label(s) unknown to the bundle: {shown_values(unknown)}; expected "
            f"labels: {shown_values(known)}"
        )
    matrix = np.zeros((len(labels), len(known)), dtype=np.bool_)
    matrix[:, [known.index(name) for name in new]] = labels.matrix
    if classifier.task_ != "multilabel" and (matrix.sum(axis=1) != 1).any():
        raise InputError(
            "the bundle predicts one class per note, but some notes have several labels"
        )
    return Labels(classifier.task_, classifier.label_classes_, matrix)


def _numbered(groups: Texts) -> NDArray[np.int64]:
    return np.unique(np.array(list(groups)), return_inverse=True)[1]


def _tested(scores: dict[str, Any]) -> dict[str, MeasuredScore] | None:
    """Return the defined scores on the test notes of a study; None if there are none."""
    ends = ("value", "low", "high")
    try:
        defined = {
            name: MeasuredScore(**{end: score[end] for end in ends})
            for name, score in scores.items()
            if all(score.get(end) is not None for end in ends)
        }
    except (AttributeError, ValueError):
        raise InputError("the scores in the bundle are not in the format of a study") from None
    return defined or None
