"""Queues replayed: recorded arrivals and hold times through servers that serve in order of arrival.

Instants and lengths are whole nanoseconds, so that a replay with nothing changed is exact.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]
_LONG_AGO = -(2**62)


@dataclass(frozen=True, slots=True, eq=False)
class Visits:
    """What went to a pool of servers, a row per visit, in order of (request, time).

    A request that comes more than once comes again `gap_ns` after its last visit has ended; of a first visit the gap
    means nothing, it comes at `arrive_ns`. `pool` tells apart servers that share no queue.
    """

    request: NDArray[np.int64]
    pool: NDArray[np.int64]
    arrive_ns: Times
    gap_ns: Times
    hold_ns: Times

    def __len__(self) -> int:
        return len(self.request)

    @property
    def again(self) -> NDArray[np.bool_]:
        """Which visits are not the first one of their request."""
        found = np.zeros(len(self), np.bool_)
        found[1:] = self.request[1:] == self.request[:-1]
        return found


def starts(arrive_ns: Times, hold_ns: Times, servers: int) -> Times:
    """When each gets a server, first come first served; `arrive_ns` ascends.

    One server: Lindley's recursion, unrolled to a running maximum (Lindley 1952). More: the server that is free first
    (Kiefer & Wolfowitz 1955).
    """
    if len(arrive_ns) == 0:
        return np.zeros(0, np.int64)
    if servers == 1:
        before = np.cumsum(hold_ns) - hold_ns
        found: Times = before + np.maximum.accumulate(arrive_ns - before)
        return found
    free = [_LONG_AGO] * min(servers, len(arrive_ns))
    begins = arrive_ns.tolist()
    take = heapq.heapreplace
    for i, (begin, hold) in enumerate(zip(begins, hold_ns.tolist(), strict=True)):
        earliest = free[0]
        if earliest > begin:
            begins[i] = begin = earliest
        take(free, begin + hold)
    return np.array(begins, np.int64)


def waits(visits: Visits, servers: int) -> Times:
    """How long each visit waits when every pool has so many servers, ns, in the order of the visits."""
    found = np.zeros(len(visits), np.int64)
    again = visits.again
    for pool in np.unique(visits.pool).tolist():
        rows = np.flatnonzero(visits.pool == pool)
        if again[rows].any():
            found[rows] = _coming_again(visits, rows, again, servers)
            continue
        rows = rows[np.argsort(visits.arrive_ns[rows], kind="stable")]
        arrive = visits.arrive_ns[rows]
        found[rows] = starts(arrive, visits.hold_ns[rows], servers) - arrive
    return found


def _coming_again(visits: Visits, rows: NDArray[np.intp], again: NDArray[np.bool_], servers: int) -> Times:
    """The waits of one pool whose requests may come several times: the next visit follows the end of the last one."""
    first = rows[~again[rows]]
    first = first[np.argsort(visits.arrive_ns[first], kind="stable")]
    position = np.zeros(len(visits) + 1, np.int64)
    position[rows] = np.arange(len(rows))
    comes_again = np.append(again[1:], False)[rows].tolist()
    gap, hold = visits.gap_ns[rows].tolist(), visits.hold_ns[rows].tolist()
    due = list(zip(visits.arrive_ns[first].tolist(), position[first].tolist(), strict=True))  # sorted: a heap
    free = [_LONG_AGO] * min(servers, len(rows))
    found = [0] * len(rows)
    while due:
        arrive, i = due[0]
        begin = max(arrive, free[0])
        found[i] = begin - arrive
        end = begin + hold[i]
        heapq.heapreplace(free, end)
        if comes_again[i]:
            heapq.heapreplace(due, (end + gap[i + 1], i + 1))
        else:
            heapq.heappop(due)
    return np.array(found, np.int64)


def shortened(visits: Visits, gap_less_ns: Times, hold_less_ns: Times) -> Visits:
    """The visits with less time before them (of a first visit: it comes earlier) and in them; never below zero."""
    sooner = np.where(visits.again, 0, gap_less_ns)
    return replace(
        visits,
        arrive_ns=visits.arrive_ns - sooner,
        gap_ns=np.maximum(0, visits.gap_ns - gap_less_ns),
        hold_ns=np.maximum(0, visits.hold_ns - hold_less_ns),
    )


def holding(grant_ns: Times, release_ns: Times, at_ns: Sequence[int] | Times, slack_ns: int = 0) -> NDArray[np.int64]:
    """How many hold a server at these instants; who releases it less than `slack_ns` later does not count."""
    taken = np.searchsorted(np.sort(grant_ns), at_ns, side="right")
    given = np.searchsorted(np.sort(release_ns), np.asarray(at_ns) + slack_ns, side="right")
    found: NDArray[np.int64] = taken - given
    return found
