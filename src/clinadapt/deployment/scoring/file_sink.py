"""Writes scores to a file, through a ledger that exists until the run is finished.

The ledger is an SQLite file, ``OUT.partial``. The scores of a batch, its notes set aside, its ids
and the state of the run are committed in one transaction, so a kill loses at most the current
batch. When the run is finished, the output is written from the ledger and the ledger is deleted. It
holds ids and predictions but no texts, and only its owner can read it.
"""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from clinadapt.core.errors import InputError, MachineError
from clinadapt.core.machine_faults import machine_faults_told
from clinadapt.core.output_guard import sqlite_tables
from clinadapt.core.permissions import OWNER_ONLY
from clinadapt.data import prediction_tables
from clinadapt.deployment.scoring.interfaces import NoteScores, NoteSource, State
from clinadapt.deployment.scoring.loop import refuse
from clinadapt.deployment.scoring.output_layouts import predictions, write_aside

POLL_SECONDS = 0.2
SCHEMA = """
CREATE TABLE run (identity TEXT NOT NULL, part INTEGER NOT NULL, state TEXT NOT NULL);
CREATE TABLE part (number INTEGER PRIMARY KEY, scores BLOB NOT NULL, aside BLOB NOT NULL);
CREATE TABLE scored (id TEXT PRIMARY KEY) WITHOUT ROWID;
"""


def ledger_path(out: Path) -> Path:
    """Return the path of the ledger of an output file."""
    return out.with_name(f"{out.name}.partial")


def is_ledger(path: Path) -> bool:
    """Return whether a file is a ledger, perhaps one without tables that was killed early."""
    try:
        return sqlite_tables(path) in (set(), {"run", "part", "scored"})
    except sqlite3.OperationalError:  # in use, which `FileScores.begin` tells
        return True


class FileScores:
    """Destination: a Parquet or CSV file.

    Parameters
    ----------
    out : Path
        ``.parquet`` or ``.csv``, written atomically, in reading order. In CSV, several labels are
        joined by ``|``.
    aside : Path
        CSV file for the notes that were not scored; not written if all were.
    about : mapping of str to str
        Key-value metadata of the Parquet file.
    layout : callable
        Returns the rows of the file, given the `NoteScores` of each task.
    waiting : callable
        Called once if another process writes this output, which is then waited for.
    """

    id_type: pl.DataType = pl.String()

    def __init__(
        self,
        out: Path,
        aside: Path,
        about: Mapping[str, str],
        layout: Callable[[Mapping[str, NoteScores]], pl.DataFrame] = predictions,
        waiting: Callable[[], None] = lambda: None,
    ) -> None:
        if out.suffix not in (".parquet", ".csv"):
            raise InputError(f"expected --out to end in .parquet or .csv, got {out.name!r}")
        self.out, self.aside, self.about, self.layout = out, aside, about, layout
        self.path, self._waiting = ledger_path(out), waiting
        self._remembers_ids = False

    def begin(
        self, identity: dict[str, Any], versions: Mapping[str, str], source: NoteSource, anew: bool
    ) -> State:
        """Open the ledger and return the state of the run; see `Destination`."""
        with machine_faults_told(self.path):
            return self._begin(identity, versions, source, anew)

    def _begin(
        self, identity: dict[str, Any], versions: Mapping[str, str], source: NoteSource, anew: bool
    ) -> State:
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self._tasks = list(versions)
        self._remembers_ids = source.ids_repeat
        known = self._open()
        if known is not None and known[0] != identity:
            if not anew:
                refuse(known[0], identity, self.path.name, known[1], "its scores are discarded")
            self._remove()
            known = self._open()
        if known is not None:
            return known[1]
        with self._file:
            state = State()
            row = (json.dumps(identity), state.part, json.dumps(asdict(state)))
            self._file.execute("INSERT INTO run VALUES (?, ?, ?)", row)
        return state

    def _open(self) -> tuple[dict[str, Any], State] | None:
        """Open the ledger; return the identity and state of the run in it, if there is one.

        If another process has the ledger, wait until that process ends.
        """
        for _ in _once_then_often(self._waiting):
            self.path.touch(OWNER_ONLY)  # ids and predictions are patient data
            before = self.path.stat().st_ino
            self._file = sqlite3.connect(self.path, timeout=0)
            try:
                self._file.execute("PRAGMA locking_mode = EXCLUSIVE")
                self._file.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                self._file.close()
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise
                continue
            # Whoever had it may have finished and deleted it meanwhile.
            if self.path.exists() and self.path.stat().st_ino == before:
                break
            self._file.close()
        if not self._file.execute("SELECT * FROM sqlite_master").fetchall():
            for statement in SCHEMA.strip().split("\n"):
                self._file.execute(statement)
        run = self._file.execute("SELECT identity, state FROM run").fetchone()
        self._file.commit()
        return None if run is None else (json.loads(run[0]), State(**json.loads(run[1])))

    def _remove(self) -> None:
        if os.name == "posix":
            # Deleted while it is locked, so that a process that waits never opens it again.
            self._file.execute("PRAGMA journal_mode = OFF")
            self.path.with_name(f"{self.path.name}-journal").unlink(missing_ok=True)
            self.path.unlink()
            self._file.close()
        else:
            self._file.close()
            self.path.unlink()

    def scored_among(self, ids: pl.Series) -> dict[str, pl.Series]:
        """Return the ids that are in the ledger, for each task: all tasks have scored them."""
        scored = ids.clear()
        if self._remembers_ids:
            query = "SELECT value FROM json_each(?) WHERE value IN (SELECT id FROM scored)"
            rows = self._file.execute(query, (json.dumps(ids.to_list()),))
            scored = pl.Series([id for (id,) in rows], dtype=pl.String)
        return dict.fromkeys(self._tasks, scored)

    def write(
        self, scores: Mapping[str, NoteScores], aside: pl.DataFrame, before: State, after: State
    ) -> None:
        """Store a batch; see `Destination`."""
        blobs = _packed(self.layout(scores)), _packed(aside)
        with machine_faults_told(self.path), self._file:
            update = self._file.execute(
                "UPDATE run SET part = ?, state = ? WHERE part = ?",
                (after.part, json.dumps(asdict(after)), before.part),
            )
            if update.rowcount != 1:
                raise MachineError(f"{self.path}: another process has resumed this run")
            self._file.execute("INSERT INTO part VALUES (?, ?, ?)", (after.part, *blobs))
            if self._remembers_ids:
                ids = ((id,) for id in scores[self._tasks[0]].notes["id"])
                self._file.executemany("INSERT INTO scored VALUES (?)", ids)

    def finish(self) -> None:
        """Write the output and the file of notes set aside, and delete the ledger."""
        with machine_faults_told(self.out):
            self._finish()

    def _finish(self) -> None:
        write_aside((row for frame in self._frames("aside") for row in frame.rows()), self.aside)
        prediction_tables.write_predictions(self._frames("scores"), self.out, self.about)
        self._remove()

    def close(self) -> None:
        """Close the ledger."""
        self._file.close()

    def _frames(self, column: str) -> Iterator[pl.DataFrame]:
        numbers = self._file.execute("SELECT number FROM part ORDER BY number").fetchall()
        query = f"SELECT {column} FROM part WHERE number = ?"
        for number in numbers:  # a query that is still open would keep the lock after `close`
            ((blob,),) = self._file.execute(query, number).fetchall()
            yield pl.read_ipc(BytesIO(blob))


def _once_then_often(waiting: Callable[[], None]) -> Iterator[None]:
    """Yield at once; after that, call `waiting`, and yield again and again after a pause."""
    yield
    waiting()
    while True:
        time.sleep(POLL_SECONDS)
        yield


def _packed(frame: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    frame.write_ipc(buffer, compression="zstd")
    return buffer.getvalue()
