"""Memory that one step gave back is kept for the next, where the C library is glibc's.

A training, and a drawing in steps, asks for the same tensors at every step. By default glibc returns large blocks to
the system as soon as they are free, and every page comes back empty, one fault each: of a small network's step that is
a sixth.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of mallopt(3)
LARGEST = 32 << 20  # bytes: of larger blocks glibc allows no keeping
FREE = 1 << 30  # bytes that may lie free before some are returned
AFTER = 2 * LARGEST  # of them afterwards: what glibc comes to by itself when a block of the largest was freed
LITTLE = 8 << 20  # bytes by which the process may have grown before any are looked for: that takes milliseconds
_KEEPING = threading.Lock()  # the C library's setting is the whole process's


@contextmanager
def kept(device: str) -> Iterator[None]:
    """Within it what is freed stays with the process; at the end it is returned, where it is much.

    Nothing beside a GPU's training.
    """
    if platform.libc_ver()[0] != "glibc" or not device.startswith("cpu"):
        yield
        return
    if not _KEEPING.acquire(blocking=False):  # within another, which gives back at its own end
        yield
        return
    libc = ctypes.CDLL(None)
    before = _resident()
    libc.mallopt(MMAP_THRESHOLD, LARGEST)
    libc.mallopt(TRIM_THRESHOLD, FREE)
    try:
        yield
    finally:
        libc.mallopt(TRIM_THRESHOLD, AFTER)
        if before is None or (_resident() or 0) > before + LITTLE:
            libc.malloc_trim(ctypes.c_size_t(0))
        _KEEPING.release()


def _resident() -> int | None:
    """The bytes of memory that this process has, if the system tells."""
    try:
        pages = Path("/proc/self/statm").read_bytes().split()[1]
    except OSError:
        return None
    return int(pages) * mmap.PAGESIZE
