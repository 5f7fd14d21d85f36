"""What pages read of a large run, given back to the system as soon as it is not needed any more."""

from __future__ import annotations

import contextlib
import ctypes
import os

_MMAP_THRESHOLD = -3  # of glibc's malloc.h
_LARGE = 1 << 20  # bytes


def give_back_at_once() -> None:
    """Columns of a million requests come and go: kept for the next ones they are half of what the dashboard has.

    Arrow's own allocator keeps them, and that of glibc does from the second time on, unless it is told what is large.
    Arrow looks once, when it is imported.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)
