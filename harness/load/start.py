"""When all workers begin: one instant of the master's clock, by the monotonic clock of each."""

from __future__ import annotations

import time

import gevent

from harness.timebase import Timebase

_EARLY_S = 0.02  # there is something to start before the first arrival
_LONGEST_WAIT_S = 5.0


def await_instant(at_ns: object, offset_ns: int, bound_ns: int | None) -> int | None:
    """Wait for `at_ns` (epoch, by the master's clock), and give it by our monotonic clock; past when we come late.

    `offset_ns`: our clock less the master's; within `bound_ns` it may be nothing at all, and counts as nothing.
    None when the instant cannot be meant.
    """
    if not isinstance(at_ns, int):
        return None
    apart = bound_ns is not None and abs(offset_ns) > bound_ns
    begin_at = at_ns + (offset_ns if apart else 0) - Timebase().offset_ns
    wait_s = (begin_at - time.perf_counter_ns()) / 1e9
    gevent.sleep(min(max(0.0, wait_s - _EARLY_S), _LONGEST_WAIT_S))
    return begin_at if wait_s <= _LONGEST_WAIT_S else None
