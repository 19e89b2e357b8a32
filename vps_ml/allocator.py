"""glibc's allocator, set for arrays that come and go by the hundred megabytes."""

import ctypes
from contextlib import suppress

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
KEPT_BYTES = 2**31 - 1


def keep_freed_memory() -> bool:
    """Keep what is freed instead of giving it back to the system; whether that could be set (glibc alone can).

    By default a large block is mapped and unmapped at every step, and its pages are cleared again: measured, that costs
    a quarter of a network's training rate, and threads that decode photos stand in each other's way (mallopt(3)).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))


def give_back_freed_memory() -> None:
    """Give back what all threads have freed: each keeps its own, which adds up for large photos (malloc_trim(3))."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
