"""Windows charged to stages in columns: the same rule as the service applies to one request, and figures by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.charge import MOST_TOGETHER, charge
from harness.instrument.partition import partition
from harness.join import Intervals
from harness.model import CLAIMS

Row = tuple[int, str, int, int, int]  # request, stage, start, end, parent (a position in the list, -1: none)


def intervals(rows: list[Row]) -> Intervals:
    """In the order of (request, start), as the join gives them."""
    order = sorted(range(len(rows)), key=lambda i: (rows[i][0], rows[i][2]))
    place = {old: new for new, old in enumerate(order)} | {-1: -1}
    ordered = [rows[i] for i in order]
    none = np.full(len(rows), -1, np.int32)
    return Intervals(
        request=np.array([r[0] for r in ordered], np.int32),
        stage=np.array([CLAIMS.index(r[1]) for r in ordered], np.int8),
        start_ns=np.array([r[2] for r in ordered], np.int64),
        end_ns=np.array([r[3] for r in ordered], np.int64),
        parent=np.array([place[r[4]] for r in ordered], np.int64),
        model_of=none, resource_of=none, batch_of=none, batch_size=none, wait_of=none,
        cpu_ns=none.astype(np.int64), models=(), resources=(), batches=(), waits=(),
    )  # fmt: skip


def charged(rows: list[Row], windows: list[tuple[int, int]]) -> list[dict[str, float]]:
    """Nanoseconds by stage of each window, stages without any left out."""
    opened, closed = (np.array(side, np.int64) for side in zip(*windows, strict=True))
    table = charge(intervals(rows), opened, closed) * 1e9
    return [{stage: round(ns, 3) for stage, ns in zip(CLAIMS, row, strict=True) if ns} for row in table.tolist()]


def test_stages_that_follow_each_other_get_their_lengths_inside_the_window() -> None:
    rows: list[Row] = [(0, "queue", 0, 30, -1), (0, "inference", 30, 80, -1), (1, "preprocess", 5, 500, -1)]

    assert charged(rows, [(10, 60), (0, 100)]) == [{"queue": 20, "inference": 30}, {"preprocess": 95}]


def test_a_stage_inside_another_takes_its_time_from_it() -> None:
    rows: list[Row] = [(0, "inference", 10, 90, -1), (0, "queue", 30, 50, 0), (0, "queue", 35, 40, 1)]

    assert charged(rows, [(0, 100)]) == [{"queue": 20, "inference": 60}]


def test_parallel_stages_share_and_a_descendant_outside_its_parent_counts() -> None:
    rows: list[Row] = [
        (0, "preprocess", 20, 60, -1), (0, "inference", 40, 80, -1),  # 20 alone, 20 shared, 20 alone
        (1, "inference", 0, 10, -1), (1, "queue", 20, 30, 0),
    ]  # fmt: skip

    assert charged(rows, [(0, 100), (0, 100)]) == [
        {"preprocess": 30, "inference": 30}, {"queue": 10, "inference": 10},
    ]  # fmt: skip


def test_three_in_parallel_of_which_one_is_in_the_middle_of_a_chain() -> None:
    # 0-60 a; its child b 0-60 is open too, so a gets nothing; c runs beside from 30 on.
    rows: list[Row] = [(0, "preprocess", 0, 60, -1), (0, "inference", 0, 60, 0), (0, "postprocess", 30, 60, -1)]

    assert charged(rows, [(0, 60)]) == [{"inference": 45, "postprocess": 15}]


def test_an_ancestor_that_is_clipped_away_still_connects() -> None:
    rows: list[Row] = [(0, "inference", 20, 80, -1), (0, "queue", 0, 5, 0), (0, "preprocess", 30, 40, 1)]

    assert charged(rows, [(10, 100)]) == [{"preprocess": 10, "inference": 50}]


def test_no_intervals_and_no_requests_give_empty_tables() -> None:
    assert charged([], [(0, 10)]) == [{}]
    assert charge(intervals([]), np.zeros(0, np.int64), np.zeros(0, np.int64)).shape == (0, len(CLAIMS))


def test_a_request_with_very_many_overlapping_spans_is_charged_like_any_other() -> None:
    rows: list[Row] = [(0, "inference", i, 1000, i - 1) for i in range(MOST_TOGETHER + 5)]

    assert charged(rows, [(0, 1000)]) == [{"inference": 1000}]


@dataclass(eq=False)
class Node:
    start: int
    end: int | None
    stage: str | None
    parent: Node | None = None


# Any forest: a parent is an earlier row of the same request, spans nest, overlap, abut, stick out, or are empty.
shapes = st.lists(
    st.tuples(st.sampled_from(CLAIMS), st.integers(-20, 60), st.integers(0, 50), st.integers(-3, 8)), max_size=9
)


@settings(max_examples=400)
@given(st.lists(st.tuples(shapes, st.integers(-5, 20), st.integers(0, 60)), min_size=1, max_size=5))
def test_the_columns_say_what_the_service_s_own_partition_says(
    requests: list[tuple[list[tuple[str, int, int, int]], int, int]],
) -> None:
    rows: list[Row] = []
    windows, expected = [], []
    for number, (shape, opened, length) in enumerate(requests):
        nodes: list[Node] = []
        first = len(rows)
        for place, (stage, start, extent, parent) in enumerate(shape):
            above = parent if 0 <= parent < place else -1
            nodes.append(Node(start, start + extent, stage, nodes[above] if above >= 0 else None))
            rows.append((number, stage, start, start + extent, first + above if above >= 0 else -1))
        windows.append((opened, opened + length))
        expected.append(partition(opened, opened + length, nodes))

    for found, want in zip(charged(rows, windows), expected, strict=True):
        assert set(want) >= {s for s, ns in found.items() if ns >= 1}
        for stage, ns in want.items():
            # The service rounds each share down to whole nanoseconds.
            assert found.get(stage, 0.0) == pytest.approx(ns, abs=len(CLAIMS) * 9)
