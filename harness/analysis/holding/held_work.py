"""What the holders of a resource did while they held it: every instant of a hold goes to the deepest open intervals of
its request, 1/k each where k of them are open side by side, and to no stage where none is open.

The same rule as `harness.charge` has for windows, but with the instants kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis.holding.hand_overs import spread
from harness.analysis.holding.holders import Holds
from harness.join import Intervals

_TOGETHER = 400_000
"""Intervals whose requests are cut together: bounds memory."""

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Stretches of holds. `row`: the interval that is charged, -1: none was open. Its weights are 1 in sum."""

    hold: Rows
    begin_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    row: Rows
    request: NDArray[np.int64]
    weight: NDArray[np.float64]


def parts_of(spans: Intervals, holds: Holds, wanted: NDArray[np.bool_]) -> Iterator[Parts]:
    """What the wanted holds consist of, some at a time."""
    yield _of_batches(spans, holds, wanted)
    rows = np.flatnonzero(wanted & (holds.request >= 0))
    rows = rows[np.argsort(holds.request[rows], kind="stable")]
    first = np.searchsorted(spans.request, holds.request[rows], side="left")
    chunk = first // _TOGETHER
    for edge in np.split(rows, np.flatnonzero(np.diff(chunk)) + 1):
        if len(edge):
            yield _cut(spans, holds, edge)


def _of_batches(spans: Intervals, holds: Holds, wanted: NDArray[np.bool_]) -> Parts:
    """A batch is divided evenly among its members."""
    members = np.bincount(holds.member_hold, minlength=len(holds))
    kept = wanted[holds.member_hold]
    hold, row = holds.member_hold[kept], holds.member_row[kept]
    return Parts(
        hold=hold,
        begin_ns=holds.begin_ns[hold],
        end_ns=holds.end_ns[hold],
        row=row,
        request=spans.request[row].astype(np.int64),
        weight=1.0 / members[hold],
    )


def _cut(spans: Intervals, holds: Holds, chosen: Rows) -> Parts:
    """The parts of these holds, in order of request: cut wherever an interval of it, or a hold, begins or ends."""
    requests = holds.request[chosen]
    requests = requests[np.append(True, np.diff(requests) != 0)]
    since = np.searchsorted(spans.request, requests, side="left")
    until = np.searchsorted(spans.request, requests, side="right")
    _, rows = spread(since, until - since)
    rows = rows[spans.end_ns[rows] > spans.start_ns[rows]]
    begin, end = holds.begin_ns[chosen], holds.end_ns[chosen]
    at = np.concatenate((spans.start_ns[rows], spans.end_ns[rows], begin, end))
    request = np.concatenate((spans.request[rows], spans.request[rows], holds.request[chosen], holds.request[chosen]))
    order = np.lexsort((at, request))
    at, request = at[order], request[order]
    new = np.append(True, (np.diff(at) != 0) | (np.diff(request) != 0))
    place = np.empty(len(order), np.int64)
    place[order] = np.cumsum(new) - 1
    cuts = at[new]
    n, m = len(rows), len(chosen)
    segment, row, weight = _charged(spans, rows, place[:n], place[n : 2 * n], len(cuts))
    edges = np.searchsorted(segment, np.arange(len(cuts) + 1))
    first, last = edges[place[2 * n : 2 * n + m]], edges[place[2 * n + m :]]
    hold, piece = spread(first, last - first)
    return Parts(
        hold=chosen[hold],
        begin_ns=cuts[segment[piece]],
        end_ns=cuts[segment[piece] + 1],
        row=row[piece],
        request=holds.request[chosen[hold]],
        weight=weight[piece],
    )


def _charged(
    spans: Intervals, rows: Rows, first: Rows, until: Rows, segments: int
) -> tuple[Rows, Rows, NDArray[np.float64]]:
    """Which rows each segment between two cuts goes to, and with what weight, in order of segment; -1 where to none."""
    owner, segment = spread(first, until - first)
    sharers = np.bincount(segment, minlength=segments)
    if sharers.max(initial=0) > 1:
        free = ~_open_below(spans, rows, first, until, owner, segment)
        owner, segment = owner[free], segment[free]
        sharers = np.bincount(segment, minlength=segments)
    nobody = np.flatnonzero(sharers == 0)
    segment = np.concatenate((segment, nobody))
    row = np.concatenate((rows[owner], np.full(len(nobody), -1, np.int64)))
    order = np.argsort(segment, kind="stable")
    segment = segment[order]
    return segment, row[order], 1.0 / np.maximum(sharers[segment], 1)


def _open_below(
    spans: Intervals, rows: Rows, first: Rows, until: Rows, owner: Rows, segment: Rows
) -> NDArray[np.bool_]:
    """Of each pair of a row (`owner`) and a segment in which it is open: whether a descendant of it is open as well."""
    pairs_before = np.concatenate(([0], np.cumsum(until - first)))
    position = np.full(len(spans) + 1, -1, np.int64)
    position[rows] = np.arange(len(rows))
    parent = position[np.where(spans.parent[rows] >= 0, spans.parent[rows], len(spans))]
    blocked = np.zeros(len(owner), np.bool_)
    above = parent[owner]
    while (above >= 0).any():
        inside = np.flatnonzero(above >= 0)
        inside = inside[(segment[inside] >= first[above[inside]]) & (segment[inside] < until[above[inside]])]
        blocked[pairs_before[above[inside]] + segment[inside] - first[above[inside]]] = True
        above = np.where(above >= 0, parent[above], -1)
    return blocked
