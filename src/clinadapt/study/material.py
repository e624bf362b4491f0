"""What the runs of a study are fitted and scored on: notes, split and folds."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.errors import InputError
from clinadapt.data.folds import make_folds, most_folds
from clinadapt.data.notes import Notes
from clinadapt.data.patients import of_notes, patients_of
from clinadapt.data.split import PARTS, Split, carve_validation, make_split
from clinadapt.study.design import Design, identity


@dataclass(frozen=True, eq=False)
class Material:
    """Notes and split that a study's runs are fitted and scored on.

    Attributes
    ----------
    notes : Notes
    split : Split
        The test part is empty if the study is nested.
    metric : str
        Metric that thresholds and early stopping optimise.
    design : Design
        Its resamples, folds (a number), whether it is nested, and the seed and fraction of the
        split are used.
    patients : Notes, optional
        What is classified and scored, if it is patients: what
        `clinadapt.data.patients.patients_of` returns for the notes.
    """

    notes: Notes
    split: Split
    metric: str
    design: Design
    patients: Notes | None = None

    @cached_property
    def units(self) -> "Material":
        """The same with patients in place of notes, if they are what is scored; else itself."""
        if self.patients is None:
            return self
        return replace(self, notes=self.patients, split=self._of_patients, patients=None)

    @cached_property
    def _of_patients(self) -> Split:
        parts = self.split.parts().values()
        return Split(*(np.unique(self.notes.clusters[rows]) for rows in parts))

    @cached_property
    def parts(self) -> dict[str, Notes]:
        """Notes by the name of the part."""
        return {name: self.notes.take(rows) for name, rows in self.split.parts().items()}

    @cached_property
    def labelled_rows(self) -> NDArray[np.int64]:
        """Row numbers of the training and validation notes."""
        return np.union1d(self.split.train, self.split.validation)

    @cached_property
    def labelled(self) -> Notes:
        """Training and validation notes, in the order of their row numbers."""
        return self.notes.take(self.labelled_rows)

    @property
    def scored(self) -> dict[str, Notes]:
        """Notes, or patients, by the name of the part, as their predictions are kept."""
        return self.units.read

    @cached_property
    def read(self) -> dict[str, Notes]:
        """Notes by the name of the part, as they are predicted.

        With folds all labelled notes validate; in a nested study they are the test part as well.
        """
        parts = dict(self.parts)
        if self.folds:
            parts["validation"] = self.labelled
        if self.design.nested:
            parts["test"] = self.labelled
        return parts

    @cached_property
    def folds(self) -> tuple[Split, ...]:
        """Folds of the labelled notes; empty if one validation part decides."""
        if self.design.folds in (1, "auto"):
            return ()
        return self._divided(int(self.design.folds), self.design.split_seed)

    @cached_property
    def outer(self) -> "tuple[Material, ...]":
        """A study of its own for each fold of the outer division; empty if not nested."""
        if not self.design.nested:
            return ()
        # Another seed: with equal folds, the threshold would be chosen on the notes that it scores.
        splits = self._divided(int(self.design.folds), self.design.split_seed + 1)
        return tuple(self.under(split) for split in splits)

    def _divided(self, folds: int, seed: int) -> tuple[Split, ...]:
        if self.patients is not None:
            return tuple(of_notes(one, self.notes) for one in self.units._divided(folds, seed))
        fraction = self.design.validation_fraction
        return make_folds(self.notes, self.labelled_rows, folds, fraction, seed)

    @cached_property
    def fits(self) -> float:
        """Number of fits of a run, each counted by its share of the labelled notes."""
        # Each of n folds is predicted by a fit on n - 1 of them; then all are fitted.
        once = float(max(1, len(self.folds)))
        shares = [len(fold.labelled_rows) / len(self.labelled_rows) for fold in self.outer]
        inner = (share * fold.fits for share, fold in zip(shares, self.outer, strict=True))
        return once + sum(inner)

    def under(self, split: Split) -> "Material":
        """Return the same notes with another split, with as many folds as its notes allow."""
        single = self.design.model_copy(update={"nested": False})
        other = replace(self, split=split, design=single)
        if not self.folds:
            return other
        labelled = other.units.labelled
        most = most_folds(labelled.labels, labelled.clusters)
        folds = max(1, min(int(single.folds), most))
        return replace(other, design=single.model_copy(update={"folds": folds}))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything here that a result depends on, except the metric."""
        parts: list[Any] = [self.notes.fingerprint, self.design.resamples, _hashes(self.split)]
        if self.folds:
            parts.append([_hashes(fold) for fold in self.folds])
        if self.design.nested:
            parts.append([one.fingerprint for one in self.outer])
        if self.patients is not None:
            parts.append([self.patients.fingerprint, self.design.aggregation])
        return identity(*parts)

    def take(self, rows: Mapping[str, NDArray[np.int64]]) -> "Material":
        """Return the same for some notes of each part, given by row numbers, without folds."""
        ends = np.cumsum([len(rows[name]) for name in PARTS])
        chosen = np.concatenate([rows[name] for name in PARTS])
        split = Split(*np.split(np.arange(len(chosen)), ends[:-1]))
        single = self.design.model_copy(update={"folds": 1})
        notes = self.notes.take(chosen)
        patients = None if self.patients is None else patients_of(notes, single.group_label)
        return replace(self, notes=notes, split=split, design=single, patients=patients)


def _hashes(split: Split) -> dict[str, str]:
    parts = split.parts().items()
    return {name: hashlib.sha256(rows.tobytes()).hexdigest() for name, rows in parts}


def new_split(notes: Notes, design: Design, patients: Notes | None = None) -> Split:
    """Return the split that a design asks for.

    Parameters
    ----------
    notes : Notes
    design : Design
    patients : Notes, optional
        If they are what is scored, each part gets its share of the patients of every class.

    Raises
    ------
    InputError
        The notes cannot be split so.
    """
    if patients is not None and notes.parts is None:
        return of_notes(new_split(patients, design), notes)
    settings = design.validation_fraction, design.split_seed
    if not design.nested:
        return make_split(notes, design.test_fraction, *settings)
    if notes.parts is not None:
        raise InputError(
            "nested = true tests on every note in turn, and the notes have a test part: leave the "
            "column of the parts out, or set nested to false"
        )
    held = carve_validation(notes.labels.matrix, notes.clusters, *settings)
    return Split(np.flatnonzero(~held), np.flatnonzero(held), np.empty(0, np.int64))
