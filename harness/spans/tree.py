"""Who hangs under whom: the spans of all requests as one forest of row numbers. No loop over requests.

Rows are sorted by (request, id); `parent` columns hold row numbers, -1 for none. Chains are followed by letting each
pointer jump to where its target points: a chain of n links takes log2(n) rounds, and a circle does not end, which is
how it is noticed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]

NONE = -1


def parents_of(request: NDArray[np.int32], ids: NDArray[np.uint64], parent_ids: NDArray[np.uint64]) -> Rows:
    """The row of each row's parent: the span of the same request with that id. A span is not its own parent.

    A binary search of all rows at once, each in the rows of its own request.
    """
    n = len(request)
    edges = np.flatnonzero(np.diff(request)) + 1
    starts, ends = np.concatenate(([0], edges)), np.concatenate((edges, [n]))
    sizes = ends - starts if n else np.zeros(0, np.int64)
    low, high = np.repeat(starts, sizes) if n else np.zeros(0, np.int64), np.repeat(ends, sizes) if n else None
    if high is None:
        return np.zeros(0, np.int64)
    end = high.copy()
    for _ in range(int(sizes.max()).bit_length()):
        middle = (low + high) // 2
        searching = low < high
        below = searching & (ids[np.minimum(middle, n - 1)] < parent_ids)
        low = np.where(below, middle + 1, low)
        high = np.where(searching & ~below, middle, high)
    hit = np.minimum(low, n - 1)
    found = (low < end) & (ids[hit] == parent_ids) & (parent_ids != 0) & (hit != np.arange(n))
    return np.where(found, hit, NONE)


def ends_of(parent: Rows) -> Rows:
    """The topmost row above each row (itself when it has no parent); -1 for rows in or under a circle."""
    n = len(parent)
    top = np.where(parent == NONE, np.arange(n), parent)
    for _ in range(max(1, n).bit_length() + 1):
        further = top[top]
        if np.array_equal(further, top):
            break
        top = further
    return np.where(parent[top] == NONE, top, NONE) if n else top


def nearest(parent: Rows, wanted: NDArray[np.bool_]) -> Rows:
    """The nearest row above each row that is `wanted`; -1 without one. Circles are cut open."""
    above = parent.copy()
    for _ in range(max(1, len(parent)).bit_length() + 1):
        passing = np.flatnonzero((above != NONE) & ~wanted[above])
        if not len(passing):
            break
        above[passing] = above[above[passing]]
    else:
        above[(above != NONE) & ~wanted[above]] = NONE
    above[ends_of(above) == NONE] = NONE
    return above
