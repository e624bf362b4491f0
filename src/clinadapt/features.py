"""What is frozen is computed once: states at the boundary of the frozen prefix, on disk.

A store is a folder a (weights, boundary, precision) with shards in it. A shard holds the states
of a few hundred sequences, in 16 bit and memory-mapped, and the hash of each sequence's token
ids. Since the ids are the tokenizer's, the length's and the cut's work on the text, a sequence is
found again by its content alone, whatever list of notes it came in. Shards are cut from the list
sorted by length, so a run that was killed computes the missing ones with the very same batches.

A shard counts only with its sidecar, written after it, which holds its checksum: a damaged shard
is computed again.
"""

import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Container
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from clinadapt.encoders.boundary import Prefix
from clinadapt.encoders.pretrained import PretrainedEncoder
from clinadapt.machine import compute_dtype
from clinadapt.tokens import Tokens

SHARD_TOKENS = 65_536
BATCH_TOKENS = 4_096
FLOAT16_MAX = 65_504.0
HASH_BYTES = 16


@dataclass(frozen=True, eq=False)
class Place:
    """Where one sequence's states are: shard number, first row, length."""

    shard: int
    start: int
    length: int


@dataclass(frozen=True, eq=False)
class States:
    """Cached states of a list of sequences.

    Attributes
    ----------
    shards : list of Tensor, each [token, width]
        Memory-mapped, in 16 bit.
    shard, start, length : Tensor of int64, shape [sequence]
    encode_seconds : float
        What computing these states took, whenever that was, as a share of their shards' time.
    encoded, reused : int
        Sequences computed by this call, and found.
    """

    shards: list[Tensor]
    shard: Tensor
    start: Tensor
    length: Tensor
    encode_seconds: float
    encoded: int
    reused: int

    @property
    def width(self) -> int:
        """Width of the states."""
        return int(self.shards[0].shape[1])

    def part(
        self, first: NDArray[np.int64], start: int, end: int
    ) -> tuple["States", NDArray[np.int64]]:
        """States of notes `start` to `end`, and the first sequence of each.

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

    def gather(self, sequences: Tensor) -> tuple[Tensor, Tensor]:
        """Padded states [sequence, token, width] and mask [sequence, token] of some sequences."""
        lengths = self.length[sequences]
        steps = torch.arange(int(lengths.max()))
        mask = steps < lengths[:, None]
        # Padding repeats the last token: any content will do, and no row is out of bounds.
        rows = self.start[sequences][:, None] + torch.minimum(steps, lengths[:, None] - 1)
        home = self.shard[sequences]
        present = np.unique(home.numpy()).tolist()
        if len(present) == 1:
            return self.shards[present[0]][rows], mask
        hidden = self.shards[present[0]].new_empty((*rows.shape, self.width))
        for number in present:
            here = home == number
            hidden[here] = self.shards[number][rows[here]].to(hidden.dtype)
        return hidden, mask


@dataclass
class FeatureStore:
    """States on disk, found by content.

    Parameters
    ----------
    root : Path
        Folder; made if absent, readable by its owner only, since states reflect patient text.
    """

    root: Path
    _verified: set[tuple[str, int, int]] = field(default_factory=set)

    def states(
        self,
        encoder: PretrainedEncoder,
        boundary: int,
        tokens: Tokens,
        device: torch.device,
        precision: str = "auto",
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> States:
        """States of every sequence, computed where they are not there yet.

        Parameters
        ----------
        encoder : PretrainedEncoder
            Its model is loaded only if something must be computed.
        boundary : int
            Layers of the frozen prefix.
        tokens : Tokens
        device : torch.device
        precision : {"auto", "fp32", "bf16"}
            Of the computation. States of bf16 are kept as they are, those of fp32 as fp16.
        progress : callable
            Called with tokens done and tokens to do.
        """
        dtype = compute_dtype(precision, device)  # type: ignore[arg-type]
        folder = self._folder(encoder, boundary, dtype, device)
        hashes = _hashes(tokens)
        shards = self._valid_shards(folder)
        index = _index(shards)
        missing = _distinct(tokens, hashes, without=index)
        if missing:
            self._compute(encoder, boundary, tokens, missing, folder, dtype, device, progress)
            shards = self._valid_shards(folder)
            index = _index(shards)
        return _collect(shards, hashes, encoded=len(missing))

    def _folder(
        self, encoder: PretrainedEncoder, boundary: int, dtype: torch.dtype, device: torch.device
    ) -> Path:
        key = f"{encoder.fingerprint}|{boundary}|{dtype}|{device.type}"
        folder = self.root / hashlib.sha256(key.encode()).hexdigest()[:24]
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def _valid_shards(self, folder: Path) -> list["_Shard"]:
        found = []
        for sidecar in sorted(folder.glob("*.json")):
            shard = _open_shard(sidecar, self._verified)
            if shard is None:
                warnings.warn(
                    f"cached states {sidecar.stem} are damaged and are computed again",
                    RuntimeWarning,
                    stacklevel=3,
                )
                sidecar.unlink(missing_ok=True)
                sidecar.with_suffix(".safetensors").unlink(missing_ok=True)
            else:
                found.append(shard)
        return found

    def _compute(
        self,
        encoder: PretrainedEncoder,
        boundary: int,
        tokens: Tokens,
        numbers: list[int],
        folder: Path,
        dtype: torch.dtype,
        device: torch.device,
        progress: Callable[[int, int], None],
    ) -> None:
        """Encode sequences, given shortest first, and write them shard by shard."""
        prefix = Prefix(encoder.load(), encoder.layers, boundary).to(device=device, dtype=dtype)
        total, done = int(tokens.lengths[numbers].sum()), 0
        for shard in _runs(numbers, tokens.lengths, SHARD_TOKENS):
            started = time.perf_counter()
            states = encode(prefix, tokens, shard, device)
            _write_shard(
                folder,
                states,
                [_hash(tokens.sequence(number)) for number in shard],
                [int(tokens.lengths[number]) for number in shard],
                time.perf_counter() - started,
            )
            done += len(states)
            progress(done, total)


def encode(prefix: Prefix, tokens: Tokens, sequences: list[int], device: torch.device) -> Tensor:
    """States of some sequences, end to end, in 16 bit.

    Parameters
    ----------
    prefix : Prefix
    tokens : Tokens
    sequences : list of int
        Sorted by length, so that little is padded.
    device : torch.device

    Returns
    -------
    Tensor, shape [token, width]
        bf16 as computed; fp32 rounded to fp16 (to bf16 where its range does not do).
    """
    pieces = []
    for batch in _runs(sequences, tokens.lengths, BATCH_TOKENS):
        ids, mask = (tensor.to(device) for tensor in pad(tokens, batch))
        pieces.append(prefix(ids, mask)[mask].cpu())
    states = torch.cat(pieces)
    if states.dtype == torch.float32:
        fits = bool(states.abs().max() < FLOAT16_MAX)
        states = states.to(torch.float16 if fits else torch.bfloat16)
    return states


def live_states(prefix: Prefix, tokens: Tokens, device: torch.device) -> States:
    """States of every sequence, computed now and kept in memory only.

    The batches are those that a `FeatureStore` would cut, so the states are the same.
    """
    hashes = _hashes(tokens)
    runs = _runs(_distinct(tokens, hashes), tokens.lengths, SHARD_TOKENS)
    shards = [
        _Shard(
            encode(prefix, tokens, run, device),
            [hashes[number] for number in run],
            [int(tokens.lengths[number]) for number in run],
            seconds=0.0,
        )
        for run in runs
    ]
    return _collect(shards, hashes, encoded=sum(map(len, runs)))


def pad(tokens: Tokens, sequences: list[int] | NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Ids, zero-padded to the longest, and mask, both [sequence, token]."""
    numbers = np.asarray(sequences)
    lengths = tokens.lengths[numbers]
    steps = np.arange(lengths.max())
    mask = steps < lengths[:, None]
    rows = tokens.starts[numbers][:, None] + np.minimum(steps, lengths[:, None] - 1)
    ids = np.where(mask, tokens.ids[rows], 0).astype(np.int64)
    return torch.from_numpy(ids), torch.from_numpy(mask)


@dataclass(frozen=True, eq=False)
class _Shard:
    states: Tensor
    hashes: list[bytes]
    lengths: list[int]
    seconds: float


def _hash(ids: NDArray[np.int32]) -> bytes:
    return hashlib.blake2b(ids.tobytes(), digest_size=HASH_BYTES).digest()


def _hashes(tokens: Tokens) -> list[bytes]:
    return [_hash(tokens.sequence(number)) for number in range(len(tokens.lengths))]


def _distinct(
    tokens: Tokens, hashes: list[bytes], without: Container[bytes] = frozenset()
) -> list[int]:
    """One sequence of each content that is not among `without`, shortest first.

    Among equals the hash decides, so that the order is of the contents, not of the list.
    """
    numbers = {name: number for number, name in enumerate(hashes) if name not in without}
    return sorted(numbers.values(), key=lambda n: (int(tokens.lengths[n]), hashes[n]))


def _collect(shards: list[_Shard], hashes: list[bytes], encoded: int) -> States:
    """States of sequences by their hashes."""
    index = _index(shards)
    places = [index[name] for name in hashes]
    used = {name: index[name] for name in hashes}
    return States(
        shards=[shard.states for shard in shards],
        shard=torch.tensor([place.shard for place in places]),
        start=torch.tensor([place.start for place in places]),
        length=torch.tensor([place.length for place in places]),
        encode_seconds=sum(
            shards[place.shard].seconds * place.length / len(shards[place.shard].states)
            for place in used.values()
        ),
        encoded=encoded,
        reused=len(used) - encoded,
    )


def _runs(numbers: list[int], lengths: NDArray[np.int64], budget: int) -> list[list[int]]:
    """Cut a list, sorted by length, into runs of at most `budget` padded tokens (or one item)."""
    runs: list[list[int]] = []
    for number in numbers:
        longest = int(lengths[number])
        if runs and (len(runs[-1]) + 1) * longest <= budget:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _index(shards: list[_Shard]) -> dict[bytes, Place]:
    index = {}
    for number, shard in enumerate(shards):
        start = 0
        for name, length in zip(shard.hashes, shard.lengths, strict=True):
            index[name] = Place(number, start, length)
            start += length
    return index


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_shard(
    folder: Path, states: Tensor, hashes: list[bytes], lengths: list[int], seconds: float
) -> None:
    """Write the states, then the sidecar that makes them count; each appears at once, whole."""
    name = hashlib.sha256(b"".join(hashes)).hexdigest()[:24]
    data = folder / f"{name}.safetensors"
    save_file({"states": states.contiguous()}, folder / f"{name}.tmp")
    os.replace(folder / f"{name}.tmp", data)
    record = {
        "sha256": _checksum(data),
        "seconds": seconds,
        "hashes": [item.hex() for item in hashes],
        "lengths": lengths,
    }
    partial = folder / f"{name}.json.tmp"
    partial.write_text(json.dumps(record), encoding="utf-8")
    os.replace(partial, folder / f"{name}.json")


def _open_shard(sidecar: Path, verified: set[tuple[str, int, int]]) -> _Shard | None:
    """Open a shard; None if anything about it is wrong. Checksums are read once a process."""
    data = sidecar.with_suffix(".safetensors")
    try:
        record = json.loads(sidecar.read_text(encoding="utf-8"))
        status = data.stat()
        seen = (str(data), status.st_size, status.st_mtime_ns)
        if seen not in verified and _checksum(data) != record["sha256"]:
            return None
        verified.add(seen)
        with safe_open(data, framework="pt") as file:
            states = file.get_tensor("states")
        if len(states) != sum(record["lengths"]):
            return None
        hashes = [bytes.fromhex(item) for item in record["hashes"]]
        return _Shard(states, hashes, record["lengths"], float(record["seconds"]))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None
