"""Scores into a file, through a ledger beside it that lives as long as the run is unfinished.

The ledger is an SQLite file, ``OUT.partial``: a batch's scores, its notes set aside, its ids and
the state of the run are one transaction, so a kill loses at most the batch at hand. Finished, it is
written out and deleted. It holds ids and predictions, no texts, and only its owner reads it.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from clinadapt.core.errors import InputError
from clinadapt.core.permissions import OWNER_ONLY
from clinadapt.data import prediction_tables
from clinadapt.deployment.scoring.interfaces import Scores, Source, State
from clinadapt.deployment.scoring.loop import refuse
from clinadapt.deployment.scoring.output_layouts import predictions, write_aside

SUFFIX = ".partial"
SCHEMA = """
CREATE TABLE run (identity TEXT NOT NULL, part INTEGER NOT NULL, state TEXT NOT NULL);
CREATE TABLE part (number INTEGER PRIMARY KEY, scores BLOB NOT NULL, aside BLOB NOT NULL);
CREATE TABLE scored (id TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class FileScores:
    """A Parquet or CSV file.

    Parameters
    ----------
    out : Path
        ``.parquet`` or ``.csv``; appears at once, whole, in the order of reading. In CSV several
        labels are joined by ``|``.
    aside : Path
        CSV of the notes that were not scored; absent if all were.
    about : mapping of str to str
        Becomes Parquet's key-value metadata.
    layout : callable
        Makes the rows of the file of the `Scores` of each task.
    """

    id_type: pl.DataType = pl.String()

    def __init__(
        self,
        out: Path,
        aside: Path,
        about: Mapping[str, str],
        layout: Callable[[Mapping[str, Scores]], pl.DataFrame] = predictions,
    ) -> None:
        if out.suffix not in (".parquet", ".csv"):
            raise InputError(f"expected --out to end in .parquet or .csv, got {out.name!r}")
        self.out, self.aside, self.about, self.layout = out, aside, about, layout
        self.path = out.with_name(out.name + SUFFIX)
        self._remembers_ids = False

    def begin(
        self, identity: dict[str, Any], versions: Mapping[str, str], source: Source, anew: bool
    ) -> State:
        """Open the ledger; see `Destination`."""
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
        """Open the file, and tell identity and state of the run in it, if there is one."""
        self.path.touch(OWNER_ONLY)  # ids and predictions are patient data
        self._file = sqlite3.connect(self.path, timeout=0)
        try:
            self._file.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._file.execute("BEGIN IMMEDIATE")
            if not self._file.execute("SELECT * FROM sqlite_master").fetchall():
                for statement in SCHEMA.strip().split("\n"):
                    self._file.execute(statement)
            found = self._file.execute("SELECT identity, state FROM run").fetchone()
            self._file.commit()
        except sqlite3.OperationalError:
            raise InputError(
                f"{self.path} is in use: another process writes this output. Wait until it ends"
            ) from None
        except sqlite3.DatabaseError:
            raise InputError(
                f"{self.path} is not the ledger of an unfinished run: remove it, or choose "
                "another --out"
            ) from None
        return None if found is None else (json.loads(found[0]), State(**json.loads(found[1])))

    def _remove(self) -> None:
        self._file.close()
        self.path.unlink()

    def scored_among(self, ids: pl.Series) -> dict[str, pl.Series]:
        """Those of some ids that are in the ledger, where each note has all its scores."""
        found = ids.clear()
        if self._remembers_ids:
            query = "SELECT value FROM json_each(?) WHERE value IN (SELECT id FROM scored)"
            rows = self._file.execute(query, (json.dumps(ids.to_list()),))
            found = pl.Series([id for (id,) in rows], dtype=pl.String)
        return dict.fromkeys(self._tasks, found)

    def write(
        self, scores: Mapping[str, Scores], aside: pl.DataFrame, before: State, after: State
    ) -> None:
        """Take a batch; see `Destination`."""
        blobs = _packed(self.layout(scores)), _packed(aside)
        with self._file:
            moved = self._file.execute(
                "UPDATE run SET part = ?, state = ? WHERE part = ?",
                (after.part, json.dumps(asdict(after)), before.part),
            )
            if moved.rowcount != 1:
                raise InputError(f"{self.path}: another process goes on with this run")
            self._file.execute("INSERT INTO part VALUES (?, ?, ?)", (after.part, *blobs))
            if self._remembers_ids:
                ids = ((id,) for id in scores[self._tasks[0]].notes["id"])
                self._file.executemany("INSERT INTO scored VALUES (?)", ids)

    def finish(self) -> None:
        """Write the output and the side file, and delete the ledger."""
        write_aside((row for frame in self._frames("aside") for row in frame.rows()), self.aside)
        prediction_tables.write_predictions(self._frames("scores"), self.out, self.about)
        self._remove()

    def close(self) -> None:
        """Let go of the ledger."""
        self._file.close()

    def _frames(self, column: str) -> Iterator[pl.DataFrame]:
        for (blob,) in self._file.execute(f"SELECT {column} FROM part ORDER BY number"):
            yield pl.read_ipc(BytesIO(blob))


def _packed(frame: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    frame.write_ipc(buffer, compression="zstd")
    return buffer.getvalue()
