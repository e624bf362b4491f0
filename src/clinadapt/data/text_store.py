"""A column of strings that memory does not grow with: its bytes are on disk once they are many."""

import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import IO, Any, overload

import numpy as np
from numpy.typing import NDArray

IN_MEMORY = 32 * 2**20  # bytes of a column that stay in memory
ROWS_AT_ONCE = 1024
NEAR_BYTES = 4096  # a gap up to here is cheaper to read than to jump over
CODING = ("utf-8", "surrogatepass")  # Python's strings may hold halves of a character

Rows = range | NDArray[np.int64]


class _Store:
    """Strings end to end as bytes, which only the owner can read and which end with the process.

    The file is read by position and not mapped: mapped pages would count as resident memory.
    """

    def __init__(self) -> None:
        self.memory = bytearray()
        self.file: IO[bytes] | None = None
        self.size = 0
        self.ends = np.zeros(1, dtype=np.int64)

    def append(self, content: bytes) -> None:
        self.size += len(content)
        if self.file is None and self.size > IN_MEMORY:
            self.file = tempfile.TemporaryFile(prefix="clinadapt-")  # noqa: SIM115 (lives as long)
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
        """Strings of some rows; neighbours are read in one go, and each byte once."""
        found, places = np.unique(rows, return_inverse=True)
        starts, ends = self.ends[found], self.ends[found + 1]
        first = np.flatnonzero(np.r_[True, starts[1:] - ends[:-1] > NEAR_BYTES])
        last = np.r_[first[1:], len(found)] - 1
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
    """Strings, read when they are asked for; slices and `take` are views and cost no strings.

    Equal to any other sequence of the same strings. Make one with `Texts.of` or a `TextWriter`.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, store: _Store, rows: Rows) -> None:
        self._store = store
        self._rows = rows

    @classmethod
    def of(cls, strings: Iterable[str]) -> "Texts":
        """A column of these strings; itself if it is one already."""
        if isinstance(strings, Texts):
            return strings
        writer, source = TextWriter(), iter(strings)
        while block := list(islice(source, ROWS_AT_ONCE)):
            writer.append(block)
        return writer.finish()

    @classmethod
    def join(cls, parts: Sequence[Iterable[str]]) -> "Texts":
        """All strings of some parts: a view if they are parts of one column, else a copy."""
        columns = [cls.of(part) for part in parts]
        if len({id(column._store) for column in columns}) == 1:
            rows = np.concatenate([np.asarray(column._rows, np.int64) for column in columns])
            return cls(columns[0]._store, rows)
        return cls.of(text for column in columns for text in column)

    def take(self, rows: NDArray[np.int64]) -> "Texts":
        """A view of some rows, in their order."""
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
        return f"Texts({len(self)} strings)"  # never their content

    def __reduce__(self) -> tuple[Any, ...]:
        return Texts.of, (list(self),)


def _chosen(rows: Rows, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    if isinstance(rows, range):
        if len(chosen) and not -len(rows) <= chosen.min() <= chosen.max() < len(rows):
            raise IndexError(f"rows {chosen.min()} to {chosen.max()} of {len(rows)} strings")
        return rows.start + rows.step * (np.asarray(chosen, np.int64) % max(len(rows), 1))
    return rows[chosen]


class TextWriter:
    """Writes a column, batch after batch."""

    def __init__(self) -> None:
        self._store = _Store()
        self._lengths: list[NDArray[np.int64]] = []

    def append(self, strings: Sequence[str]) -> None:
        """Add strings."""
        encoded = [text.encode(*CODING) for text in strings]
        self._lengths.append(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        self._store.append(b"".join(encoded))

    def finish(self) -> Texts:
        """The column; nothing can be added to it."""
        self._store.finish(self._lengths)
        return Texts(self._store, range(len(self._store.ends) - 1))
