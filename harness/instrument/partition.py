"""A window of time charged to stages: every instant once, to the deepest open stages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

Piece = tuple[int, int, "Interval"]


class Interval(Protocol):
    """A stretch of time with a place in a tree. `end` None: still open. `stage` None: charged to nobody."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int | None: ...
    @property
    def stage(self) -> str | None: ...
    @property
    def parent(self) -> Interval | None: ...


def partition(start: int, end: int, intervals: Iterable[Interval]) -> dict[str, int]:
    """Nanoseconds of [start, end) per stage; the rest of the window belongs to nobody.

    An instant goes to the open intervals that have a stage and no open descendant with one; k of them in parallel
    branches get 1/k each. Shares are rounded down, so that the sum never exceeds the window.
    """
    if not isinstance(intervals, list):
        intervals = list(intervals)
    totals = _one_by_one(start, end, intervals)
    if totals is None:
        intervals = sorted(intervals, key=_begin)
        totals = _one_by_one(start, end, intervals)
    return _swept(_clipped(start, end, intervals)) if totals is None else totals


def _begin(interval: Interval) -> int:
    return interval.start


def _one_by_one(start: int, end: int, intervals: Sequence[Interval]) -> dict[str, int] | None:
    """The plain case, which most requests are, in one pass; None when intervals overlap or are out of order."""
    totals: dict[str, int] = {}
    free = start
    for interval in intervals:
        stage = interval.stage
        if stage is None:
            continue
        begin, stop = interval.start, interval.end
        if begin < free:
            return None
        if stop is None or stop > end:
            stop = end
        if stop > begin:
            totals[stage] = totals.get(stage, 0) + stop - begin
            free = stop
    return totals


def _clipped(start: int, end: int, intervals: Iterable[Interval]) -> list[Piece]:
    pieces: list[Piece] = []
    for interval in intervals:
        if interval.stage is None:
            continue
        stop = interval.end
        begin = max(start, interval.start)
        stop = end if stop is None or stop > end else stop
        if stop > begin:
            pieces.append((begin, stop, interval))
    return pieces


def _swept(pieces: Sequence[Piece]) -> dict[str, int]:
    unique = {id(interval): (begin, stop, interval) for begin, stop, interval in pieces}
    events = [(begin, True, interval) for begin, _, interval in unique.values()]
    events += [(stop, False, interval) for _, stop, interval in unique.values()]
    events.sort(key=lambda event: event[0])
    leaves = _Leaves(unique)
    lengths: dict[tuple[str, int], int] = {}  # (stage, leaves in all) -> time of its leaves, not yet divided
    since = 0
    for instant, opens, interval in events:
        if instant > since and leaves.total:
            for stage, count in leaves.of_stage.items():
                key = (stage, leaves.total)
                lengths[key] = lengths.get(key, 0) + (instant - since) * count
        since = instant
        if opens:
            leaves.open(interval)
        else:
            leaves.close(interval)
    totals: dict[str, int] = {}
    for (stage, sharers), length in lengths.items():
        totals[stage] = totals.get(stage, 0) + length // sharers
    return totals


class _Leaves:
    """How many open intervals have no open descendant, in all and per stage.

    An interval is active while it is open or something below it is. Its parent hears of that only when it changes, and
    whoever never opens or has closed for good is left out of the way up, so that a step does not grow with the depth
    of the tree; only ancestors that open after their descendants are walked through.
    """

    __slots__ = ("_above", "_active_below", "_alive", "_open", "of_stage", "total")

    def __init__(self, alive: Iterable[int]) -> None:
        self._alive = set(alive)  # ids of intervals that are open or will be
        self._open: set[int] = set()
        self._active_below: dict[int, int] = {}  # id -> active intervals whose nearest living ancestor this is
        self._above: dict[int, Interval | None] = {}  # id of one that is out of the way -> who to ask next
        self.of_stage: dict[str, int] = {}
        self.total = 0

    def open(self, interval: Interval) -> None:
        self._open.add(id(interval))
        if not self._active_below.get(id(interval)):
            self._count(interval, 1)
            self._tell(self._nearest(interval), 1)

    def close(self, interval: Interval) -> None:
        self._open.discard(id(interval))
        self._alive.discard(id(interval))
        orphans = self._active_below.pop(id(interval), 0)
        if not orphans:
            self._count(interval, -1)
        self._tell(self._nearest(interval), orphans - 1)  # they move up in its place

    def _tell(self, interval: Interval | None, step: int) -> None:
        """There are `step` more active intervals right below `interval`."""
        while interval is not None and step:
            before = self._active_below.get(id(interval), 0)
            after = self._active_below[id(interval)] = before + step
            step = bool(after) - bool(before)
            if id(interval) in self._open:
                self._count(interval, -step)
                return
            interval = self._nearest(interval)

    def _nearest(self, interval: Interval) -> Interval | None:
        """The nearest ancestor that is open or will be; the way there is shortened for the next who asks."""
        passed: list[int] = []
        ancestor = interval.parent
        while ancestor is not None and id(ancestor) not in self._alive:
            passed.append(id(ancestor))
            ancestor = self._above.get(id(ancestor), ancestor.parent)
        for key in passed:
            self._above[key] = ancestor
        return ancestor

    def _count(self, interval: Interval, step: int) -> None:
        if step:
            stage = interval.stage or ""
            self.total += step
            count = self.of_stage.get(stage, 0) + step
            if count:
                self.of_stage[stage] = count
            else:
                del self.of_stage[stage]
