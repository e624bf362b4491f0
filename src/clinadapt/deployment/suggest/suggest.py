"""Suggests which unlabelled notes to label next, and writes the list."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clinadapt.core.arrays import Floats, evenly_spaced
from clinadapt.core.atomic_files import read_json, write_csv
from clinadapt.core.errors import InputError, NothingDoneError
from clinadapt.core.output_guard import Output, check_outputs, csv_header
from clinadapt.core.permissions import private_folder
from clinadapt.core.run_context import Progress, no_progress
from clinadapt.data.columns import Columns, as_text, text_hashes, whole_floats
from clinadapt.data.near_duplicates import similar
from clinadapt.data.tables.opening import open_table
from clinadapt.data.tables.table import ReadOptions
from clinadapt.data.text_store import Texts, TextWriter
from clinadapt.data.unlabelled import Unlabelled, read_unlabelled
from clinadapt.deployment.suggest import strategy
from clinadapt.models.bundle.record import find_bundle
from clinadapt.models.classifier import NoteClassifier
from clinadapt.models.load import load
from clinadapt.study.study_folder import STUDY

MOST_NOTES = 10_000
NOTES_AT_ONCE = 256
OUT_COLUMNS = ("order", "id", "group", "uncertainty", "text")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Numbers of unlabelled notes that cannot be suggested, by reason.

    Attributes
    ----------
    labelled : int
        Their text, but for case and white space, is that of a labelled note.
    near_labelled : int
        They share half of their text or more with a labelled note.
    repeated : int
        Their text is that of an earlier row.
    of_labelled_patient : int
        Their patient has as many labelled notes as may be labelled of one.
    unreadable : int
        The model finds nothing in them that it can read.
    not_looked_at : int
        The table has more notes than are looked at.
    """

    labelled: int = 0
    near_labelled: int = 0
    repeated: int = 0
    of_labelled_patient: int = 0
    unreadable: int = 0
    not_looked_at: int = 0


@dataclass(frozen=True, eq=False)
class Suggestions:
    """Notes to label next.

    Attributes
    ----------
    table : polars.DataFrame
        In the order to label them: ``order`` from 1, ``id``, ``group`` if patients are known,
        ``uncertainty`` (0: certain, 0.5: between two answers; see
        `clinadapt.deployment.suggest.strategy.uncertainty`), and ``text`` if it was asked for.
    read : int
        Number of notes of the unlabelled table.
    left_out : LeftOut
    patients : int, optional
        Number of patients of the notes that could be suggested; None if patients are not known.
    labelled_known : bool
        False if there was no table of labelled notes to compare with.
    """

    table: pl.DataFrame
    read: int
    left_out: LeftOut
    patients: int | None
    labelled_known: bool

    def __repr__(self) -> str:
        """Counts only: a text or an id is never shown."""
        return f"<{len(self.table):,} of {self.read:,} notes to label next>"

    def write(self, path: str | Path) -> None:
        """Write the table as CSV, which only its owner can read.

        An existing file is replaced only if nothing has been added to its columns.

        Raises
        ------
        InputError
            The path is taken by another file, such as a list with labels.
        """
        path = Path(path)
        check_suggestions(path)
        private_folder(path.absolute().parent)
        write_csv(self.table, path)

    def to_json(self) -> dict[str, Any]:
        """Return the counts, as plain values; no ids and no text."""
        return {
            "suggested": len(self.table),
            "read": self.read,
            "left_out": asdict(self.left_out),
            "patients": self.patients,
            "labelled_known": self.labelled_known,
        }


def check_suggestions(path: Path, inputs: Sequence[Any] = ()) -> None:
    """Raise an error if a list of suggestions may not be written to a path.

    Parameters
    ----------
    path : Path
    inputs : sequence
        What is read to make the list.

    Raises
    ------
    InputError
        It does not end in ``.csv``, is an input, or is taken by another file. A list to which
        somebody added a column, such as labels, counts as another file.
    """
    if path.suffix != ".csv":
        raise InputError(f"expected --out to end in .csv, got {path.name!r}")
    check_outputs([Output(path, "--out", _is_untouched)], inputs)


def _is_untouched(path: Path) -> bool:
    header = csv_header(path)
    needed = [name for name in OUT_COLUMNS if name not in ("group", "text")]
    return [name for name in OUT_COLUMNS if name in header] == header and set(needed) <= set(header)


def suggest(
    out: str | Path,
    unlabelled: Any,
    n: int = 100,
    *,
    labelled: Any = None,
    text: str = "text",
    id: str | None = None,
    group: str | None = None,
    per_patient: int = 1,
    most: int = MOST_NOTES,
    with_text: bool = False,
    seed: int = 0,
    progress: Progress = no_progress,
    **options: Unpack[ReadOptions],
) -> Suggestions:
    """Suggest which unlabelled notes to label next, by a study's model.

    Notes are drawn where the model is uncertain and far from the notes drawn before, at most a few
    of each patient; see `clinadapt.deployment.suggest.strategy`.

    Parameters
    ----------
    out : path
        A study's folder, whose recommended (or else best) bundle is used, or a bundle.
    unlabelled
        Table of notes: anything that `clinadapt.data.tables.opening.open_table` opens.
    n : int
        Number of notes to suggest.
    labelled : optional
        Table of the notes that are labelled already, which are left out; default: the table that
        the study read, if it is still there. Rows without a label do not count.
    text, id, group : str, optional
        Columns of the text, the identifier (default: row numbers) and the patient (default: each
        note has its own).
    per_patient : int
        Most notes of a patient, those that are labelled already included.
    most : int
        Most notes to look at, spread evenly over the table.
    with_text : bool
        True to add the texts to the list.
    seed : int
        Seed of the draw; the same seed gives the same list.
    progress : callable
        Called with the stage's name, the notes done and their total number.
    **options
        ``encoding``, ``delimiter`` and ``missing``: how to read the tables. See
        `clinadapt.data.tables.table.ReadOptions`.

    Returns
    -------
    Suggestions
        Of fewer notes than `n` if there are no more.

    Raises
    ------
    InputError
        The folder is no study's and no bundle, a table cannot be read, or ids repeat.
    NothingDoneError
        No note can be suggested.

    Examples
    --------
    >>> import polars as pl
    >>> from tempfile import TemporaryDirectory
    >>> from clinadapt import NoteClassifier, suggest
    >>> classifier = NoteClassifier().fit(["fièvre et toux", "suivi du diabète"] * 20, [1, 0] * 20)
    >>> new = pl.DataFrame({"text": ["toux", "diabète et fièvre", "fièvre"], "patient": [7, 8, 7]})
    >>> with TemporaryDirectory() as folder:
    ...     bundle = classifier.save(f"{folder}/bundle")
    ...     suggestions = suggest(bundle, new, n=3, group="patient")
    >>> suggestions
    <2 of 3 notes to label next>
    >>> sorted(suggestions.table["group"])
    ['7', '8']
    """
    if problems := [
        f"{name} must be at least 1, got {value}"
        for name, value in (("n", n), ("per_patient", per_patient), ("most", most))
        if value < 1
    ]:
        raise InputError(problems)
    classifier = load(find_bundle(out))
    notes = read_unlabelled(unlabelled, text, id, group, **options)
    _refuse_repeated_ids(notes, id)
    known = _labelled_notes(Path(out), labelled, text, options)
    rows, left_out = _not_labelled(notes.texts, None if known is None else known.texts, most)
    patients = _patients(notes, known)
    of_labelled = patients.labelled[patients.of_note[rows]] >= per_patient
    left_out["of_labelled_patient"] = int(of_labelled.sum())
    rows = rows[~of_labelled]
    texts = notes.texts.take(rows)
    probabilities, readable = _scored(classifier, texts, progress)
    left_out["unreadable"] = int((~readable).sum())
    rows, probabilities = rows[readable], probabilities[readable]
    if not len(rows):
        raise NothingDoneError(
            f"no note was suggested: all {len(notes.ids):,} notes are labelled already, repeated, "
            "of patients with as many labelled notes as --per-patient allows, or cannot be read "
            "by the model"
        )
    residuals = strategy.residuals(classifier.task_, probabilities, classifier.threshold_.value)
    chosen = strategy.choose(
        residuals,
        strategy.vectors(notes.texts.take(rows)),
        patients.of_note[rows],
        n,
        per_patient - patients.labelled,
        np.random.default_rng(seed),
    )
    uncertainty = strategy.uncertainty(residuals[chosen])
    return Suggestions(
        _table(notes, rows[chosen], uncertainty, with_text),
        len(notes.ids),
        LeftOut(**left_out),
        None if notes.groups is None else len(np.unique(patients.of_note[rows])),
        known is not None,
    )


def _refuse_repeated_ids(notes: Unlabelled, id: str | None) -> None:
    """Raise if ids repeat: labels could not be joined to their notes."""
    repeated = len(notes.ids) - len(set(notes.ids))
    if id is not None and repeated:
        raise InputError(
            f"column {id!r} repeats {repeated:,} ids: expected one for each note, so that labels "
            f"find their notes again"
        )


@dataclass(frozen=True, slots=True)
class _Labelled:
    """Texts of the notes that have a label and, if they are known, their patients."""

    texts: Texts
    groups: list[str]


def _labelled_notes(out: Path, labelled: Any, text: str, options: ReadOptions) -> _Labelled | None:
    """Return the notes that have a label; None if there is no table of them."""
    columns, its_own = _table_of_study(out) or (Columns(text=text), None)
    source = its_own if labelled is None else labelled
    if source is None:
        return None
    table = open_table(source, **options)
    if columns.text not in table.schema:
        raise InputError(f"no column {columns.text!r} in the table of labelled notes")
    labels = [name for name in columns.label if name in table.schema]
    group = columns.group if columns.group in table.schema else None
    wanted = [name for name in (columns.text, *labels, group) if name is not None]
    whole = whole_floats(table, wanted)
    texts, groups = TextWriter(), list[str]()
    for batch in table.batches(wanted):
        has_label = np.ones(len(batch), dtype=np.bool_)
        if labels:
            has_label = np.any([_is_there(batch[name]) for name in labels], axis=0)
        batch = batch.filter(has_label)
        texts.append(as_text(batch[columns.text]).drop_nulls().to_list())
        if group is not None:
            groups += as_text(batch[group], group in whole).drop_nulls().str.strip_chars().to_list()
    return _Labelled(texts.finish(), groups)


@dataclass(frozen=True, slots=True)
class _Patients:
    """Number of each note's patient [note], and of labelled notes of each patient [patient]."""

    of_note: NDArray[np.int64]
    labelled: NDArray[np.int64]


def _patients(notes: Unlabelled, known: _Labelled | None) -> _Patients:
    """Return the patients of the notes; without a column of theirs each note has its own."""
    if notes.groups is None:
        return _Patients(np.arange(len(notes.ids)), np.zeros(len(notes.ids), dtype=np.int64))
    names, of_note = np.unique(list(notes.groups), return_inverse=True)
    counts = Counter(() if known is None else known.groups)
    return _Patients(of_note, np.array([counts[name] for name in names.tolist()], dtype=np.int64))


def _table_of_study(out: Path) -> tuple[Columns, Path | None] | None:
    """Return the columns of the table that a study read, and its path if it is still there."""
    for folder in (out, out.absolute().parent):
        data = (read_json(folder / STUDY) or {}).get("data") or {}
        if data.get("columns") is not None:
            source = Path(data["source"])
            return Columns(**data["columns"]), source if source.exists() else None
    return None


def _is_there(column: pl.Series) -> NDArray[np.bool_]:
    """Return where a column of labels has one."""
    nested = column.dtype.is_nested()
    return (column if nested else as_text(column)).is_not_null().to_numpy()


def _not_labelled(
    texts: Texts, known: Texts | None, most: int
) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Return the rows of notes that may be suggested, and the numbers of the others by reason."""
    hashes, taken = _hashes(texts), _hashes(known or Texts.of(()))
    first = np.zeros(len(hashes), dtype=np.bool_)
    first[np.unique(hashes, return_index=True)[1]] = True
    labelled = np.isin(hashes, taken)
    rows = np.flatnonzero(first & ~labelled)
    looked_at = rows[evenly_spaced(len(rows), most)]
    near = np.zeros(len(looked_at), dtype=np.bool_)
    if known and len(looked_at):
        both = Texts.join([known, texts.take(looked_at)])
        part_of = np.repeat([0, 1], [len(known), len(looked_at)])
        near[[row - len(known) for row, *_ in similar(both, part_of).pairs]] = True
    return looked_at[~near], {
        "labelled": int(labelled.sum()),
        "near_labelled": int(near.sum()),
        "repeated": int((~first & ~labelled).sum()),
        "not_looked_at": len(rows) - len(looked_at),
    }


def _hashes(texts: Texts) -> NDArray[np.uint64]:
    blocks = [text_hashes(pl.Series(block, dtype=pl.String)) for block in texts.blocks()]
    return np.concatenate([np.empty(0, np.uint64), *blocks])


def _scored(
    classifier: NoteClassifier, texts: Texts, progress: Progress
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return probabilities [note, class], as in the labels' order, and which notes can be read."""
    probabilities, readable, done = [], [], 0
    for block in texts.blocks(NOTES_AT_ONCE):
        probabilities.append(classifier.in_label_order(classifier.predict_proba(block)))
        readable.append(classifier.model_.readable(block))
        done += len(block)
        progress("score", done, len(texts))
    if not readable:
        return np.empty((0, len(classifier.classes_))), np.empty(0, np.bool_)
    return np.concatenate(probabilities), np.concatenate(readable)


def _table(
    notes: Unlabelled, rows: NDArray[np.int64], uncertainty: Floats, with_text: bool
) -> pl.DataFrame:
    """Return the list of suggestions, in the order of the rows."""
    columns: dict[str, Any] = {
        "order": np.arange(1, len(rows) + 1),
        "id": list(notes.ids.take(rows)),
        "group": None if notes.groups is None else list(notes.groups.take(rows)),
        "uncertainty": uncertainty.round(4),
        "text": list(notes.texts.take(rows)) if with_text else None,
    }
    return pl.DataFrame({name: values for name, values in columns.items() if values is not None})
