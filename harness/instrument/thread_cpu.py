"""CPU time of the running thread. Reading it is a system call, ten times the cost of reading the wall clock."""

from __future__ import annotations

import sys
from threading import get_ident
from time import thread_time_ns
from typing import Protocol

REUSE_NS = 5_000
"""A reading this young is carried on by the wall clock: that is how far it may be off at most."""

Reading = tuple[int, int, int]
"""Thread, `perf_counter_ns` and CPU of one reading."""


class Reader(Protocol):
    """Whoever keeps the last reading."""

    cpu_reading: Reading | None


def read(reader: Reader, now: int) -> Reading:
    """The CPU time of this thread at `now`, a `perf_counter_ns` reading just taken.

    One stage ends where the next begins, so half of the readings are there already.
    """
    last, thread = reader.cpu_reading, get_ident()
    if last is not None and last[0] == thread and now - last[1] < REUSE_NS:
        return thread, now, last[2] + now - last[1]
    reader.cpu_reading = last = (thread, now, thread_time_ns())
    return last


def spent(since: Reading, reader: Reader, now: int) -> int | None:
    """CPU ns from one reading to `now`; None on another thread. Never below 0 nor above the wall time."""
    thread, began, cpu = since
    if thread != get_ident():
        return None
    return min(max(read(reader, now)[2] - cpu, 0), now - began)


def is_shared() -> bool:
    """Whether calls that wait let other work run on this thread, whose CPU time would be counted as the caller's."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    return bool(getattr(gevent, "saved", None) or getattr(eventlet, "already_patched", None))
