"""JSON: one object per line, an array of objects, or objects that stretch over several lines."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from clinadapt.core.errors import InputError
from clinadapt.data.tables import table
from clinadapt.data.tables.json_values import Problem, is_lines, values_of_lines, values_of_stream
from clinadapt.data.tables.table import MISSING_WORDS, Table
from clinadapt.data.tables.text_file import TextFile, decoded
from clinadapt.data.tables.values import Types, as_frame

SHOWN = 10
MANY_KEYS = 5


def open_json(path: Path, suffix: str, encoding: str = "utf-8", mark: bool = False) -> Table:
    """Open objects in JSON, each of which is a row.

    Parameters
    ----------
    path : Path
    suffix : str
        Suffix that names the format: ".json", ".jsonl" or ".ndjson".
    encoding : str
    mark : bool
        See `clinadapt.data.tables.text_file.decoded`.

    Raises
    ------
    InputError
        Something is no object or no JSON; with line numbers.
    """
    found = decoded(path, encoding, mark, _Objects)
    if problems := found.problems():
        raise InputError([f"{path.name}: {problem}" for problem in problems])
    schema = found.types.schema()

    def read(names: list[str]) -> Iterator[pl.DataFrame]:
        rows = (value for _, value in found.values())
        while some := list(islice(rows, table.ROWS_AT_ONCE)):
            yield as_frame(some, schema, names)

    return Table(
        schema=schema,
        read=read,
        count=lambda: found.rows,
        read_as=""
        if found.by_line or suffix == ".json"
        else "JSON that is not one object per line",
        names_are_data=found.keys_are_data,
        words=MISSING_WORDS,
    )


class _Objects:
    """The objects of a file; all are looked at once, when this is made."""

    def __init__(self, text: TextFile) -> None:
        self.text, self.by_line = text, is_lines(text)
        self.rows = 0
        self.types = Types()
        self.keys: Counter[str] = Counter()
        self.lines: dict[Problem, list[int]] = {}
        for line, value in self.values():
            self.rows += 1
            if isinstance(value, dict):
                self.keys.update(value.keys())
                for name, cell in value.items():
                    self.types.add(name, cell)
            else:
                problem = value if isinstance(value, Problem) else Problem.NO_OBJECT
                self.lines.setdefault(problem, []).append(line)

    def values(self) -> Iterator[tuple[int, Any]]:
        """Yield the line in which each value begins, and the value or what is wrong with it."""
        return values_of_lines(self.text) if self.by_line else values_of_stream(self.text)

    def problems(self) -> list[str]:
        """Return why the file is no table, with line numbers."""
        if not self.rows:
            return ["the file is empty: it has no objects"]
        kinds = self.types.schema().dtypes()
        if self.rows == 1 and kinds and all(kind.is_nested() or kind.is_object() for kind in kinds):
            return [
                f"expected one object per line, or an array of objects; got one object that holds "
                f"{len(kinds)} others, whose names may be data (pandas writes the expected form "
                f"with to_json(orient='records', lines=True))"
            ]
        return [f"{_shown(lines)}: {problem.value}" for problem, lines in self.lines.items()]

    @property
    def keys_are_data(self) -> bool:
        """Whether most keys are in few of the objects, as if texts or ids were keys."""
        few = sum(count <= max(1, self.rows // 10) for count in self.keys.values())
        return len(self.keys) > MANY_KEYS and self.rows > 1 and few > len(self.keys) / 2


def _shown(lines: list[int]) -> str:
    lines = list(dict.fromkeys(lines))  # a line may have several values
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return f"line(s) {', '.join(map(str, lines[:SHOWN]))}{more}"
