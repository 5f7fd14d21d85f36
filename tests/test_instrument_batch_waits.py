"""The wait of a batch's member, cut where the worker was busy: plain arithmetic on instants."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from harness.instrument.batch import MAX_SLICES, waited
from harness.instrument.marks import SHORTEST_WAIT_NS

MS = 1_000_000


def test_a_wait_is_cut_where_the_worker_was_busy() -> None:
    # A member waits from 10 to 100 ms; the worker ran a batch from 0 to 30 and another from 50 to 90.
    busy = [(0 * MS, 30 * MS), (50 * MS, 90 * MS)]

    assert waited(10 * MS, 100 * MS, busy) == [
        (10 * MS, 30 * MS, "busy"), (30 * MS, 50 * MS, "window"), (50 * MS, 90 * MS, "busy"),
        (90 * MS, 100 * MS, "window"),
    ]  # fmt: skip


def test_what_the_worker_did_before_it_was_remembered_stays_untold() -> None:
    assert waited(0, 50 * MS, [(25 * MS, 50 * MS)], known_from=20 * MS) == [
        (0, 20 * MS, None), (20 * MS, 25 * MS, "window"), (25 * MS, 50 * MS, "busy"),
    ]  # fmt: skip


@given(st.lists(st.integers(1, 50), max_size=80), st.integers(0, 60))
def test_the_parts_of_a_wait_add_up_and_are_few(lengths: list[int], known: int) -> None:
    """Lengths alternate idle, busy, idle, ... from instant 0, in milliseconds."""
    edges = [0]
    for length in lengths:
        edges.append(edges[-1] + length * MS)
    until = edges[-1] + MS
    busy = list(zip(edges[1::2], edges[2::2], strict=False))
    known_from = known * MS
    slices = waited(0, until, busy, known_from)
    spent = {kind: sum(b - a for a, b, k in slices if k == kind) for kind in ("busy", "window", None)}

    assert len(slices) <= MAX_SLICES
    assert sum(spent.values()) == until
    assert spent["busy"] == sum(max(0, b - max(a, known_from)) for a, b in busy)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(slices))
    assert SHORTEST_WAIT_NS < MS
