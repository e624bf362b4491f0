"""Shards: files with the features of some hundred sequences, each with a sidecar.

The features are stored in 16 bit, one row per token, in a safetensors file that is mapped into
memory, together with the hash of each sequence's token ids and its length. The sidecar is written
last and contains the checksum, so that no incomplete or damaged shard is ever read.
"""

import hashlib
import json
import mmap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from clinadapt.core.atomic_files import atomic_path
from clinadapt.features.cache_files import DATA, SIDECAR

DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True, eq=False)
class Shard:
    """Features of some sequences, concatenated.

    Attributes
    ----------
    features : Tensor, shape [token, width]
    hashes : ndarray of uint64, shape [sequence, 2]
        Hash of each sequence's token ids.
    lengths : ndarray of int64, shape [sequence]
        Number of tokens of each sequence.
    seconds : float
        Time that it took to compute them.
    mapping : mmap.mmap, optional
        Memory map of the file, if the features are on disk.
    """

    features: Tensor
    hashes: NDArray[np.uint64]
    lengths: NDArray[np.int64]
    seconds: float
    mapping: mmap.mmap | None = None

    def release(self) -> None:
        """Release the mapped pages; they are read again when needed."""
        if self.mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            self.mapping.madvise(mmap.MADV_DONTNEED)


def sidecar_of(folder: Path, shard: Shard) -> Path:
    """Return the path of a shard's sidecar, which depends on the shard's sequences alone."""
    return folder / f"{hashlib.sha256(shard.hashes.tobytes()).hexdigest()[:24]}{SIDECAR}"


def write_shard(folder: Path, shard: Shard) -> Path:
    """Write a shard and then its sidecar, each atomically.

    Returns
    -------
    Path
        Path of the sidecar.
    """
    sidecar = sidecar_of(folder, shard)
    data = sidecar.with_suffix(DATA)
    content = {
        "states": shard.features.contiguous(),
        "hashes": torch.from_numpy(shard.hashes.view(np.int64)),
        "lengths": torch.from_numpy(shard.lengths),
    }
    with atomic_path(data) as partial:
        save_file(content, partial)
    record = {"sha256": _checksum(data), "seconds": shard.seconds}
    with atomic_path(sidecar) as partial:
        partial.write_text(json.dumps(record), encoding="utf-8")
    return sidecar


def open_shard(sidecar: Path, verified: set[tuple[str, int, int, str]]) -> Shard | None:
    """Open a shard; return None if it is damaged or incomplete.

    Parameters
    ----------
    sidecar : Path
    verified : set
        Files whose checksum this process has verified before; this one is added.
    """
    data = sidecar.with_suffix(DATA)
    try:
        record = json.loads(sidecar.read_text(encoding="utf-8"))
        status = data.stat()
        seen = (str(data), status.st_size, status.st_mtime_ns, str(record["sha256"]))
        if seen not in verified and _checksum(data) != record["sha256"]:
            return None
        shard = _map(data, float(record["seconds"]))
        if len(shard.features) != shard.lengths.sum():
            return None
        verified.add(seen)
        return shard
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def discard(sidecar: Path) -> None:
    """Delete a shard."""
    sidecar.unlink(missing_ok=True)
    sidecar.with_suffix(DATA).unlink(missing_ok=True)


def _map(path: Path, seconds: float) -> Shard:
    """Map a file into memory.

    The safetensors library could do this, but only the owner of a mapping can release its pages.
    """
    with path.open("rb") as file:
        # Copy on write: nothing is written, but torch expects writable memory.
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    start = 8 + int.from_bytes(mapping[:8], "little")
    entries = json.loads(mapping[8:start])

    def part(name: str, dtype: torch.dtype) -> Tensor:
        first, last = entries[name]["data_offsets"]
        count = (last - first) // dtype.itemsize
        flat = torch.frombuffer(mapping, dtype=dtype, count=count, offset=start + first)
        return flat.view(entries[name]["shape"])

    features = part("states", DTYPES[entries["states"]["dtype"]])
    # Copied, because these are small and used all the time.
    hashes = part("hashes", torch.int64).numpy().view(np.uint64).copy()
    lengths = part("lengths", torch.int64).numpy().copy()
    return Shard(features, hashes, lengths, seconds, mapping)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
