"""The mean time of typical and of slow requests by path: stage, then the model or resource, then what ran inside it.

Every instant belongs to the deepest spans that are open, shared if several are, as in the ledger. So the frames add up
to the mean latency, and the time of a stage in the graph is the ledger's.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from harness.flames.fold import MOST_DEEP, Folded, graph
from harness.join import CHANNELS, OTLP, Halves, Intervals
from harness.model import CLAIMS, SERVER_STAGES, STAGES
from harness.views import Flame

TYPICAL, SLOW = (0.45, 0.55), (0.95, 1.0)
"""Ranks by latency, as shares of all requests: the same groups that the tail is explained with."""
LEAST_REQUESTS = 10
MOST_REQUESTS = 2_000
"""Of each group: evenly drawn where there are more."""
_MOST_PIECES = 2_000_000  # of (span, segment): bounds memory, whatever a service sends

Rows = NDArray[np.int64]
Seconds = NDArray[np.float64]


def span_flames(halves: Halves, samples: pa.Table, rows: pd.DataFrame) -> tuple[Flame, ...]:
    """A flame graph of typical requests and one of the slowest 5 %; none where too few have a server half.

    Row i of `halves` belongs to sample i; `rows` are the ledger rows that count: measured, ok, with server half.
    """
    latency = rows["latency_s"].to_numpy(dtype=np.float64)
    finite = np.flatnonzero(np.isfinite(latency))
    ranked = finite[np.argsort(latency[finite], kind="stable")]
    flames = []
    for (low, high), what in ((TYPICAL, "Typical requests"), (SLOW, "Slowest 5% of requests")):
        chosen = ranked[round(len(ranked) * low) : round(len(ranked) * high)]
        if len(chosen) >= LEAST_REQUESTS:
            drawn = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), MOST_REQUESTS)).astype(np.int64)]
            flames.append(_flame(what, halves, samples, rows.iloc[np.sort(drawn)], len(chosen)))
    return tuple(flames)


def _flame(what: str, halves: Halves, samples: pa.Table, rows: pd.DataFrame, of: int) -> Flame:
    ids = samples.column("request_id").to_numpy()
    wanted = np.flatnonzero(np.isin(ids, rows["request_id"].to_numpy(dtype=np.int64)))
    means = {stage: _mean(rows, stage) for stage in STAGES}
    root = Folded(f"{what}, mean")
    for stage in STAGES:
        if stage not in SERVER_STAGES and means[stage] > 0:
            root.child(stage, stage, stage).own_s += means[stage]
    found, weight = _of_requests(halves, wanted)
    _hang(root, halves.intervals, found, _own_s(halves.intervals, halves, found) * weight, means)
    root.below = {stage: root.below[stage] for stage in STAGES if stage in root.below}
    drawn = f" ({len(rows):,} of them drawn)" if len(rows) < of else ""
    note = f"Mean of {of:,} requests{drawn}. Wall-clock time by path; each instant counts for the deepest open span."
    return Flame(what, of, note, graph(root))


def _mean(rows: pd.DataFrame, stage: str) -> float:
    """Mean seconds; a stage that is not known of a request counts as nothing there, as in the ledger."""
    return float(np.nan_to_num(rows[f"{stage}_s"].to_numpy(dtype=np.float64)).mean()) if len(rows) else 0.0


# --- own time of each span -----------------------------------------------------------------------------------


def _of_requests(halves: Halves, wanted: Rows) -> tuple[Rows, float]:
    """Rows of the intervals of these samples, so many that the work stays bounded; and what a second of one of them
    adds to the mean of all.
    """
    request = halves.intervals.request
    spans = halves.channel[wanted] == CHANNELS.index(OTLP)
    told = wanted[spans]
    first = np.searchsorted(request, told, side="left")
    count = np.searchsorted(request, told, side="right") - first
    pieces = 2.0 * count**2
    kept = np.cumsum(np.where(pieces <= _MOST_PIECES / 10, pieces, 0.0)) <= _MOST_PIECES
    kept &= pieces <= _MOST_PIECES / 10
    first, count = first[kept], count[kept]
    if not count.sum():
        return np.empty(0, np.int64), 0.0
    begins = np.repeat(first - np.concatenate(([0], np.cumsum(count)[:-1])), count)
    return (begins + np.arange(count.sum())).astype(np.int64), len(told) / len(wanted) / len(count)


def _own_s(intervals: Intervals, halves: Halves, rows: Rows) -> Seconds:
    """Seconds of each of these intervals in which none below it is open, shared with those open beside it.

    All requests are laid one after the other on one line, so that they can be cut at every begin and end at once.
    """
    if not len(rows):
        return np.empty(0)
    request = intervals.request[rows]
    opened, closed = halves.start_ns[request], halves.end_ns[request]
    begin = np.clip(intervals.start_ns[rows], opened, closed) - opened
    stop = np.maximum(np.clip(intervals.end_ns[rows], opened, closed) - opened, begin)
    number = np.unique(request, return_inverse=True)[1]
    lengths = np.zeros(number.max() + 1, np.int64)
    np.maximum.at(lengths, number, closed - opened)
    shift = np.concatenate(([0], np.cumsum(lengths + 1)[:-1]))[number]
    begin, stop = begin + shift, stop + shift
    cuts = np.unique(np.concatenate((begin, stop)))
    low, high = np.searchsorted(cuts, begin), np.searchsorted(cuts, stop)
    size = high - low
    starts = np.concatenate(([0], np.cumsum(size)[:-1]))
    owner = np.repeat(np.arange(len(rows)), size)
    segment = np.arange(size.sum()) - np.repeat(starts - low, size)
    leaf = _deepest(intervals, rows, owner, segment, low, high, starts)
    length = np.append(np.diff(cuts), 0)
    sharers = np.bincount(segment[leaf], minlength=len(cuts))
    spent = length[segment[leaf]] / sharers[segment[leaf]]
    return np.bincount(owner[leaf], weights=spent, minlength=len(rows)) / 1e9


def _deepest(
    intervals: Intervals, rows: Rows, owner: Rows, segment: Rows, low: Rows, high: Rows, starts: Rows
) -> NDArray[np.bool_]:
    """Which (interval, segment) have nothing open below them."""
    leaf = np.ones(len(owner), np.bool_)
    parent = _places(intervals, rows)
    above = parent.copy()
    for _ in range(MOST_DEEP):
        if (above < 0).all():
            break
        has = above[owner] >= 0
        ancestor, at = above[owner[has]], segment[has]
        inside = (at >= low[ancestor]) & (at < high[ancestor])
        leaf[(starts[ancestor] + at - low[ancestor])[inside]] = False
        above = np.where(above >= 0, parent[above], -1)
    return leaf


def _places(intervals: Intervals, rows: Rows) -> Rows:
    """The parent of each of these intervals, as a position in `rows`; -1: none. Parents are in the same request."""
    parent = intervals.parent[rows]
    place = np.searchsorted(rows, np.maximum(parent, 0))
    return np.where(parent >= 0, np.minimum(place, len(rows) - 1), -1)


# --- paths -----------------------------------------------------------------------------------------------------


def _hang(root: Folded, intervals: Intervals, rows: Rows, own_s: Seconds, means: dict[str, float]) -> None:
    """The own time of each path, moved onto the ledger's mean of its stage: some requests gave no spans."""
    path, keys = _paths(intervals, rows)
    by_path = np.bincount(path[path >= 0], weights=own_s[path >= 0], minlength=len(keys)).tolist()
    nodes: list[Folded | None] = []
    for above, claim, name in keys:
        nodes.append(_node(root if above < 0 else nodes[above], CLAIMS[claim], name))
    placed = [(node, seconds) for node, seconds in zip(nodes, by_path, strict=True) if node is not None]
    for stage in SERVER_STAGES:
        seen = sum(seconds for node, seconds in placed if node.stage == stage)
        for node, seconds in placed:
            if node.stage == stage and seen > 0:
                node.own_s += seconds * min(1.0, means[stage] / seen)
        if means[stage] > seen:
            root.child(stage, stage, stage).own_s += means[stage] - seen


def _node(holder: Folded | None, stage: str, name: str) -> Folded | None:
    """Where the time of a path belongs. Waits for the body and in sending are upload and download already."""
    if holder is None or stage not in SERVER_STAGES:
        return None
    if holder.stage != stage:
        holder = holder.child(stage, stage, stage)
    return holder.child((stage, name), name, stage) if name else holder


def _paths(intervals: Intervals, rows: Rows) -> tuple[Rows, list[tuple[int, int, str]]]:
    """The path of each interval as a number, and of each number (path above it, stage, name); the ones above first."""
    parent = _places(intervals, rows)
    names = [*intervals.models, *intervals.resources]
    model, resource = intervals.model_of[rows], intervals.resource_of[rows]
    name = np.where(model >= 0, model, np.where(resource >= 0, resource + len(intervals.models), -1))
    path = np.full(len(rows), -1, np.int64)
    keys: list[tuple[int, int, str]] = []
    ready = np.flatnonzero(parent < 0)
    for _ in range(MOST_DEEP):
        if not len(ready):
            break
        above = np.where(parent[ready] >= 0, path[parent[ready]], -1)
        columns = np.column_stack((above, intervals.stage[rows[ready]], name[ready]))
        found, number = np.unique(columns, axis=0, return_inverse=True)
        path[ready] = len(keys) + number.ravel()
        keys += [(int(a), int(s), names[k] if k >= 0 else "") for a, s, k in found.tolist()]
        ready = np.flatnonzero((path < 0) & (parent >= 0) & (path[np.maximum(parent, 0)] >= 0))
    return path, keys
