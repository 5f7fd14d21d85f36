"""Windows of many requests charged to stages at once: every instant of a window to the deepest open intervals.

The same rule as `harness.instrument.partition`, which a service applies to one request: an instant goes to the open
intervals that have no open descendant; k of them in parallel branches get 1/k each. Requests whose intervals follow
each other are summed up; the others are cut at every begin and end, all requests with equally many intervals together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.instrument.partition import partition
from harness.join import Intervals
from harness.model import CLAIMS
from harness.spans import tree

MOST_TOGETHER = 64
"""Requests with more intervals are charged one by one: the work done together grows with the cube of their number."""
_CELLS = 2_000_000  # of one step's largest table: bounds memory

Times = NDArray[np.int64]
Seconds = NDArray[np.float64]


def charge(intervals: Intervals, opened_ns: Times, closed_ns: Times) -> Seconds:
    """Seconds of each request's window [opened, closed) by stage: a row per request, a column for each of CLAIMS."""
    pieces = _clipped(intervals, opened_ns, closed_ns)
    n = len(opened_ns)
    one_by_one = _overlapping(pieces, n)
    lengths = np.where(one_by_one[pieces.request], 0, pieces.stop - pieces.begin).astype(np.float64)
    large: list[NDArray[np.int64]] = []
    for rows in _together(pieces, one_by_one):
        if rows.shape[1] > MOST_TOGETHER:
            large += list(rows)
        else:
            lengths[rows] = _shared(pieces, rows)
    cells = pieces.request.astype(np.int64) * len(CLAIMS) + pieces.stage
    table = np.bincount(cells, weights=lengths, minlength=n * len(CLAIMS)).reshape(n, len(CLAIMS)).astype(np.float64)
    for rows in large:
        table[pieces.request[rows[0]]] = _alone(pieces, rows)
    seconds: Seconds = table / 1e9
    return seconds


@dataclass(frozen=True, slots=True)
class _Pieces:
    """What is left of the intervals inside the windows, in order of (request, begin). `parent` is a row, -1: none."""

    request: NDArray[np.int32]
    stage: NDArray[np.int8]
    begin: Times
    stop: Times
    parent: tree.Rows


def _clipped(intervals: Intervals, opened_ns: Times, closed_ns: Times) -> _Pieces:
    begin = np.maximum(intervals.start_ns, opened_ns[intervals.request])
    stop = np.minimum(intervals.end_ns, closed_ns[intervals.request])
    kept = stop > begin
    above = tree.nearest(intervals.parent, kept)
    rows = np.flatnonzero(kept)
    # Clipping may only have tied begins at the opening: sorted by request and start, they are sorted by begin.
    place = np.full(len(kept) + 1, tree.NONE, np.int64)
    place[rows] = np.arange(len(rows))
    return _Pieces(intervals.request[rows], intervals.stage[rows], begin[rows], stop[rows], place[above[rows]])


def _overlapping(pieces: _Pieces, n: int) -> NDArray[np.bool_]:
    """Which requests have intervals that do not simply follow each other."""
    same = pieces.request[1:] == pieces.request[:-1]
    crosses = same & (pieces.begin[1:] < pieces.stop[:-1])
    found = np.zeros(n, np.bool_)
    found[pieces.request[1:][crosses]] = True
    return found


def _together(pieces: _Pieces, wanted: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Row numbers of the wanted requests, as tables with a row per request, of equally many columns each."""
    rows = np.flatnonzero(wanted[pieces.request])
    if not len(rows):
        return []
    request = pieces.request[rows]
    edges = np.concatenate(([0], np.flatnonzero(np.diff(request)) + 1, [len(rows)]))
    first, size = edges[:-1], np.diff(edges)
    tables = []
    for many in np.unique(size).tolist():
        table = rows[first[size == many][:, None] + np.arange(many)]
        tables += np.array_split(table, max(1, -(-table.shape[0] * many * 2 * many // _CELLS)))
    return tables


def _shared(pieces: _Pieces, rows: NDArray[np.int64]) -> Seconds:
    """Nanoseconds that each interval of these requests is charged; `rows` and the answer: (requests, intervals)."""
    many = rows.shape[1]
    begin, stop = pieces.begin[rows], pieces.stop[rows]
    cuts = np.sort(np.concatenate((begin, stop), axis=1), axis=1)
    length = np.diff(cuts, axis=1)  # (requests, segments)
    is_open = (begin[:, :, None] <= cuts[:, None, :-1]) & (stop[:, :, None] >= cuts[:, None, 1:])
    has_open_below = np.matmul(_descends(pieces.parent[rows] - rows[:, :1], many), is_open.astype(np.float32)) > 0
    charged = is_open & ~has_open_below
    sharers = charged.sum(axis=1)
    share = np.where(sharers > 0, length / np.maximum(sharers, 1), 0.0)
    spent: Seconds = np.einsum("rms,rs->rm", charged.astype(np.float64), share)
    return spent


def _descends(parent: NDArray[np.int64], many: int) -> NDArray[np.float32]:
    """(requests, ancestor, descendant): 1 where the one is above the other. `parent` holds columns, negative: none."""
    below = np.zeros((parent.shape[0], many, many), np.float32)
    request, child = np.nonzero(parent >= 0)
    below[request, parent[request, child], child] = 1
    for _ in range(many.bit_length()):
        further = np.minimum(below + np.matmul(below, below), 1)
        if np.array_equal(further, below):
            break
        below = further
    return below


@dataclass(slots=True, eq=False)
class _Span:
    """An interval as the service's own partition wants it."""

    start: int
    end: int | None
    stage: str | None
    parent: _Span | None = None


def _alone(pieces: _Pieces, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Nanoseconds of one request by stage."""
    first = int(rows[0])
    columns = (pieces.begin[rows].tolist(), pieces.stop[rows].tolist(), pieces.stage[rows].tolist())
    spans = [_Span(begin, stop, CLAIMS[stage]) for begin, stop, stage in zip(*columns, strict=True)]
    for span, parent in zip(spans, (pieces.parent[rows] - first).tolist(), strict=True):
        span.parent = spans[parent] if parent >= 0 else None
    spent = partition(int(pieces.begin[rows].min()), int(pieces.stop[rows].max()), spans)
    return np.array([spent.get(stage, 0) for stage in CLAIMS], np.float64)
