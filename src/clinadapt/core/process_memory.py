"""Memory of this process: measure what is in use and return what was freed to the system."""

import ctypes
from contextlib import suppress

import torch

# Blocks above this size are returned to the system as soon as they are freed (glibc's mallopt).
MMAP_THRESHOLD, LARGE = -3, 2**21


def give_back_freed(always: bool = False) -> None:
    """Return freed memory to the system, where the C library is glibc.

    glibc keeps freed memory for each thread, which adds up over many chunks of notes.

    Parameters
    ----------
    always : bool
        Whether large blocks are also returned as soon as they are freed from now on. This is
        slower, but the process never holds more than is in use.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        if always:
            library.mallopt(MMAP_THRESHOLD, LARGE)
        library.malloc_trim(0)


def held_bytes(device: torch.device) -> int:
    """Return the bytes that this process now uses on a device (resident memory for the CPU)."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    import psutil

    return int(psutil.Process().memory_info().rss)
