"""Scores stored notes with bundles: from files or a database, to a file or a database."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinadapt.core.errors import InputError
from clinadapt.core.output_guard import Output, check_outputs, csv_with
from clinadapt.core.run_context import Progress, no_progress
from clinadapt.data.tables.opening import SUFFIXES
from clinadapt.data.tables.table import ReadOptions, Tell
from clinadapt.deployment.scoring import meds, output_layouts
from clinadapt.deployment.scoring.fhir_source import SUFFIXES as FHIR_SUFFIXES
from clinadapt.deployment.scoring.fhir_source import FhirNotes
from clinadapt.deployment.scoring.file_sink import FileScores, is_ledger, ledger_path
from clinadapt.deployment.scoring.file_source import TableNotes, find_files
from clinadapt.deployment.scoring.interfaces import Destination, NoteSource, State
from clinadapt.deployment.scoring.loop import score
from clinadapt.evaluation.abstention import Promise
from clinadapt.evaluation.calibration_maps import Scale
from clinadapt.models.bundle.decision_rule import DecisionRule, named_thresholds, rules_of
from clinadapt.models.bundle.integrity import RECORD
from clinadapt.models.bundle.promise import check_promise
from clinadapt.models.bundle.record import fingerprint, name_of, named_bundles, read_record

if TYPE_CHECKING:
    import sqlalchemy as sa

OMOP = {"text": "note_text", "id": "note_id", "subject": "person_id", "time": "note_datetime"}


@dataclass(frozen=True)
class Prediction:
    """A scoring job: its bundles, its notes and the destination of its scores.

    Attributes
    ----------
    bundle : Path, or mapping of str to Path
        Bundle folder, such as ``OUT/best``; or several folders by task name.
    notes : sequence of str
        Files, folders and patterns. If empty, notes are read from the database.
    out : Path
        Output file, ``.parquet`` or ``.csv``; not used with `into`.
    text, id : str, optional
        Columns. Default: ``text`` and the row number; in a database, ``note_text`` and
        ``note_id``.
    encoding, delimiter, missing
        How to read the files; see `clinadapt.data.tables.table.ReadOptions`.
    fhir : bool
        True if the files are FHIR resources in NDJSON or JSON.
    convert : bool
        True to turn attachments in HTML and RTF into text where there is no plain text.
    database : str, optional
        URL, such as ``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST/DATABASE``.
    database_file : Path, optional
        File that contains the URL, instead of `database`.
    table : str
        Database table with the notes.
    into : str, optional
        Database table for the scores: ``note_nlp``, or another one, which is created if it does
        not exist.
    meds : bool
        True to write the prediction schema of MEDS.
    subject, time : str, optional
        Columns for MEDS. Default in a database: ``person_id`` and ``note_datetime``. FHIR
        resources need none.
    group : str, optional
        Column of the patient: bundles that classify patients need it, and no others take it. FHIR
        resources say whose they are.
    aside : Path, optional
        CSV file for the notes that were not scored. Default: ``OUT.aside.csv`` or
        ``INTO.aside.csv``.
    anew : bool
        True to abandon an unfinished run with other settings.
    scale : {"raw", "calibrated"}, optional
        Whether probabilities are the models' own or calibrated; default: as the bundles say.
    threshold : sequence of str
        Thresholds instead of the bundles' own: a number, or ``NAME=NUMBER`` for a task.
    promise : Promise, optional
        Leave notes to a person, so that the answers that are given keep it.
    """

    bundle: Path | Mapping[str, Path]
    notes: Sequence[str] = ()
    out: Path = Path("predictions.parquet")
    text: str | None = None
    id: str | None = None
    encoding: str = "utf-8"
    delimiter: str | None = None
    missing: Sequence[str] | None = None
    fhir: bool = False
    convert: bool = False
    database: str | None = None
    database_file: Path | None = None
    table: str = "note"
    into: str | None = None
    meds: bool = False
    subject: str | None = None
    time: str | None = None
    group: str | None = None
    aside: Path | None = None
    anew: bool = False
    scale: Scale | None = None
    threshold: Sequence[str] = ()
    promise: Promise | None = None

    def run(self, progress: Progress = no_progress, tell: Tell | None = None) -> State:
        """Score every note once, or resume a run that was stopped.

        Parameters
        ----------
        progress : callable, optional
        tell : callable, optional
            Function that is told, in sentences, how the files are read if not as usual.

        Returns
        -------
        State
            Numbers of notes read, scored and set aside, those before a stop included.

        Raises
        ------
        InputError
            If options conflict, a folder is not a bundle, notes cannot be read or there is an
            unfinished run with other settings.
        MissingExtraError
            If the database libraries are not installed.
        """
        records = {task: read_record(folder) for task, folder in self.bundles.items()}
        of_patients = self.of_patients
        self._check(of_patients)
        if self.meds:
            meds.check_tasks([record["task"] for record in records.values()])
        self._check_outputs()
        thresholds = named_thresholds(self.threshold, list(records))
        rules = rules_of(self.bundles, records, self.scale, thresholds)
        if self.promise is not None:
            check_promise(self.promise, records, rules)
        versions = {task: rules[task].version(fingerprint(at)) for task, at in self.bundles.items()}
        if len(set(versions.values())) < len(versions):
            raise InputError(
                f"some of the bundles {', '.join(versions)} are identical: give each only once"
            )
        from clinadapt.models.shared_encoder import Together  # after the checks: it loads torch

        source, destination = self._source(tell), self._destination(records, rules, progress)
        if of_patients:
            from clinadapt.deployment.scoring.patient_source import PatientNotes

            source = PatientNotes(source, "subject" if self.fhir else "group")
        settings: dict[str, Any] = {"layout": "meds" if self.meds else "predictions"}
        if len(records) > 1:  # task names become column names
            settings["tasks"] = " ".join(records)
        if self.scale:
            settings["probabilities"] = self.scale
        if thresholds:
            settings["threshold"] = ", ".join(f"{task} {thresholds[task]:g}" for task in thresholds)
        if self.promise is not None:
            settings["abstain"] = asdict(self.promise)
        return score(
            Together.load(self.bundles, self.scale, thresholds),
            versions,
            source,
            destination,
            settings,
            meds.with_reasons if self.meds else None,
            self.anew,
            progress,
            self.promise,
        )

    @property
    def rules(self) -> dict[str, DecisionRule]:
        """How each bundle is asked to predict, by task name."""
        records = {task: read_record(folder) for task, folder in self.bundles.items()}
        thresholds = named_thresholds(self.threshold, list(records))
        return rules_of(self.bundles, records, self.scale, thresholds)

    @property
    def bundles(self) -> dict[str, Path]:
        """Bundle folders by task name."""
        if isinstance(self.bundle, Mapping):
            return dict(self.bundle)
        return {name_of(self.bundle): Path(self.bundle)}

    @property
    def aside_path(self) -> Path:
        """CSV file for the notes that were not scored."""
        if self.aside is not None:
            return self.aside
        if self.into is not None:
            return Path(re.sub(r"[^\w.-]+", "_", self.into) + ".aside.csv")
        return self.out.with_suffix(".aside.csv")

    @property
    def of_patients(self) -> bool:
        """True if the bundles classify patients; an error if only some do."""
        levels = {task: read_record(at).get("level", "note") for task, at in self.bundles.items()}
        if len(set(levels.values())) > 1:
            listed = ", ".join(task for task, level in levels.items() if level == "group")
            raise InputError(
                f"these bundles classify patients, the others notes: {listed}. Score them in two "
                "runs"
            )
        return "group" in levels.values()

    def _check(self, of_patients: bool) -> None:
        named = ("text", "id", "table", "into", "subject", "time", "group")
        given = {name: getattr(self, name) for name in named}
        problems = [
            f"--{name} is blank: give a name, or leave the option out"
            for name, value in given.items()
            if value is not None and not value.strip()
        ]
        if not self.notes and not self._has_database:
            problems.append("no notes: give files, or a database that contains them (--database)")
        if self.convert and not self.fhir:
            problems.append("--convert applies to FHIR resources only: give --fhir, or remove it")
        if self.into is not None and not self._has_database:
            problems.append("--into requires a database (--database)")
        if self.meds and self.into is not None:
            problems.append("--meds applies to output files only: remove --into")
        if self.into is not None and self.notes and self.id is None and not self.fhir:
            problems.append("--into requires an id column (--id): row numbers are not stable ids")
        if self.meds and self.notes and not self.fhir and not (self.subject and self.time):
            problems.append("--meds requires the subject and time columns: --subject and --time")
        problems += self._patient_problems() if of_patients else []
        if self.group is not None and not of_patients:
            problems.append("--group is for bundles that classify patients; this one reads notes")
        if self.promise is not None and (self.meds or self.into is not None):
            problems.append(
                "--abstain writes columns that only a file of predictions has: remove "
                f"{'--meds' if self.meds else '--into'}"
            )
        if problems:
            raise InputError(problems)

    def _patient_problems(self) -> list[str]:
        """Return what does not go with a bundle that classifies patients."""
        problems = []
        if self.group is None and not self.fhir:
            problems.append(
                "this bundle classifies patients, from all notes of each: name the column of the "
                "patient with --group"
            )
        if self.group is not None and self.fhir:
            problems.append("--group is not for FHIR resources, whose subject is the patient")
        if self.into is not None:
            problems.append(
                "--into stores a score per note, and this bundle gives one per patient: write a "
                "file with --out"
            )
        if self.meds:
            problems.append(
                "--meds needs the time of each prediction, and a patient's notes have several: "
                "remove --meds"
            )
        return problems

    def _check_outputs(self) -> None:
        """Refuse outputs that would overwrite what is read, or a file that is not clinadapt's."""
        aside = Output(
            self.aside_path,
            "--aside",
            csv_with(*output_layouts.ASIDE_COLUMNS),
        )
        outputs = [aside]
        if self.into is None:
            outputs.append(Output(self.out, "--out", output_layouts.is_scores))
            outputs.append(Output(ledger_path(self.out), "--out", is_ledger, beside=True))
        read: list[Path | str | None] = [*self.bundles.values(), self.database_file]
        if self._has_database:
            from clinadapt.deployment.scoring.database import file_of

            read.append(file_of(self._url))
        # Files of notes by name first: an output in a folder of notes is left out of them.
        read += [path for path in map(Path, self.notes) if not path.is_dir()]
        check_outputs(outputs, read)
        check_outputs(outputs, self._files)

    @cached_property
    def _files(self) -> list[Path]:
        """Files of notes, without those that the run itself writes."""
        own = (self.out, ledger_path(self.out), self.aside_path)
        suffixes = FHIR_SUFFIXES if self.fhir else SUFFIXES
        return find_files(self.notes, suffixes, own) if self.notes else []

    @property
    def hosts(self) -> list[str]:
        """Host names that the run must be able to reach: those of the database, if it is remote."""
        if (self.notes and self.into is None) or not self._has_database:
            return []
        from clinadapt.deployment.scoring.database import hosts_of

        return hosts_of(self._url)

    @property
    def _has_database(self) -> bool:
        return self.database is not None or self.database_file is not None

    @cached_property
    def _engine(self) -> "sa.Engine":
        from clinadapt.deployment.scoring.database import connect

        return connect(self._url)

    @property
    def _url(self) -> str:
        file = self.database_file
        if file is None:
            return self.database or ""
        if not file.is_file():
            raise InputError(f"no such file: {file}; expected a file that contains a database URL")
        return file.read_text(encoding="utf-8").strip()

    def _source(self, tell: Tell | None = None) -> NoteSource:
        further = {"subject": self.subject, "time": self.time} if self.meds else {}
        if self.group is not None:
            further["group"] = self.group
        if self.notes and self.fhir:
            return FhirNotes(self._files, self.convert)
        if self.notes:
            options = ReadOptions(
                encoding=self.encoding, delimiter=self.delimiter, missing=self.missing
            )
            if tell is not None:
                options["tell"] = tell
            return TableNotes(self._files, self.text or "text", self.id, **further, **options)
        from clinadapt.deployment.scoring.database_source import DatabaseNotes

        columns = {"text": self.text, "id": self.id, **further}
        chosen = {role: name or OMOP[role] for role, name in columns.items()}
        return DatabaseNotes(self._engine, self.table, **chosen)

    def _destination(
        self,
        records: Mapping[str, dict[str, Any]],
        rules: Mapping[str, DecisionRule],
        progress: Progress,
    ) -> Destination:
        if self.into is not None:
            from clinadapt.deployment.scoring.database_sink import DatabaseScores

            return DatabaseScores(self._engine, self.into, self.aside_path)
        layout = meds.predictions if self.meds else output_layouts.predictions

        def waiting() -> None:
            progress(f"waiting for another process that writes {self.out.name}", 0, 1)

        about = _about(records.values()) | _decided(rules)
        return FileScores(self.out, self.aside_path, about, layout, waiting)


def bundles_first(arguments: Sequence[str]) -> tuple[Path | dict[str, Path], list[str]]:
    """Separate bundles from notes in a list that starts with bundles.

    Parameters
    ----------
    arguments : sequence of str
        A bundle, more bundles as ``FOLDER`` or ``NAME=FOLDER``, then files, folders and patterns.

    Returns
    -------
    (Path or dict of str to Path, list of str)
        The bundle, or several by task name; and the notes.

    Raises
    ------
    InputError
        If two bundles have the same name, or a name is not valid.
    """
    not_bundles = (at for at, argument in enumerate(arguments) if not _is_bundle(argument))
    end = next(not_bundles, len(arguments))
    if end == 0 or (end == 1 and (Path(arguments[0]) / RECORD).is_file()):
        # If it is not a bundle, opening it reports why.
        return Path(arguments[0]), list(arguments[1:])
    return named_bundles(arguments[:end]), list(arguments[end:])


def _is_bundle(argument: str) -> bool:
    return (Path(argument.rpartition("=")[2]) / RECORD).is_file()


def _about(records: Iterable[dict[str, Any]]) -> dict[str, str]:
    synthetic = [record["provenance"].get("data", {}).get("synthetic", False) for record in records]
    return {"model_fitted_on": "synthetic notes" if any(synthetic) else "notes"}


def _decided(rules: Mapping[str, DecisionRule]) -> dict[str, str]:
    """Return probabilities and threshold of each task, as metadata of a file."""
    prefix = {task: f"{task}." if len(rules) > 1 else "" for task in rules}
    return {f"{prefix[task]}probabilities": rule.scale for task, rule in rules.items()} | {
        f"{prefix[task]}threshold": str(rule.threshold)
        for task, rule in rules.items()
        if rule.threshold is not None
    }
