"""Memory of this process: what it holds, and giving back what it freed."""

import ctypes
from contextlib import suppress

import torch

# Larger pieces of memory go back to the system at once when they are freed (glibc's mallopt).
MMAP_THRESHOLD, LARGE = -3, 2**21


def give_back_freed(always: bool = False) -> None:
    """Give freed memory back to the system, where its C library is glibc.

    Each thread of the C library keeps what it freed: over many chunks of notes that adds up.

    Parameters
    ----------
    always : bool
        From now on large pieces go back as soon as they are freed: slower, and never above what
        is in use.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        if always:
            library.mallopt(MMAP_THRESHOLD, LARGE)
        library.malloc_trim(0)


def held_bytes(device: torch.device) -> int:
    """Bytes that this process holds now on a device (resident memory for the CPU)."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    import psutil

    return int(psutil.Process().memory_info().rss)
