"""Score stored notes with a bundle: from files or a database, into a file or a database."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinadapt.core.errors import InputError
from clinadapt.core.run_context import Progress, no_progress
from clinadapt.deployment.scoring import meds, output_layouts
from clinadapt.deployment.scoring.fhir_source import SUFFIXES as FHIR_SUFFIXES
from clinadapt.deployment.scoring.fhir_source import FhirNotes
from clinadapt.deployment.scoring.file_sink import SUFFIX, FileScores
from clinadapt.deployment.scoring.file_source import SUFFIXES, TableNotes, find_files
from clinadapt.deployment.scoring.interfaces import Destination, Source, State
from clinadapt.deployment.scoring.loop import score
from clinadapt.models.bundle.integrity import RECORD
from clinadapt.models.bundle.record import fingerprint, name_of, read_record
from clinadapt.models.shared_encoder import Together, named_bundles

if TYPE_CHECKING:
    import sqlalchemy as sa

OMOP = {"text": "note_text", "id": "note_id", "subject": "person_id", "time": "note_datetime"}


@dataclass(frozen=True)
class Prediction:
    """Where notes are and where scores go.

    Attributes
    ----------
    bundle : Path, or mapping of str to Path
        Folder such as ``OUT/best``; or several by the name of their task.
    notes : sequence of str
        Files, folders and patterns; without any, the database's table is read.
    out : Path
        ``.parquet`` or ``.csv``, unless scores go `into` the database.
    text, id : str, optional
        Columns; default ``text`` and the row number, in a database ``note_text`` and ``note_id``.
    encoding : str
        Text encoding of CSV, TSV and JSON lines.
    fhir : bool
        The files hold FHIR resources as NDJSON.
    database : str, optional
        URL, such as ``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST/DATABASE``.
    database_file : Path, optional
        A file that holds the URL, instead.
    table : str
        Of the database, holding notes.
    into : str, optional
        Table of the database for the scores; ``note_nlp``, or one that is made if it is absent.
    meds : bool
        Write the prediction schema of MEDS.
    subject, time : str, optional
        Columns for it; default in a database ``person_id`` and ``note_datetime``; in FHIR they are
        known.
    aside : Path, optional
        CSV of the notes that were not scored; default ``OUT.aside.csv``, or ``INTO.aside.csv``.
    anew : bool
        Give up an unfinished run that differs.
    """

    bundle: Path | Mapping[str, Path]
    notes: Sequence[str] = ()
    out: Path = Path("predictions.parquet")
    text: str | None = None
    id: str | None = None
    encoding: str = "utf-8"
    fhir: bool = False
    database: str | None = None
    database_file: Path | None = None
    table: str = "note"
    into: str | None = None
    meds: bool = False
    subject: str | None = None
    time: str | None = None
    aside: Path | None = None
    anew: bool = False

    def run(self, progress: Progress = no_progress) -> State:
        """Score every note once; a run that was stopped goes on where it was.

        Returns
        -------
        State
            Notes read, scored and set aside, earlier stretches included.

        Raises
        ------
        InputError
            Options that do not go together, not a bundle, unreadable notes, or an unfinished run
            that differs.
        MissingExtraError
            The database's libraries are not installed.
        """
        records = {task: read_record(folder) for task, folder in self.bundles.items()}
        self._check()
        if self.meds:
            meds.check_tasks([record["task"] for record in records.values()])
        versions = {task: fingerprint(folder) for task, folder in self.bundles.items()}
        if len(set(versions.values())) < len(versions):
            raise InputError(
                f"some of the bundles {', '.join(versions)} are the same: name each once"
            )
        source, destination = self._source(), self._destination(records)
        settings: dict[str, Any] = {"layout": "meds" if self.meds else "predictions"}
        if len(records) > 1:  # their columns are named so
            settings["tasks"] = " ".join(records)
        return score(
            Together.load(self.bundles),
            versions,
            source,
            destination,
            settings,
            meds.with_reasons if self.meds else None,
            self.anew,
            progress,
        )

    @property
    def bundles(self) -> dict[str, Path]:
        """Bundles by the name of their task."""
        if isinstance(self.bundle, Mapping):
            return dict(self.bundle)
        return {name_of(self.bundle): Path(self.bundle)}

    @property
    def aside_path(self) -> Path:
        """Where notes that were not scored are listed."""
        if self.aside is not None:
            return self.aside
        if self.into is not None:
            return Path(f"{self.into}.aside.csv")
        return self.out.with_suffix(".aside.csv")

    def _check(self) -> None:
        problems = []
        if not self.notes and not self._has_database:
            problems.append("no notes: name files, or a database that holds them (--database)")
        if self.into is not None and not self._has_database:
            problems.append("--into names a table: say of which database (--database)")
        if self.meds and self.into is not None:
            problems.append("--meds is a file's schema: leave out --into")
        if self.into is not None and self.notes and self.id is None and not self.fhir:
            problems.append(
                "in a database a row's number says nothing: name the ids' column (--id)"
            )
        if self.meds and self.notes and not self.fhir and not (self.subject and self.time):
            problems.append("--meds needs columns of subject and time: --subject and --time")
        if problems:
            raise InputError(problems)

    @property
    def hosts(self) -> list[str]:
        """Machines that a run has to reach: the database's, if it is on another one."""
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
            raise InputError(f"no such file: {file}; expected one that holds a database's URL")
        return file.read_text(encoding="utf-8").strip()

    def _source(self) -> Source:
        further = {"subject": self.subject, "time": self.time} if self.meds else {}
        own = (self.out, self.out.with_name(self.out.name + SUFFIX), self.aside_path)
        if self.notes and self.fhir:
            return FhirNotes(find_files(self.notes, FHIR_SUFFIXES, own))
        if self.notes:
            files = find_files(self.notes, SUFFIXES, own)
            return TableNotes(files, self.text or "text", self.id, self.encoding, **further)
        from clinadapt.deployment.scoring.database_source import DatabaseNotes

        columns = {"text": self.text, "id": self.id, **further}
        named = {role: name or OMOP[role] for role, name in columns.items()}
        return DatabaseNotes(self._engine, self.table, **named)

    def _destination(self, records: Mapping[str, dict[str, Any]]) -> Destination:
        if self.into is not None:
            from clinadapt.deployment.scoring.database_sink import DatabaseScores

            return DatabaseScores(self._engine, self.into, self.aside_path)
        layout = meds.predictions if self.meds else output_layouts.predictions
        return FileScores(self.out, self.aside_path, _about(records.values()), layout)


def bundles_first(arguments: Sequence[str]) -> tuple[Path | dict[str, Path], list[str]]:
    """Tell bundles from notes, in a list that begins with bundles.

    Parameters
    ----------
    arguments : sequence of str
        A bundle, further ones as ``FOLDER`` or ``NAME=FOLDER``, then files, folders and patterns.

    Returns
    -------
    (Path or dict of str to Path, list of str)
        The bundle, or several by the name of their task; the notes.

    Raises
    ------
    InputError
        Two bundles of one name, or a name that does not do.
    """
    end = next((at for at, one in enumerate(arguments) if not _is_bundle(one)), len(arguments))
    if end == 0 or (end == 1 and (Path(arguments[0]) / RECORD).is_file()):
        # What is not a bundle is told where it is opened.
        return Path(arguments[0]), list(arguments[1:])
    return named_bundles(arguments[:end]), list(arguments[end:])


def _is_bundle(argument: str) -> bool:
    return (Path(argument.rpartition("=")[2]) / RECORD).is_file()


def _about(records: Iterable[dict[str, Any]]) -> dict[str, str]:
    synthetic = [record["provenance"].get("data", {}).get("synthetic", False) for record in records]
    return {"model_fitted_on": "synthetic notes" if any(synthetic) else "notes"}
