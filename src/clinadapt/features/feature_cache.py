"""Cache of frozen features: the output of an encoder's frozen prefix, computed once, on disk.

A store has one folder of shards for each combination of weights, split layer, precision, backend
and versions of the libraries that compute. A sequence is identified by the hash of its token ids,
which depend on the text, the tokenizer, the maximum length and the truncation. It is therefore
reused by content alone, whatever list of notes it belongs to. Shards are taken from the list sorted
by length, so that a run that was killed computes the missing ones with the same batches. Notes are
processed some thousand at a time, and only hashes and positions stay in memory.
"""

import hashlib
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clinadapt.core.device import Precision, compute_dtype
from clinadapt.core.errors import MachineError
from clinadapt.core.folder_lock import folder_lock
from clinadapt.core.machine_faults import PARTIAL
from clinadapt.core.permissions import make_private
from clinadapt.core.process_memory import give_back_freed
from clinadapt.features.cache_files import SIDECAR
from clinadapt.features.cache_shards import (
    Shard,
    discard,
    open_shard,
    sidecar_of,
    write_shard,
)
from clinadapt.features.encoder_inference import Reader, encode
from clinadapt.features.encoders.backends import Backend, make_reader
from clinadapt.features.encoders.pretrained import PretrainedEncoder
from clinadapt.features.tokenization import Tokens
from clinadapt.neural.training.length_batches import runs

SHARD_TOKENS = 65_536
# Another version may compute other numbers: its features are not mixed with those of this one.
LIBRARIES: dict[Backend, tuple[str, ...]] = {
    "torch": ("torch", "transformers", "tokenizers"),
    "openvino": ("torch", "transformers", "tokenizers", "openvino"),
}
# Bytes of mapped features that a process reads before it releases the pages.
HELD_BYTES = 2**28
# Shards whose checksum this process has verified.
_VERIFIED: set[tuple[str, int, int, str]] = set()


@dataclass(eq=False)
class Features:
    """Cached features of a list of sequences.

    Attributes
    ----------
    shards : list of Shard
    shard, start, length : ndarray of int64, shape [sequence]
        Location of each sequence's features: index of the shard, first row and number of rows.
    encode_seconds : float
        Time that it took to compute these features, in this or an earlier run. A shard's time is
        shared among its tokens.
    encoded, reused : int
        Sequences computed by this call, and sequences found in the cache.
    """

    shards: Sequence[Shard]
    shard: NDArray[np.int64]
    start: NDArray[np.int64]
    length: NDArray[np.int64]
    encode_seconds: float = 0.0
    encoded: int = 0
    reused: int = 0
    _gathered: int = field(default=0, init=False)

    @property
    def width(self) -> int:
        """Width of the features."""
        return int(self.shards[0].features.shape[1])

    def part(
        self, first: NDArray[np.int64], start: int, end: int
    ) -> tuple["Features", NDArray[np.int64]]:
        """Return the features of notes `start` to `end`, and the first sequence of each.

        Parameters
        ----------
        first : ndarray of int64, shape [note + 1]
            First sequence of each note of the complete list.
        start, end : int
            First note, and the one after the last.
        """
        own = first[start : end + 1]
        rows = slice(int(own[0]), int(own[-1]))
        places = {name: getattr(self, name)[rows] for name in ("shard", "start", "length")}
        return replace(self, **places), own - own[0]

    def gather(self, sequences: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return padded features [sequence, token, width] and mask [sequence, token]."""
        lengths = self.length[sequences]
        steps = np.arange(lengths.max())
        mask = torch.from_numpy(steps < lengths[:, None])
        # Padding repeats the last token, since its content does not matter and this row exists.
        rows = self.start[sequences][:, None] + np.minimum(steps, lengths[:, None] - 1)
        home = self.shard[sequences]
        present = np.unique(home)
        dtype = self.shards[present[0]].features.dtype
        hidden = torch.empty(*rows.shape, self.width, dtype=dtype)
        for number in present:
            here = home == number
            wanted = torch.from_numpy(rows[here].ravel())
            features = self.shards[number].features.index_select(0, wanted)
            if len(present) == 1:
                hidden = features.view(hidden.shape)
            else:
                hidden[torch.from_numpy(here)] = features.view(-1, *hidden.shape[1:]).to(dtype)
        self._count(hidden.nbytes)
        return hidden, mask

    def _count(self, size: int) -> None:
        self._gathered += size
        if self._gathered > HELD_BYTES:
            self._gathered = 0
            for shard in self.shards:
                shard.release()


class FeatureStore:
    """Features on disk, addressed by content.

    Parameters
    ----------
    root : Path
        Folder; created if missing, readable by its owner only, since features reflect patient text.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def features(
        self,
        encoder: PretrainedEncoder,
        split_layer: int,
        chunks: Iterable[Tokens],
        device: torch.device,
        precision: Precision = "auto",
        backend: Backend = "torch",
        progress: Callable[[int], None] = lambda notes: None,
    ) -> Features:
        """Return the features of every sequence, computing those that are not cached.

        Parameters
        ----------
        encoder : PretrainedEncoder
            Its model is loaded only if something must be computed.
        split_layer : int
            Number of layers of the frozen prefix.
        chunks : iterable of Tokens
            Consecutive parts of the notes, processed one by one.
        device : torch.device
        precision : {"auto", "fp32", "bf16"}
            Precision of the computation. bf16 features are stored as such, fp32 ones as fp16.
        backend : {"torch", "openvino"}
        progress : callable
            Called with the number of notes done so far.
        """
        dtype = compute_dtype(precision, device)
        folder = self._folder(encoder, split_layer, dtype, device, backend)
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_private(folder)
        shelf = _Shelf(list(self._open(folder)))
        reader = _LazyReader(lambda: make_reader(backend, encoder, split_layer, dtype, device))
        places, notes, encoded = [], 0, 0
        for tokens in chunks:
            hashes = hash_sequences(tokens)
            missing = shelf.missing(tokens, hashes)
            shelf.add(
                [
                    self._write(folder, _compute(reader.get(), tokens, run, hashes, device))
                    for run in runs(missing, tokens.lengths, SHARD_TOKENS)
                ]
            )
            encoded += len(missing)
            places.append(shelf.places(hashes))
            notes += len(tokens.first) - 1
            give_back_freed()
            progress(notes)
        return shelf.collect(places, encoded)

    def backend(
        self,
        encoder: PretrainedEncoder,
        split_layer: int,
        device: torch.device,
        precision: Precision = "auto",
    ) -> Backend | None:
        """Return the backend that computed the cached features of this prefix, None if none did."""
        dtype = compute_dtype(precision, device)
        for backend in get_args(Backend):
            folder = self._folder(encoder, split_layer, dtype, device, backend)
            if any(folder.glob(f"*{SIDECAR}")):
                return cast(Backend, backend)
        return None

    def _folder(
        self,
        encoder: PretrainedEncoder,
        split_layer: int,
        dtype: torch.dtype,
        device: torch.device,
        backend: Backend,
    ) -> Path:
        key = "|".join(
            [encoder.fingerprint, str(split_layer), str(dtype), device.type, backend]
            + [f"{name} {_version(name)}" for name in LIBRARIES[backend]]
        )
        return self.root / hashlib.sha256(key.encode()).hexdigest()[:24]

    def _write(self, folder: Path, shard: Shard) -> Shard:
        """Write a shard and open the file, so that only one shard is in memory at a time.

        A shard that another process has written meanwhile is taken instead.
        """
        with self._alone():
            there = open_shard(sidecar_of(folder, shard), _VERIFIED)
            written = there or open_shard(write_shard(folder, shard), _VERIFIED)
        if written is None:
            raise MachineError(
                f"cached features that were written to {folder} cannot be read again. Check the "
                "disk, then give the same command again: what was finished is kept"
            )
        return written

    def _alone(self) -> AbstractContextManager[None]:
        """Let no other process write to the cache, which several studies may share."""
        return folder_lock(self.root, waiting=lambda holder: None)

    def _open(self, folder: Path) -> Iterator[Shard]:
        with self._alone():
            for left in folder.glob(f"*{PARTIAL}"):  # by a process that was killed
                left.unlink()
        for sidecar in sorted(folder.glob(f"*{SIDECAR}")):
            shard = open_shard(sidecar, _VERIFIED)
            if shard is None:
                with self._alone():  # unless another process was just writing it
                    shard = open_shard(sidecar, _VERIFIED)
                    if shard is None:
                        discard(sidecar)
            if shard is None:
                warnings.warn(
                    f"cached features {sidecar.stem} are damaged and will be computed again",
                    RuntimeWarning,
                    stacklevel=4,
                )
            else:
                yield shard


@cache
def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:  # an optional one
        return "not installed"


def live_features(read: Reader, tokens: Tokens, device: torch.device) -> Features:
    """Compute the features of every sequence, and keep them in memory only.

    The batches are the same as those of a `FeatureStore`, and so are the features.
    """
    hashes = hash_sequences(tokens)
    shelf = _Shelf([])
    missing = shelf.missing(tokens, hashes)
    for run in runs(missing, tokens.lengths, SHARD_TOKENS):
        shelf.add([_compute(read, tokens, run, hashes, device)])
    return shelf.collect([shelf.places(hashes)], encoded=len(missing))


def hash_sequences(tokens: Tokens) -> NDArray[np.uint64]:
    """Return a hash of each sequence's token ids, as two 64-bit words [sequence, 2]."""
    ids, starts = tokens.ids.tobytes(), (tokens.starts * tokens.ids.itemsize).tolist()
    digests = [
        hashlib.blake2b(ids[start:end], digest_size=16).digest() for start, end in pairwise(starts)
    ]
    return np.frombuffer(b"".join(digests), dtype=np.uint64).reshape(-1, 2)


def _compute(
    read: Reader,
    tokens: Tokens,
    run: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    device: torch.device,
) -> Shard:
    started = time.perf_counter()
    features = encode(read, tokens, run, device)
    seconds = time.perf_counter() - started
    return Shard(features, hashes[run], tokens.lengths[run], seconds)


class _LazyReader:
    """A reader that is created when first needed, since often everything is cached."""

    def __init__(self, make: Callable[[], Reader]) -> None:
        self.make = make
        self.made: Reader | None = None

    def get(self) -> Reader:
        self.made = self.made or self.make()
        return self.made


class _Shelf:
    """Shards, and an index of their sequences: sorted hashes, looked up by bisection."""

    def __init__(self, shards: list[Shard]) -> None:
        self.shards: list[Shard] = []
        self.hashes = np.empty((0, 2), dtype=np.uint64)
        self.rows = np.empty((0, 3), dtype=np.int64)  # shard, start, length
        self.add(shards)

    def add(self, shards: list[Shard]) -> None:
        hashes, rows = [self.hashes], [self.rows]
        for shard in shards:
            starts = np.cumsum(shard.lengths) - shard.lengths
            number = np.full(len(starts), len(self.shards))
            hashes.append(shard.hashes)
            rows.append(np.column_stack([number, starts, shard.lengths]))
            self.shards.append(shard)
        joined = np.concatenate(hashes)
        order = np.argsort(joined[:, 0], kind="stable")
        self.hashes, self.rows = joined[order], np.concatenate(rows)[order]

    def find(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the row of each hash in the index, -1 where it is missing."""
        if not len(self.hashes):
            return np.full(len(hashes), -1)
        at = np.searchsorted(self.hashes[:, 0], hashes[:, 0])
        at = np.minimum(at, len(self.hashes) - 1)
        return np.where((self.hashes[at] == hashes).all(axis=1), at, -1)

    def missing(self, tokens: Tokens, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return one sequence of each missing content, shortest first.

        Sequences of equal length are sorted by hash, so that the order depends on the contents and
        not on the list.
        """
        absent = np.flatnonzero(self.find(hashes) < 0)
        _, once = np.unique(hashes[absent], axis=0, return_index=True)
        numbers = absent[once]
        return numbers[np.argsort(tokens.lengths[numbers], kind="stable")]

    def places(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return shard, start and length of each sequence [sequence, 3]."""
        at = self.find(hashes)
        if (at < 0).any():  # two contents whose hashes share a word: one in 10^13 studies
            raise RuntimeError("cached features are missing: delete the cache and start again")
        return self.rows[at]

    def collect(self, places: list[NDArray[np.int64]], encoded: int) -> Features:
        """Return the features of the sequences at some places."""
        joined = np.concatenate(places) if places else np.empty((0, 3), dtype=np.int64)
        used = np.unique(joined, axis=0)
        each = np.array([shard.seconds / max(1, len(shard.features)) for shard in self.shards])
        shard, start, length = joined.T.copy()
        return Features(
            self.shards,
            shard,
            start,
            length,
            encode_seconds=float((each[used[:, 0]] * used[:, 2]).sum()) if len(used) else 0.0,
            encoded=encoded,
            reused=len(used) - encoded,
        )
