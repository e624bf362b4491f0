"""A study before anything is fitted: notes, split, runs and folder."""

import shutil
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.atomic_files import read_json
from clinadapt.core.device import environment
from clinadapt.core.errors import InputError
from clinadapt.core.run_context import Context, Progress
from clinadapt.data.notes import Notes
from clinadapt.data.patients import patients_of
from clinadapt.data.site_split import site_names
from clinadapt.data.split import Split, read_split
from clinadapt.evaluation import metrics
from clinadapt.study.design import Design, Run, expand, load_design
from clinadapt.study.energy import Meter
from clinadapt.study.fit_run import fit_run
from clinadapt.study.fold_choice import choose_folds
from clinadapt.study.material import Material, new_split
from clinadapt.study.run_store import RunStore

# Settings of the split; studies of earlier versions are not nested.
SPLIT_SETTINGS = {
    "test_fraction": None,
    "validation_fraction": None,
    "split_seed": None,
    "nested": False,
}


class StudySetup:
    """Notes, design and folder of a study, checked and expanded into runs.

    Parameters
    ----------
    notes : Notes
    design : str, path or mapping
        Name of a built-in study ("quick", "paper"), a TOML file, or its content as a mapping.
    out : path
        Folder of the results; it holds one study of one set of notes.
    encoders : sequence of str
        Encoders to use instead of those that the design names.
    overrides : mapping, optional
        Values to use instead of the design's own, such as ``max_tokens`` or ``seeds``.
    cache : path, optional
        Folder of cached features; default ``out/cache``. They reflect patient text.
    memory : int, optional
        Limit in bytes for each run. The run's result lists what was done to save memory; a run
        that still does not fit is skipped.
    hours : float, optional
        Limit for the study: a run that is predicted to take longer than the time left is skipped.
    sites : str, optional
        Column that describes the notes, such as a site, department or year. Every configuration
        is fitted again for each of its values on the notes of all others, and scored on its notes.
    energy : str, optional
        ISO code of the country whose electricity the runs use, such as "FRA": their energy is
        measured, or estimated where there is no meter. See `clinadapt.study.energy`.

    Raises
    ------
    InputError
        The design is not valid, or the notes cannot be split as it asks.
    """

    def __init__(
        self,
        notes: Notes,
        design: str | Path | Mapping[str, Any] = "quick",
        out: str | Path = "study",
        encoders: Sequence[str] = (),
        overrides: Mapping[str, Any] | None = None,
        cache: str | Path | None = None,
        memory: int | None = None,
        hours: float | None = None,
        sites: str | None = None,
        energy: str | None = None,
    ) -> None:
        self.meter = None if energy is None else Meter(energy)
        self.design: Design = load_design(design)
        if overrides:
            self.design = load_design({**self.design.model_dump(), **overrides})
        self.out = Path(out)
        self.cache = Path(cache) if cache is not None else self.out / "cache"
        self.encoders = tuple(encoders)
        self.runs = expand(self.design, encoders)
        if self.design.nested and self.design.curve is not None:
            raise InputError(
                "a curve needs a test part, and nested = true sets none aside: leave one of "
                "them out"
            )
        self.metric = self.design.metric or metrics.PRIMARY[notes.labels.task]
        if self.metric not in metrics.metric_names(notes.labels.task):
            known = ", ".join(metrics.metric_names(notes.labels.task))
            raise InputError(
                f"metric {self.metric!r} is not defined for this task; expected one of {known}"
            )
        if self.design.level == "note" and self.design.group_label is not None:
            raise InputError(
                'group_label is for studies of patients: set level = "group" (--level group) too'
            )
        self._patients = None
        if self.design.level == "group":
            self._patients = patients_of(notes, self.design.group_label)
        self.memory, self.hours = memory, hours
        self.sites = sites
        self.site_names = site_names(notes, sites) if sites is not None else []
        self._take(self._kept(notes) or self._new(notes))

    def _new(self, notes: Notes) -> Material:
        split = new_split(notes, self.design, self._patients)
        single = self._material(notes, split, 1)
        units, size = single.units, len(single.labelled_rows)
        folds = choose_folds(self.design, self.runs, units.notes, units.labelled_rows, size)
        return self._material(notes, split, folds)

    def _kept(self, notes: Notes) -> Material | None:
        """Return the notes with split and folds of the study that the folder holds.

        None if it holds no study of these notes and of these settings of the split.
        """
        about = read_json(self.out / "study.json")
        if about is None or any(
            about["design"].get(name, default) != getattr(self.design, name)
            for name, default in SPLIT_SETTINGS.items()
        ):
            return None
        split = read_split(self.out / "split.json", notes.ids)
        if split is None:
            return None
        folds = about["design"].get("folds", 1)  # studies of earlier versions have none
        if self.design.folds not in ("auto", folds):
            return None
        material = self._material(notes, split, folds)
        return material if material.fingerprint == about["data"]["fingerprint"] else None

    def _material(self, notes: Notes, split: Split, folds: int) -> Material:
        design = self.design.model_copy(update={"folds": folds})
        return Material(notes, split, self.metric, design, self._patients)

    def _take(self, material: Material) -> None:
        self.material, self.design = material, material.design
        self.folders = RunStore(self.out, self.runs, material.fingerprint, self.metric)

    @property
    def notes(self) -> Notes:
        """All notes."""
        return self.material.notes

    @property
    def split(self) -> Split:
        """Row numbers of the notes of each part."""
        return self.material.split

    def under(self, split: Split, folder: str) -> Self:
        """Return the same study with another split, in a folder below its own."""
        other = copy(self)
        other.out = self.out / folder
        other._take(self.material.under(split))
        return other

    def probe(
        self, run: Run, rows: Mapping[str, NDArray[np.int64]], out: Path, progress: Progress
    ) -> dict[str, Any]:
        """Fit a run on some notes of each part, apart from the study's own results.

        Parameters
        ----------
        run : Run
        rows : mapping of str to ndarray of int64
            Row numbers of the notes, by the name of the part.
        out : Path
            Folder for cached features, in ``cache``, and for bundle and predictions, in ``run``.
        progress : callable

        Returns
        -------
        dict
            The run's part of ``result.json``.
        """
        folder = out / "run"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        context = Context(cache=out / "cache", memory=self.memory, progress=progress)
        return fit_run(self.material.take(rows), run, "probe", folder, context, environment())
