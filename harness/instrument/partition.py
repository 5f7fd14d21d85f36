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
    pieces = _clipped(start, end, intervals)
    pieces.sort(key=_begin)
    if _sequential(pieces):
        totals: dict[str, int] = {}
        for begin, stop, interval in pieces:
            stage = interval.stage or ""
            totals[stage] = totals.get(stage, 0) + stop - begin
        return totals
    return _swept(pieces)


def _begin(piece: Piece) -> int:
    return piece[0]


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


def _sequential(pieces: Sequence[Piece]) -> bool:
    free = 0
    for begin, stop, _ in pieces:
        if begin < free:
            return False
        free = stop
    return True


def _swept(pieces: Sequence[Piece]) -> dict[str, int]:
    events = [(begin, True, interval) for begin, _, interval in pieces]
    events += [(stop, False, interval) for _, stop, interval in pieces]
    events.sort(key=lambda event: event[0])
    open_now: dict[int, Interval] = {}
    covered: dict[int, int] = {}  # id -> open descendants that have a stage
    lengths: dict[tuple[str, int], int] = {}  # (stage, sharers) -> time not yet divided
    since = 0
    for instant, opens, interval in events:
        if instant > since and open_now:
            deepest = [i.stage or "" for key, i in open_now.items() if not covered.get(key)]
            for stage in deepest:
                key = (stage, len(deepest))
                lengths[key] = lengths.get(key, 0) + instant - since
        since = instant
        if opens:
            open_now[id(interval)] = interval
        else:
            del open_now[id(interval)]
        _cover(covered, interval, 1 if opens else -1)
    totals: dict[str, int] = {}
    for (stage, sharers), length in lengths.items():
        totals[stage] = totals.get(stage, 0) + length // sharers
    return totals


def _cover(covered: dict[int, int], interval: Interval, step: int) -> None:
    ancestor = interval.parent
    while ancestor is not None:
        covered[id(ancestor)] = covered.get(id(ancestor), 0) + step
        ancestor = ancestor.parent
