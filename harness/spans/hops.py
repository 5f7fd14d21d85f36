"""Calls from one service to another inside a request: the callee's clock, moved onto its caller's.

The server span of a call has to lie inside the client span that made it. Where it does not, the two clocks differ, and
everything below the server span is moved so that it lies in the middle of the call (or begins with it, when it took
longer). A callee that fits is left alone: its clock is as good as the call can tell. Which callee has which offset is
found per call, since a trace holds no more than that; jaeger's adjuster rests on the same rule.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.spans import tree
from harness.spans.columns import UNKNOWN, SpanColumns
from harness.spans.tree import NONE, Rows


@dataclass(frozen=True, slots=True)
class Moved:
    """How many server spans of callees had to be moved, and the farthest move, ns."""

    calls: int
    farthest_ns: int


NOT_MOVED = Moved(0, 0)
SLACK_NS = 1_000_000
"""What sticks out less is the resolution of clocks and formats, not a difference of clocks."""


def on_one_clock(spans: SpanColumns, parent: Rows, root: NDArray[np.bool_]) -> tuple[SpanColumns, Moved]:
    """The spans with the callees of each request on the clock of its root. `parent` holds rows of `spans`."""
    called = np.flatnonzero(spans.server & ~root & (parent != NONE) & spans.client[parent])
    if not len(called):
        return spans, NOT_MOVED
    by = parent[called]
    start, end = spans.start_ns[called], spans.end_ns[called]
    sticks_out = np.maximum(spans.start_ns[by] - start, end - spans.end_ns[by])
    outside = sticks_out > SLACK_NS
    spare = np.maximum(spans.end_ns[by] - spans.start_ns[by] - (end - start), 0)
    move = np.where(outside, spans.start_ns[by] + spare // 2 - start, 0)
    by_row = _moves(len(parent), parent, called, move)
    far = int(np.abs(move).max())
    if far == 0:
        return spans, NOT_MOVED
    moved: dict[str, Any] = {
        name: np.where(getattr(spans, name) == UNKNOWN, UNKNOWN, getattr(spans, name) + by_row)
        for name in ("start_ns", "end_ns", "answered_ns", "sent_ns")
    }
    return replace(spans, **moved), Moved(int(outside.sum()), far)


def _moves(n: int, parent: Rows, called: Rows, move: NDArray[np.int64]) -> NDArray[np.int64]:
    """How far each row moves: its own callee's move, and those of the callees that one hangs below."""
    is_called = np.zeros(n, np.bool_)
    is_called[called] = True
    above = tree.nearest(parent, is_called)
    whole = np.zeros(n, np.int64)
    whole[called] = move
    further = np.where(is_called, above, NONE)
    for _ in range(n.bit_length() + 1):
        rows = np.flatnonzero(further != NONE)
        if not len(rows):
            break
        whole[rows] += whole[further[rows]]
        further[rows] = further[further[rows]]
    return np.where(is_called, whole, np.where(above == NONE, 0, whole[above]))
