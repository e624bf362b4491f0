"""What is frozen is computed once: features at the split layer of the frozen prefix, on disk.

A store has a folder a (weights, split_layer, precision, backend) with shards in it. Since the hash
of a sequence is that of its token ids, which are the tokenizer's, the length's and the cut's work
on the text, a sequence is found again by its content alone, whatever list of notes it came in.
Shards are cut from the list sorted by length, so a run that was killed computes the missing ones
with the very same batches. Notes come some thousand at a time, and only hashes and places stay in
memory.
"""

import hashlib
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clinadapt.core.device import Precision, compute_dtype
from clinadapt.core.permissions import make_private
from clinadapt.core.process_memory import give_back_freed
from clinadapt.features.cache_shards import SIDECAR, Shard, discard, open_shard, write_shard
from clinadapt.features.encoder_inference import Reader, encode
from clinadapt.features.encoders.backends import Backend, make_reader
from clinadapt.features.encoders.pretrained import PretrainedEncoder
from clinadapt.features.tokenization import Tokens
from clinadapt.neural.training.length_batches import runs

SHARD_TOKENS = 65_536
# Pages of mapped features that a process holds before it gives them back.
HELD_BYTES = 2**28
# Shards whose checksum this process has read.
_VERIFIED: set[tuple[str, int, int, str]] = set()


@dataclass(eq=False)
class Features:
    """Cached features of a list of sequences.

    Attributes
    ----------
    shards : list of Shard
    shard, start, length : ndarray of int64, shape [sequence]
        Where each sequence's features are.
    encode_seconds : float
        What computing these features took, whenever that was, as a share of their shards' time.
    encoded, reused : int
        Sequences computed by this call, and found.
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
        """Features of notes `start` to `end`, and the first sequence of each.

        Parameters
        ----------
        first : ndarray of int64, shape [note + 1]
            First sequence of each note of the whole list.
        start, end : int
        """
        own = first[start : end + 1]
        rows = slice(int(own[0]), int(own[-1]))
        places = {name: getattr(self, name)[rows] for name in ("shard", "start", "length")}
        return replace(self, **places), own - own[0]

    def gather(self, sequences: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Padded features [sequence, token, width] and mask [sequence, token] of some sequences."""
        lengths = self.length[sequences]
        steps = np.arange(lengths.max())
        mask = torch.from_numpy(steps < lengths[:, None])
        # Padding repeats the last token: any content will do, and no row is out of bounds.
        rows = self.start[sequences][:, None] + np.minimum(steps, lengths[:, None] - 1)
        home = self.shard[sequences]
        present = np.unique(home)
        dtype = self.shards[present[0]].features.dtype
        hidden = torch.empty(*rows.shape, self.width, dtype=dtype)
        for number in present:
            here = home == number
            wanted = torch.from_numpy(rows[here].ravel())
            found = self.shards[number].features.index_select(0, wanted)
            if len(present) == 1:
                hidden = found.view(hidden.shape)
            else:
                hidden[torch.from_numpy(here)] = found.view(-1, *hidden.shape[1:]).to(dtype)
        self._count(hidden.nbytes)
        return hidden, mask

    def _count(self, size: int) -> None:
        self._gathered += size
        if self._gathered > HELD_BYTES:
            self._gathered = 0
            for shard in self.shards:
                shard.release()


class FeatureStore:
    """Features on disk, found by content.

    Parameters
    ----------
    root : Path
        Folder; made if absent, readable by its owner only, since features reflect patient text.
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
        """Features of every sequence, computed where they are not there yet.

        Parameters
        ----------
        encoder : PretrainedEncoder
            Its model is loaded only if something must be computed.
        split_layer : int
            Layers of the frozen prefix.
        chunks : iterable of Tokens
            Of some notes each; looked at one by one.
        device : torch.device
        precision : {"auto", "fp32", "bf16"}
            Of the computation. Features of bf16 are kept as they are, those of fp32 as fp16.
        backend : {"torch", "openvino"}
        progress : callable
            Called with the number of notes that are done.
        """
        dtype = compute_dtype(precision, device)
        folder = self._folder(encoder, split_layer, dtype, device, backend)
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_private(folder)
        shelf = _Shelf(list(self._open(folder)))
        lazily = _Lazily(lambda: make_reader(backend, encoder, split_layer, dtype, device))
        found, notes, encoded = [], 0, 0
        for tokens in chunks:
            hashes = hash_sequences(tokens)
            missing = shelf.missing(tokens, hashes)
            shelf.add(
                [
                    self._write(folder, _compute(lazily.get(), tokens, run, hashes, device))
                    for run in runs(missing, tokens.lengths, SHARD_TOKENS)
                ]
            )
            encoded += len(missing)
            found.append(shelf.places(hashes))
            notes += len(tokens.first) - 1
            give_back_freed()
            progress(notes)
        return shelf.collect(found, encoded)

    def backend(
        self,
        encoder: PretrainedEncoder,
        split_layer: int,
        device: torch.device,
        precision: Precision = "auto",
    ) -> Backend | None:
        """Whose features of this prefix are here; None if there are none."""
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
        key = f"{encoder.fingerprint}|{split_layer}|{dtype}|{device.type}|{backend}"
        return self.root / hashlib.sha256(key.encode()).hexdigest()[:24]

    def _write(self, folder: Path, shard: Shard) -> Shard:
        """Write a shard and open it: memory holds one at a time."""
        written = open_shard(write_shard(folder, shard), _VERIFIED)
        assert written is not None
        return written

    def _open(self, folder: Path) -> Iterator[Shard]:
        for sidecar in sorted(folder.glob(f"*{SIDECAR}")):
            shard = open_shard(sidecar, _VERIFIED)
            if shard is None:
                warnings.warn(
                    f"cached features {sidecar.stem} are damaged and are computed again",
                    RuntimeWarning,
                    stacklevel=4,
                )
                discard(sidecar)
            else:
                yield shard


def live_features(read: Reader, tokens: Tokens, device: torch.device) -> Features:
    """Features of every sequence, computed now and kept in memory only.

    The batches are those that a `FeatureStore` would cut, so the features are the same.
    """
    hashes = hash_sequences(tokens)
    shelf = _Shelf([])
    missing = shelf.missing(tokens, hashes)
    for run in runs(missing, tokens.lengths, SHARD_TOKENS):
        shelf.add([_compute(read, tokens, run, hashes, device)])
    return shelf.collect([shelf.places(hashes)], encoded=len(missing))


def hash_sequences(tokens: Tokens) -> NDArray[np.uint64]:
    """Hash of the token ids of each sequence, two words each [sequence, 2]."""
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


class _Lazily:
    """A reader that is made when it is first needed: often everything is cached."""

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
        """Row of each hash, -1 where it is not there."""
        if not len(self.hashes):
            return np.full(len(hashes), -1)
        at = np.searchsorted(self.hashes[:, 0], hashes[:, 0])
        at = np.minimum(at, len(self.hashes) - 1)
        return np.where((self.hashes[at] == hashes).all(axis=1), at, -1)

    def missing(self, tokens: Tokens, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """One sequence of each content that is not there, shortest first.

        Among equals the hash decides, so that the order is of the contents, not of the list.
        """
        absent = np.flatnonzero(self.find(hashes) < 0)
        _, once = np.unique(hashes[absent], axis=0, return_index=True)
        numbers = absent[once]
        return numbers[np.argsort(tokens.lengths[numbers], kind="stable")]

    def places(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Shard, start and length of each sequence [sequence, 3]."""
        at = self.find(hashes)
        if (at < 0).any():  # two contents whose hashes share a word: one in 10^13 studies
            raise RuntimeError("cached features are missing: delete the cache and start again")
        return self.rows[at]

    def collect(self, found: list[NDArray[np.int64]], encoded: int) -> Features:
        places = np.concatenate(found) if found else np.empty((0, 3), dtype=np.int64)
        used = np.unique(places, axis=0)
        each = np.array([shard.seconds / max(1, len(shard.features)) for shard in self.shards])
        shard, start, length = places.T.copy()
        return Features(
            self.shards,
            shard,
            start,
            length,
            encode_seconds=float((each[used[:, 0]] * used[:, 2]).sum()) if len(used) else 0.0,
            encoded=encoded,
            reused=len(used) - encoded,
        )
