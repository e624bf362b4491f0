"""A study before anything is fitted: notes, split, runs and folder."""

import shutil
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.atomic_files import read_json
from clinadapt.core.device import environment
from clinadapt.core.errors import InputError
from clinadapt.core.run_context import Context, Progress
from clinadapt.data.notes import Notes
from clinadapt.data.patients import patients_of, split_by_patient
from clinadapt.data.site_split import site_names
from clinadapt.data.split import Split, make_split, read_split
from clinadapt.evaluation import metrics
from clinadapt.study.design import Design, Run, expand, load_design
from clinadapt.study.energy import Meter
from clinadapt.study.fit_run import Material, fit_run
from clinadapt.study.patient_runs import PatientRule
from clinadapt.study.run_store import RunStore

SPLIT_SETTINGS = ("test_fraction", "validation_fraction", "split_seed")  # as make_split takes them


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
        self.rule = PatientRule.of(self.design.model_dump())
        self.memory, self.hours = memory, hours
        self.sites = sites
        self.site_names = site_names(notes, sites) if sites is not None else []
        self._take(self._kept(notes) or self._material(notes, self._new_split(notes)))

    def _new_split(self, notes: Notes) -> Split:
        settings = [getattr(self.design, name) for name in SPLIT_SETTINGS]
        if self.rule is None:
            return make_split(notes, *settings)
        patients = patients_of(notes, self.rule.label)
        return split_by_patient(notes, patients, *settings)

    def _kept(self, notes: Notes) -> Material | None:
        """Return the notes with the split of the study that the folder holds.

        None if it holds no study of these notes and of these settings of the split.
        """
        about = read_json(self.out / "study.json")
        if about is None or any(
            about["design"].get(name) != getattr(self.design, name) for name in SPLIT_SETTINGS
        ):
            return None
        split = read_split(self.out / "split.json", notes.ids)
        if split is None:
            return None
        material = self._material(notes, split)
        return material if material.fingerprint == about["data"]["fingerprint"] else None

    def _material(self, notes: Notes, split: Split) -> Material:
        return Material(notes, split, self.metric, self.design.resamples, self.rule)

    def _take(self, material: Material) -> None:
        self.material = material
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
        other._take(replace(self.material, split=split))
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
