"""Whether a stage works or waits: the wall clock of its spans against the CPU time of their threads.

Both are self times, what spans inside have taken is off. Where the two differ, the thread did not run: it waited for a
lock, a disk, another thread or a processor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.diagnosis import WorkFindings
from harness.join import Intervals
from harness.model import CLAIMS

Seconds = NDArray[np.float64]
Nanoseconds = NDArray[np.int64]

WORKING = ("preprocess", "inference", "postprocess")
"""Stages that are asked; the others are waits by their meaning."""

_WAITS = np.array([stage in ("upload", "queue", "download") for stage in CLAIMS])
_MOST_NS = 4 * 10**18  # stays within 64 bits


def per_request(intervals: Intervals, n: int) -> tuple[Seconds, Seconds]:
    """Wall clock and CPU of each stage of `n` requests, seconds: a row per request, a column for each of CLAIMS.

    The CPU time is NaN where a span of that stage lacks it, or a span inside that works: its CPU is in the outer one's.
    """
    own_ns = intervals.end_ns - intervals.start_ns - _covered(intervals)
    cpu_ns, unknown = _own_cpu(intervals)
    cells = intervals.request.astype(np.int64) * len(CLAIMS) + intervals.stage
    wall = _summed(cells, np.maximum(own_ns, 0), n)
    cpu = _summed(cells, np.where(unknown, 0, cpu_ns), n)
    cpu.reshape(-1)[cells[unknown]] = np.nan
    return wall, cpu


def work_findings(wall: Seconds, cpu: Seconds, counted: NDArray[np.bool_]) -> tuple[WorkFindings, ...]:
    """Mean wall clock and CPU of the working stages, over the counted requests that have both."""
    found = []
    for stage in WORKING:
        column = CLAIMS.index(stage)
        has = counted & np.isfinite(cpu[:, column]) & (wall[:, column] > 0.0)
        n = int(has.sum())
        if n:
            wall_s, cpu_s = float(wall[has, column].mean()), float(cpu[has, column].mean())
            found.append(WorkFindings(stage, n, wall_s, cpu_s, busy=cpu_s / wall_s))
    return tuple(found)


def _summed(cells: NDArray[np.int64], ns: Nanoseconds, n: int) -> Seconds:
    total = np.bincount(cells, weights=ns.astype(np.float64), minlength=n * len(CLAIMS))
    seconds: Seconds = total.reshape(n, len(CLAIMS)) / 1e9
    return seconds


def _own_cpu(intervals: Intervals) -> tuple[Nanoseconds, NDArray[np.bool_]]:
    """CPU of each span without that of the spans inside, and where it is not known.

    A span that ran on another thread is not in the outer one's CPU: what becomes negative by it is none.
    """
    unknown = intervals.cpu_ns < 0
    inner = np.flatnonzero(intervals.parent >= 0)
    outer = intervals.parent[inner]
    inside = np.bincount(outer, weights=np.maximum(intervals.cpu_ns[inner], 0), minlength=len(intervals))
    own = np.maximum(intervals.cpu_ns - inside.astype(np.int64), 0)
    doubtful = unknown[inner] & ~_WAITS[intervals.stage[inner]]
    unknown = unknown.copy()
    unknown[outer[doubtful]] = True
    return own, unknown


def _covered(intervals: Intervals) -> Nanoseconds:
    """How much of each span its own inner spans cover, ns; what they cover together counts once."""
    inner = np.flatnonzero(intervals.parent >= 0)
    inner = inner[np.argsort(intervals.parent[inner], kind="stable")]  # within a span still in order of their begin
    outer = intervals.parent[inner]
    begin = np.maximum(intervals.start_ns[inner], intervals.start_ns[outer])
    stop = np.maximum(np.minimum(intervals.end_ns[inner], intervals.end_ns[outer]), begin)
    begin = np.maximum(begin, _latest_before(outer, stop, intervals.start_ns[outer]))
    covered = np.bincount(outer, weights=np.maximum(stop - begin, 0).astype(np.float64), minlength=len(intervals))
    found: Nanoseconds = covered.astype(np.int64)
    return found


def _latest_before(outer: NDArray[np.int64], stop: Nanoseconds, since: Nanoseconds) -> Nanoseconds:
    """The latest end among the earlier spans inside the same one; its begin for the first."""
    if not len(outer):
        return stop
    first = np.ones(len(outer), np.bool_)
    first[1:] = outer[1:] != outer[:-1]
    place = np.cumsum(first) - 1
    longest = int((stop - since).max()) + 1
    unit = 1 + longest * (int(place[-1]) + 1) // _MOST_NS  # coarser than 1 ns only where the sum would overflow
    lane = (longest // unit + 1) * place  # far enough apart that no maximum reaches into the next lane
    latest = np.maximum.accumulate((stop - since) // unit + lane)
    before = np.empty_like(latest)
    before[0], before[1:] = 0, latest[:-1]
    found: Nanoseconds = since + np.where(first, 0, before - lane) * unit
    return found
