"""What the holders did: the parts of a hold against a look at every millisecond of it."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.holding import holders
from harness.analysis.holding.held_work import parts_of
from harness.join import Halves, Intervals
from tests.blame_builders import MS, T0, Stretch, halves, infer, prepare, wait

Cells = dict[tuple[int, int], dict[int, float]]  # (hold, ms) -> row -> weight


def cells(found: Halves) -> Cells:
    """What each millisecond of each hold is charged to."""
    holds = holders.find(found, np.zeros(len(found.process_of), np.int64))
    cut: Cells = defaultdict(dict)
    for parts in parts_of(found.intervals, holds, np.ones(len(holds), np.bool_)):
        begin, end = (((at - T0) // MS).tolist() for at in (parts.begin_ns, parts.end_ns))
        for hold, since, until, row, weight in zip(
            parts.hold.tolist(), begin, end, parts.row.tolist(), parts.weight.tolist(), strict=True
        ):
            for ms in range(since, until):
                cut[hold, ms][row] = cut[hold, ms].get(row, 0.0) + weight
    return dict(cut)


def expected(found: Halves) -> Cells:
    spans = found.intervals
    holds = holders.find(found, np.zeros(len(found.process_of), np.int64))
    looked: Cells = {}
    for hold in np.flatnonzero(holds.request >= 0).tolist():
        begin, end = ((int(at[hold]) - T0) // MS for at in (holds.begin_ns, holds.end_ns))
        for ms in range(begin, end):
            deepest = _deepest(spans, int(holds.request[hold]), T0 + ms * MS)
            looked[hold, ms] = dict.fromkeys(deepest, 1 / len(deepest)) if deepest else {-1: 1.0}
    return looked


def _deepest(spans: Intervals, request: int, at_ns: int) -> list[int]:
    is_open = (spans.request == request) & (spans.start_ns <= at_ns) & (spans.end_ns > at_ns)
    rows = np.flatnonzero(is_open).tolist()
    above: set[int] = set()
    for row in rows:
        parent = int(spans.parent[row])
        while parent >= 0:
            above.add(parent)
            parent = int(spans.parent[parent])
    return [row for row in rows if row not in above]


def test_work_side_by_side_shares_a_hold() -> None:
    request = [wait("threadpool", 0, 1), infer(1, 3), prepare(2, 4)]

    assert cells(halves([request])) == {(0, 1): {1: 1.0}, (0, 2): {1: 0.5, 2: 0.5}, (0, 3): {2: 1.0}}


def test_without_holds_there_are_no_parts() -> None:
    assert cells(halves([])) == {}
    assert cells(halves([[infer(0, 1)]])) == {}


@st.composite
def a_request(draw: st.DrawFn) -> list[Stretch]:
    """Up to two trips into threads and a lock, with spans in any order and place around and inside them."""
    found: list[Stretch] = []
    for at in sorted(draw(st.lists(st.integers(0, 20), max_size=7))):
        stage = draw(st.sampled_from(["queue", "preprocess", "inference"]))
        inside = [i for i, each in enumerate(found) if each.stage != "queue"]
        resource = draw(st.sampled_from(["threadpool", "event_loop", "lock"])) if stage == "queue" else None
        parent = draw(st.sampled_from([-1, *inside]))
        found.append(Stretch(stage, at, at + draw(st.integers(0, 10)), resource=resource, inside=parent))
    return found


@settings(deadline=None, max_examples=50)
@given(st.lists(a_request(), max_size=3))
def test_every_instant_of_a_hold_goes_to_the_deepest_open_spans(requests: list[list[Stretch]]) -> None:
    any_of_them = halves(requests)

    found, looked = cells(any_of_them), expected(any_of_them)

    assert found.keys() == looked.keys()
    for at, weights in looked.items():
        assert found[at] == pytest.approx(weights)
