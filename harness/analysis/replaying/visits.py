"""Who came to a resource when, got it when, and gave it back when: read from the spans of a run.

A span says how long a request waited, not how long it kept what it waited for. The end of that is where the work that
follows ends; which work, there are four ways to read it (`Ends`), and the replay tells which one is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.analysis.replaying.replay import Visits
from harness.charge import charge
from harness.join import Halves, Intervals
from harness.model import CLAIMS

Times: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]
Rows: TypeAlias = NDArray[np.int64]

WAY_BACK = "event_loop"
"""The wait that begins when a function in a worker thread has returned: there its thread is free again."""
ONE_WAIT_NS = 100_000
"""Waits for the same resource so close to each other are one, told in pieces."""
USUAL_SHARE = 0.05
_QUEUE, _INFERENCE = CLAIMS.index("queue"), CLAIMS.index("inference")
_WORK = [CLAIMS.index(s) for s in ("preprocess", "inference", "postprocess")]


class Ends(StrEnum):
    """Where a holder gives back what it waited for."""

    RETURN = "return"  # where its way back to the event loop begins, else as LAST
    LAST = "last"  # with the last work before the next wait for it
    FIRST = "first"  # with the first piece of work
    INFERENCE = "inference"  # with the last model call


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """The visits to one resource, a row each, in order of (request, time); `request` is a row of the samples."""

    request: Rows
    pool: Rows  # the process: each has its own
    arrive_ns: Times
    grant_ns: Times
    release_ns: Times

    def __len__(self) -> int:
        return len(self.request)

    @property
    def wait_ns(self) -> Times:
        return self.grant_ns - self.arrive_ns

    @property
    def again(self) -> Flags:
        """Which visits are not the first one of their request."""
        found = np.zeros(len(self), np.bool_)
        found[1:] = self.request[1:] == self.request[:-1]
        return found

    @property
    def left_ns(self) -> Times:
        """When the visit before, of the same request, had ended; of a first one its own arrival."""
        found = self.arrive_ns.copy()
        again = np.flatnonzero(self.again)
        found[again] = self.release_ns[again - 1]
        return found

    def visits(self) -> Visits:
        """As the replay wants them."""
        return Visits(
            request=self.request,
            pool=self.pool,
            arrive_ns=self.arrive_ns,
            gap_ns=np.maximum(0, self.arrive_ns - self.left_ns),
            hold_ns=np.maximum(0, self.release_ns - self.grant_ns),
        )

    def some(self, kept: Flags) -> Held:
        """The visits that are wanted; whole requests, or `again` would be wrong."""
        columns = ("request", "pool", "arrive_ns", "grant_ns", "release_ns")
        return replace(self, **{name: getattr(self, name)[kept] for name in columns})


# --- from spans --------------------------------------------------------------------------------------------


def held(halves: Halves, resource: int, ends: Ends) -> Held:
    """The visits to a resource (a position in `intervals.resources`), also of requests that had not to wait for it."""
    intervals = halves.intervals
    n = len(intervals)
    if n == 0:
        return Held(*(np.zeros(0, np.int64) for _ in range(5)))
    opens = np.ones(n, np.bool_)  # the first row of a request
    opens[1:] = intervals.request[1:] != intervals.request[:-1]
    wait = (intervals.stage == _QUEUE) & (intervals.resource_of == resource)
    begins = wait & ~_goes_on(intervals, wait)
    unasked = _without_wait(intervals, wait, begins, opens)
    back = (intervals.stage == _QUEUE) & (intervals.resource_of == _position(intervals.resources, WAY_BACK)) & ~wait
    cuts = np.flatnonzero(opens | begins | unasked | back)
    visit = np.flatnonzero((begins | unasked)[cuts])  # which of the stretches between cuts are visits
    at = cuts[visit]
    grant = np.where(wait[at], np.maximum.reduceat(np.where(wait, intervals.end_ns, -1), cuts)[visit],
                     intervals.start_ns[at])  # fmt: skip
    following = np.append(cuts, n)[visit + 1]
    goes_on = (following < n) & (intervals.request[np.minimum(following, n - 1)] == intervals.request[at])
    later = np.minimum(following, n - 1)
    limit = np.where(goes_on, intervals.start_ns[later], halves.end_ns[intervals.request[at]])
    release = _released(intervals, ends, cuts, visit, grant)
    returned = goes_on & back[later] if ends is Ends.RETURN else np.zeros(len(at), np.bool_)
    release = np.where(returned | (release < 0), limit, np.minimum(release, limit))
    request = intervals.request[at].astype(np.int64)
    return Held(
        request=request,
        pool=halves.process_of[request].astype(np.int64),
        arrive_ns=intervals.start_ns[at],
        grant_ns=grant,
        release_ns=np.maximum(release, grant),
    )


def _position(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else -2


def _goes_on(intervals: Intervals, wait: Flags) -> Flags:
    """Which waits only continue the one in the row before."""
    found = np.zeros(len(intervals), np.bool_)
    same = wait[1:] & wait[:-1] & (intervals.request[1:] == intervals.request[:-1])
    found[1:] = same & (intervals.start_ns[1:] - intervals.end_ns[:-1] <= ONE_WAIT_NS)
    return found


def _without_wait(intervals: Intervals, wait: Flags, begins: Flags, opens: Flags) -> Flags:
    """The work that begins the visit of a request without a recorded wait: of the kind that usually follows one."""
    works = np.isin(intervals.stage, _WORK)
    kind = intervals.stage.astype(np.int64) * (len(intervals.models) + 1) + intervals.model_of + 1
    follows = np.zeros(len(works), np.bool_)
    follows[1:] = wait[:-1] & works[1:] & (intervals.request[1:] == intervals.request[:-1])
    above = intervals.parent[begins]
    around = above[(above >= 0) & works[np.maximum(above, 0)]]  # the lock is taken inside the stage
    counted = np.bincount(np.concatenate((kind[follows], kind[around])), minlength=1)
    usual = counted >= max(1.0, USUAL_SHARE * counted.sum())
    known = np.zeros(int(kind.max()) + 1, np.bool_)
    known[: len(usual)] = usual[: len(known)]
    number = np.cumsum(opens) - 1
    asked = np.bincount(number, weights=wait) > 0
    candidate = works & known[kind] & ~asked[number]
    rows = np.flatnonzero(candidate)
    first = rows[np.unique(number[rows], return_index=True)[1]]
    found = np.zeros(len(works), np.bool_)
    found[first] = True
    return found


def _released(intervals: Intervals, ends: Ends, cuts: Rows, visit: Rows, grant: Times) -> Times:
    """Where the work of each visit ends; -1 where there is none."""
    works = np.isin(intervals.stage, [_INFERENCE] if ends is Ends.INFERENCE else _WORK)
    if ends is Ends.FIRST:
        rows = np.flatnonzero(works)
        place = np.searchsorted(rows, cuts[visit])
        first = rows[np.minimum(place, len(rows) - 1)] if len(rows) else np.zeros(len(visit), np.int64)
        inside = (place < len(rows)) & (first < np.append(cuts, len(intervals))[visit + 1])
        found = np.where(inside, intervals.end_ns[first], -1)
    else:
        found = np.maximum.reduceat(np.where(works, intervals.end_ns, -1), cuts)[visit]
    above = intervals.parent[cuts[visit]]
    around = (above >= 0) & works[np.maximum(above, 0)]
    whole = np.maximum(found, intervals.end_ns[np.maximum(above, 0)])
    return np.where(around, whole, np.where(found > grant, found, -1))


# --- the stages in them ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Seconds of each of CLAIMS (columns) before a visit, since the one before it, and in it."""

    before: Floats
    inside: Floats
    other_before: Floats  # of the same two stretches, what no stage claims
    other_inside: Floats


def parts(halves: Halves, found: Held) -> Parts:
    """What the requests did between and in their visits."""
    n = len(halves.start_ns)
    before, inside = np.zeros((len(found), len(CLAIMS))), np.zeros((len(found), len(CLAIMS)))
    opened = np.where(found.again, found.left_ns, halves.start_ns[found.request])
    first = np.flatnonzero(~found.again)
    rank = np.arange(len(found)) - np.repeat(first, np.diff(np.append(first, len(found))))
    for number in range(int(rank.max()) + 1 if len(rank) else 0):
        rows = np.flatnonzero(rank == number)
        request = found.request[rows]
        few = _of(halves.intervals, request, n) if number else halves.intervals
        for table, since, until in ((before, opened, found.arrive_ns), (inside, found.grant_ns, found.release_ns)):
            since_ns, until_ns = np.zeros(n, np.int64), np.zeros(n, np.int64)
            since_ns[request], until_ns[request] = since[rows], until[rows]
            table[rows] = charge(few, since_ns, until_ns)[request]
    return Parts(
        before,
        inside,
        _unclaimed(found.arrive_ns - opened, before),
        _unclaimed(found.release_ns - found.grant_ns, inside),
    )


def _unclaimed(length_ns: Times, claimed: Floats) -> Floats:
    found: Floats = np.maximum(0.0, length_ns / 1e9 - claimed.sum(axis=1))
    return found


def _of(intervals: Intervals, request: Rows, n: int) -> Intervals:
    """The intervals of some requests."""
    wanted = np.zeros(n, np.bool_)
    wanted[request] = True
    kept = wanted[intervals.request]
    place = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1)
    columns = ("request", "stage", "start_ns", "end_ns", "model_of", "resource_of", "batch_of", "batch_size", "wait_of",
               "cpu_ns")  # fmt: skip
    chosen = {name: getattr(intervals, name)[kept] for name in columns}
    return replace(intervals, parent=place[intervals.parent[kept]], **chosen)
