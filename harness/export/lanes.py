"""Intervals that overlap -> lanes on which they only nest: what formats without overlaps can show."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush


@dataclass(slots=True)
class _Lane:
    number: int
    owner: Hashable = None
    open_until: list[int] = field(default_factory=list)  # ends of what is open, the innermost last


def lanes(starts: Sequence[int], ends: Sequence[int], owners: Sequence[Hashable]) -> list[int]:
    """A lane for each interval, counted from 0: those on one lane nest or follow each other.

    Only intervals of one owner nest. An owner keeps to the lanes it has; a new lane is the lowest free one (greedy
    interval colouring: there are never more lanes than intervals that overlap).
    """
    order = sorted(range(len(starts)), key=lambda row: (starts[row], -ends[row]))
    found = [0] * len(starts)
    free: list[int] = []
    busy: list[tuple[int, int]] = []  # (until, lane)
    every: list[_Lane] = []
    of_owner: dict[Hashable, list[_Lane]] = {}
    for row in order:
        start, end, owner = starts[row], ends[row], owners[row]
        while busy and busy[0][0] <= start:
            heappush(free, heappop(busy)[1])
        held = [lane for lane in of_owner.get(owner, ()) if lane.owner == owner and lane.open_until[0] > start]
        lane = next((lane for lane in held if _fits(lane, start, end)), None)
        if lane is None:
            if not free:
                every.append(_Lane(len(every)))
                heappush(free, len(every) - 1)
            lane = every[heappop(free)]
            lane.owner, lane.open_until = owner, []
            heappush(busy, (end, lane.number))
            held.append(lane)
        of_owner[owner] = held
        lane.open_until.append(end)
        found[row] = lane.number
    return found


def _fits(lane: _Lane, start: int, end: int) -> bool:
    """Whether the interval lies inside what is open there; what has ended is closed."""
    while len(lane.open_until) > 1 and lane.open_until[-1] <= start:
        lane.open_until.pop()
    return end <= lane.open_until[-1]
