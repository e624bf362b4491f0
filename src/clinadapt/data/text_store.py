"""Column of strings that is stored on disk if it is large, to limit memory."""

import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import IO, Any, overload

import numpy as np
from numpy.typing import NDArray

IN_MEMORY = 32 * 2**20  # largest column, in bytes, that stays in memory
ROWS_AT_ONCE = 1024
NEAR_BYTES = 4096  # reading a gap of up to this size is cheaper than a second read
CODING = ("utf-8", "surrogatepass")  # Python's strings may contain lone surrogates

Rows = range | NDArray[np.int64]


class _Store:
    """Concatenated strings as bytes, in memory or in an unnamed file that ends with the process.

    The file is not mapped, because mapped pages would count as resident memory.
    """

    def __init__(self) -> None:
        self.memory = bytearray()
        self.file: IO[bytes] | None = None
        self.size = 0
        self.ends = np.zeros(1, dtype=np.int64)

    def append(self, content: bytes) -> None:
        self.size += len(content)
        if self.file is None and self.size > IN_MEMORY:
            self.file = tempfile.TemporaryFile(prefix="clinadapt-")  # noqa: SIM115 (finalized)
            weakref.finalize(self, self.file.close)
            self.file.write(self.memory)
            self.memory = bytearray()
        if self.file is None:
            self.memory += content
        else:
            self.file.write(content)

    def finish(self, lengths: list[NDArray[np.int64]]) -> None:
        self.ends = np.concatenate([[0], *lengths])
        np.cumsum(self.ends, out=self.ends)
        if self.file is not None:
            self.file.flush()

    def bytes(self, start: int, end: int) -> bytes:
        if self.file is None:
            return bytes(self.memory[start:end])
        return os.pread(self.file.fileno(), end - start, start)

    def strings(self, rows: NDArray[np.int64]) -> list[str]:
        """Return the strings of some rows, reading neighbours together and each byte once."""
        distinct, places = np.unique(rows, return_inverse=True)
        starts, ends = self.ends[distinct], self.ends[distinct + 1]
        first = np.flatnonzero(np.r_[True, starts[1:] - ends[:-1] > NEAR_BYTES])
        last = np.r_[first[1:], len(distinct)] - 1
        texts: list[str] = []
        for low, high in zip(first.tolist(), last.tolist(), strict=True):
            content = self.bytes(int(starts[low]), int(ends[high]))
            bounds = zip(
                (starts[low : high + 1] - starts[low]).tolist(),
                (ends[low : high + 1] - starts[low]).tolist(),
                strict=True,
            )
            texts += [content[start:end].decode(*CODING) for start, end in bounds]
        return [texts[place] for place in places.tolist()]


class Texts(Sequence[str]):
    """Sequence of strings that are read on access; slices and `take` are views.

    It is equal to any other sequence of the same strings. Create one with `Texts.of` or a
    `TextWriter`.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, store: _Store, rows: Rows) -> None:
        self._store = store
        self._rows = rows

    @classmethod
    def of(cls, strings: Iterable[str]) -> "Texts":
        """Return a column of these strings, or the argument itself if it is one already."""
        if isinstance(strings, Texts):
            return strings
        writer, source = TextWriter(), iter(strings)
        while block := list(islice(source, ROWS_AT_ONCE)):
            writer.append(block)
        return writer.finish()

    @classmethod
    def join(cls, parts: Sequence[Iterable[str]]) -> "Texts":
        """Return the strings of all parts: a view if they belong to one column, else a copy."""
        columns = [cls.of(part) for part in parts]
        if len({id(column._store) for column in columns}) == 1:
            rows = np.concatenate([np.asarray(column._rows, np.int64) for column in columns])
            return cls(columns[0]._store, rows)
        return cls.of(text for column in columns for text in column)

    def take(self, rows: NDArray[np.int64]) -> "Texts":
        """Return a view of some rows, in the given order."""
        return Texts(self._store, _chosen(self._rows, rows))

    def blocks(self, size: int = ROWS_AT_ONCE) -> Iterator[list[str]]:
        """Yield the strings in lists of at most `size`."""
        for start in range(0, len(self), size):
            yield self._store.strings(np.asarray(self._rows[start : start + size], np.int64))

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "Texts": ...
    def __getitem__(self, index: int | slice) -> "str | Texts":
        if isinstance(index, slice):
            return Texts(self._store, self._rows[index])
        row = int(self._rows[index])
        start, end = self._store.ends[row : row + 2].tolist()
        return self._store.bytes(start, end).decode(*CODING)

    def __iter__(self) -> Iterator[str]:
        for block in self.blocks():
            yield from block

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(
            own == its for own, its in zip(self, other, strict=True)
        )

    def __repr__(self) -> str:
        return f"Texts({len(self)} strings)"  # their content may be patient text

    def __reduce__(self) -> tuple[Any, ...]:
        return Texts.of, (list(self),)


def _chosen(rows: Rows, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    if isinstance(rows, range):
        if len(chosen) and not -len(rows) <= chosen.min() <= chosen.max() < len(rows):
            raise IndexError(f"rows {chosen.min()} to {chosen.max()} of {len(rows)} strings")
        return rows.start + rows.step * (np.asarray(chosen, np.int64) % max(len(rows), 1))
    return rows[chosen]


class TextWriter:
    """Writer of a column, in batches."""

    def __init__(self) -> None:
        self._store = _Store()
        self._lengths: list[NDArray[np.int64]] = []

    def append(self, strings: Sequence[str]) -> None:
        """Add strings."""
        encoded = [text.encode(*CODING) for text in strings]
        self._lengths.append(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        self._store.append(b"".join(encoded))

    def finish(self) -> Texts:
        """Return the column; nothing can be added afterwards."""
        self._store.finish(self._lengths)
        return Texts(self._store, range(len(self._store.ends) - 1))
