"""The offset of a service's clock: inside the printed bound, whatever the network does."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.clock import Bounds, ClockOffset, fit

MS = 1_000_000
S = 1_000_000_000
NOON = 1_790_000_000 * S
NOTHING = Bounds(np.zeros(0, np.int64), np.zeros(0, np.int64))

Theta = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def bounds(*rows: tuple[float, float]) -> Bounds:
    """Bounds from (seconds after noon, milliseconds of offset)."""
    at_s, offset_ms = zip(*rows, strict=True)
    return Bounds(NOON + (np.array(at_s) * S).astype(np.int64), (np.array(offset_ms) * MS).astype(np.int64))


def found(lower: Bounds, upper: Bounds, same_host: bool = False) -> ClockOffset:
    offset = fit(lower, upper, same_host)
    assert offset is not None
    return offset


def exchanges(
    theta: Theta, n: int = 500, span_s: float = 60, seed: int = 1, floor_ms: float = 0.15, jitter_ms: float = 1.0
) -> tuple[Bounds, Bounds]:
    """Requests over a network with a floor and bursts, to a server whose clock is `theta` (of ns since noon) ahead."""
    random = np.random.default_rng(seed)
    sent = np.floor(np.sort(random.uniform(0, span_s * S, n)))
    upload, download = (floor_ms * MS + random.exponential(jitter_ms * MS, n) for _ in range(2))
    burst = (sent // (3 * S)) % 4 == 1  # uploads of every fourth 3 s queue up
    opened = sent + upload + burst * random.exponential(20 * MS, n)
    answered = opened + random.uniform(5, 80, n) * MS
    seen = np.ceil(answered + download)
    upper = np.ceil(opened + theta(opened) - sent)
    lower = np.floor(answered + theta(answered) - seen)
    return (
        Bounds(NOON + seen.astype(np.int64), lower.astype(np.int64)),
        Bounds(NOON + sent.astype(np.int64), upper.astype(np.int64)),
    )


def errors(offset: ClockOffset, theta: Theta, *sides: Bounds) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """At every instant of the requests: how far off the offset is, and how far it may be."""
    at_ns = np.concatenate([side.at_ns for side in sides])
    return np.abs(offset.at(at_ns) - theta((at_ns - NOON).astype(np.float64))), offset.bound_at(at_ns)


def drifting(offset_ms: float, ppm: float) -> Theta:
    return lambda since: offset_ms * MS + ppm / 1e6 * since


def stepped(by_ms: float, at_s: float) -> Theta:
    return lambda since: np.where(since >= at_s * S, 37 * MS + by_ms * MS, 37.0 * MS)


# --- one line ----------------------------------------------------------------------------------------------


def test_bounds_of_one_instant_are_intersected() -> None:
    # highest lower bound 32, lowest upper bound 40
    offset = found(bounds((5, 30), (5, 32)), bounds((5, 40), (5, 47)))

    assert (offset.offset_ns, offset.bound_ns, offset.contradiction_ns) == (36 * MS, 4 * MS, 0)
    assert (offset.n, offset.drift_ppm, offset.same_host) == (2, 0.0, False)


def test_a_constant_that_fits_is_the_middle_of_the_intersection() -> None:
    lower = bounds(*((s, -4 - s % 3) for s in range(21)))  # highest: -4
    upper = bounds(*((s, 10 + s % 2) for s in range(21)))  # lowest: 10

    offset = found(lower, upper)

    assert offset.drift_ppm == 0
    assert offset.offset_ns == 3 * MS
    assert (offset.at(lower.at_ns) == 3 * MS).all()


def test_the_bound_of_a_constant_covers_the_drifts_that_fit_as_well() -> None:
    # 2 requests 10 s apart, each within 4 ± 2 ms: a line from 2 to 6 fits too, 400 ppm
    offset = found(bounds((0, 2), (10, 2)), bounds((0, 6), (10, 6)))

    assert offset.offset_ns == 4 * MS
    assert offset.bound_at(np.array([NOON, NOON + 5 * S, NOON + 10 * S])).tolist() == [2 * MS, 2 * MS, 2 * MS]
    # 5 s later it may have gone on: by 400 ppm, no more
    assert offset.bound_at(np.array([NOON + 15 * S])).tolist() == [4 * MS]


def test_no_drift_beyond_what_a_system_allows_is_thought_possible() -> None:
    # 1 s apart, each within 4 ± 2 ms: 4 ms within that second would be 4000 ppm; 500 ppm make 0.5 ms
    offset = found(bounds((0, 2), (1, 2)), bounds((0, 6), (1, 6)))

    assert offset.bound_at(np.array([NOON + 3 * S])).tolist() == [3 * MS]


def test_a_drift_that_no_constant_fits_is_a_line() -> None:
    # 100 ppm: 1 ms in 10 s, known to 0.3 ms either way
    lower = bounds((0, -0.3), (10, 0.7), (20, 1.7))
    upper = bounds((0, 0.3), (10, 1.3), (20, 2.3))

    offset = found(lower, upper)

    assert offset.drift_ppm == pytest.approx(100, abs=1e-3)
    assert offset.offset_ns == pytest.approx(1 * MS, abs=1)
    assert offset.at(np.array([NOON, NOON + 20 * S])).tolist() == pytest.approx([0, 2 * MS], abs=1)
    assert offset.bound_ns == pytest.approx(0.3 * MS, abs=1)
    assert len(offset.pieces) == 1


def test_a_drift_is_preferred_where_a_constant_just_about_fits() -> None:
    # the constant 1 fits with nothing to spare; the line of 100 ppm has a millisecond either way
    offset = found(bounds((0, -1), (20, 1)), bounds((0, 1), (20, 3)))

    assert offset.drift_ppm == pytest.approx(100, abs=1e-3)
    assert offset.bound_ns == pytest.approx(1 * MS, abs=1)


@settings(deadline=None, max_examples=100)
@given(
    offset_ms=st.floats(-500, 500),
    ppm=st.floats(-200, 200),
    jitter_ms=st.floats(0, 30),
    floor_ms=st.floats(0, 2),
    n=st.integers(1, 400),
    span_s=st.floats(0, 600),
    seed=st.integers(0, 1000),
)
@example(500, 50, 1, 0.15, 400, 60, 1)
@example(-500, 50, 1, 0.15, 400, 60, 1)
def test_any_offset_and_drift_is_recovered_inside_the_bound_at_every_instant(
    offset_ms: float, ppm: float, jitter_ms: float, floor_ms: float, n: int, span_s: float, seed: int
) -> None:
    theta = drifting(offset_ms, ppm)
    lower, upper = exchanges(theta, n, span_s, seed, floor_ms, jitter_ms)

    offset = found(lower, upper)
    off, bound = errors(offset, theta, lower, upper)

    assert (off <= bound + 2).all()  # whole nanoseconds
    assert offset.bound_ns >= bound.max() - 1
    assert offset.contradiction_ns == 0
    assert len(offset.pieces) == 1


@pytest.mark.parametrize("ppm", [-50, 50])
@pytest.mark.parametrize("offset_ms", [-500, 500])
def test_fifty_ppm_over_a_minute_are_found_within_a_fifth_of_a_millisecond(offset_ms: float, ppm: float) -> None:
    theta = drifting(offset_ms, ppm)
    lower, upper = exchanges(theta, n=3000)

    offset = found(lower, upper)
    off, _ = errors(offset, theta, lower, upper)

    assert off.max() < 0.02 * MS
    assert offset.bound_ns < 0.2 * MS + 0.02 * MS
    assert offset.drift_ppm == pytest.approx(ppm, abs=1)


@settings(deadline=None, max_examples=50)
@given(st.integers(-(10**9), 10**9), st.integers(-(10**12), 10**12), st.integers(0, 100))
def test_moving_either_clock_moves_the_offset_and_nothing_else(by_ns: int, later_ns: int, seed: int) -> None:
    lower, upper = exchanges(drifting(0, 30), n=50, seed=seed)
    moved = [Bounds(side.at_ns + later_ns, side.offset_ns + by_ns) for side in (lower, upper)]

    here, there = found(lower, upper), found(moved[0], moved[1])

    assert abs(there.offset_ns - here.offset_ns - by_ns) <= 1
    assert abs(there.bound_ns - here.bound_ns) <= 1
    assert there.drift_ppm == pytest.approx(here.drift_ppm, abs=1e-6)


def test_the_order_of_the_requests_does_not_matter() -> None:
    lower, upper = exchanges(drifting(5, 40), n=100)
    rows = np.random.default_rng(3).permutation(100)
    mixed = [Bounds(side.at_ns[rows], side.offset_ns[rows]) for side in (lower, upper)]

    assert found(mixed[0], mixed[1]) == found(lower, upper)


# --- more than one line ------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_ms", [-20, 20])
def test_a_step_in_the_middle_makes_two_pieces(by_ms: float) -> None:
    theta = stepped(by_ms, at_s=31)
    lower, upper = exchanges(theta, n=600)

    offset = found(lower, upper)
    off, bound = errors(offset, theta, lower, upper)

    assert len(offset.pieces) == 2
    assert offset.pieces[0].until_ns <= offset.pieces[1].from_ns
    assert abs(offset.pieces[1].from_ns - NOON - 31 * S) < 0.3 * S
    apart = offset.pieces[1].offset_ns - offset.pieces[0].offset_ns
    assert apart == pytest.approx(by_ms * MS, abs=0.3 * MS)
    assert (off <= bound).mean() > 0.995  # requests that straddle the step belong to neither


def test_an_instant_between_two_pieces_belongs_to_the_nearer_one() -> None:
    early = [float(s) for s in range(11)]
    late = [float(s) for s in range(20, 31)]

    offset = found(
        bounds(*((s, -1) for s in early), *((s, 99) for s in late)),
        bounds(*((s, 1) for s in early), *((s, 101) for s in late)),
    )

    assert offset.contradiction_ns == 0
    # nobody can know where between 10 and 20 s the clock was stepped
    assert offset.at(np.array([NOON + 10 * S, NOON + 20 * S])).tolist() == [0, 100 * MS]
    assert offset.at(np.array([NOON - S, NOON + 14 * S, NOON + 16 * S])).tolist() == [0, 0, 100 * MS]


def test_a_drift_that_turns_is_followed_inside_the_bound() -> None:
    def theta(since: NDArray[np.float64]) -> NDArray[np.float64]:
        return 3 * MS * np.sin(since / (30 * S) * 2 * np.pi) / 2  # at most 314 ppm

    lower, upper = exchanges(theta, n=3000)

    offset = found(lower, upper)
    off, bound = errors(offset, theta, lower, upper)

    assert len(offset.pieces) > 2
    assert offset.contradiction_ns == 0
    assert (off <= bound).all()


def test_three_requests_that_no_line_fits_but_a_possible_drift_does_are_no_contradiction() -> None:
    # up 4 ms in 10 s and down again: 400 ppm, known to 1 ms
    offset = found(bounds((0, -1), (10, 3), (20, -1)), bounds((0, 1), (10, 5), (20, 1)))

    assert offset.contradiction_ns == 0
    off = np.abs(offset.at(NOON + np.array([0, 10, 20]) * S) - np.array([0, 4, 0]) * MS)
    assert (off <= offset.bound_ns).all()
    assert (off > 0).any()  # one line, and its bound tells


def test_three_requests_that_no_possible_drift_explains_are_a_contradiction() -> None:
    # up 12 ms in 10 s and down again: 500 ppm explain 5 ms, the bounds another 2
    offset = found(bounds((0, -1), (10, 11), (20, -1)), bounds((0, 1), (10, 13), (20, 1)))

    assert offset.contradiction_ns == 5 * MS


@pytest.mark.parametrize("wild", [1, 20])
def test_a_few_wild_bounds_are_a_contradiction_and_do_not_move_the_offset(wild: int) -> None:
    theta = drifting(500, 50)
    lower, upper = exchanges(theta, n=1000)
    rows = np.random.default_rng(5).choice(1000, wild, replace=False)
    lower.offset_ns[rows] += 1000 * MS

    offset = found(lower, upper)
    off, bound = errors(offset, theta, lower, upper)

    assert 0.9 * S < offset.contradiction_ns < S
    assert (off <= bound + 2).all()
    assert offset.bound_ns < MS


def test_one_pair_of_bounds_that_cross_is_reported_by_how_much() -> None:
    offset = found(bounds((0, 5)), bounds((0, 2)))

    assert offset.contradiction_ns == 3 * MS
    assert offset.offset_ns == 3.5 * MS


def test_a_clock_that_jumps_all_the_time_is_a_contradiction() -> None:
    lower, upper = exchanges(lambda since: 30 * MS * ((since // (2 * S)) % 2), n=600)

    assert found(lower, upper).contradiction_ns > 20 * MS


def test_a_step_at_the_very_end_is_reported() -> None:
    lower, upper = exchanges(stepped(50, at_s=58), n=600)

    assert found(lower, upper).contradiction_ns > 40 * MS


@settings(deadline=None, max_examples=120)
@given(
    st.lists(st.tuples(st.integers(0, 10**11), st.integers(-(2**60), 2**62)), min_size=1, max_size=60),
    st.lists(st.tuples(st.integers(0, 10**11), st.integers(-(2**60), 2**62)), min_size=1, max_size=60),
)
@example([(0, -(2**60))] * 25, [(0, 2**62)] * 25)
@example([(s * S, 0) for s in range(50)], [(s * S, -1) for s in range(50)])
def test_whatever_the_bounds_are_there_is_an_answer(low: list[tuple[int, int]], high: list[tuple[int, int]]) -> None:
    lower, upper = (Bounds(np.array(side)[:, 0] + NOON, np.array(side)[:, 1]) for side in (low, high))

    offset = found(lower, upper)

    assert offset.bound_ns >= 0
    assert offset.contradiction_ns >= 0
    assert (offset.bound_at(upper.at_ns) >= 0).all()
    assert len(offset.at(lower.at_ns)) == len(low)


# --- one host, no bounds, many -----------------------------------------------------------------------------


def test_one_host_has_one_clock() -> None:
    offset = found(bounds((0, -3), (1, 0.9)), bounds((0, 4), (1, 2)), same_host=True)

    assert (offset.offset_ns, offset.bound_ns, offset.contradiction_ns) == (0, 0, 0)
    assert offset.same_host
    assert offset.at(np.array([NOON])).tolist() == [0]
    assert offset.bound_at(np.array([NOON + S])).tolist() == [0]


def test_one_host_whose_bounds_exclude_zero_had_its_clock_stepped() -> None:
    assert found(bounds((0, -3), (1, 20)), bounds((0, 4)), same_host=True).contradiction_ns == 20 * MS
    assert found(bounds((0, -3)), bounds((0, 4), (1, -7)), same_host=True).contradiction_ns == 7 * MS


def test_one_host_needs_no_bounds() -> None:
    offset = found(NOTHING, NOTHING, same_host=True)

    assert (offset.offset_ns, offset.bound_ns, offset.n) == (0, 0, 0)


def test_bounds_from_one_side_give_no_offset() -> None:
    assert fit(NOTHING, bounds((0, 5)), same_host=False) is None
    assert fit(bounds((0, 5)), NOTHING, same_host=False) is None


def test_an_offset_without_pieces_is_a_constant() -> None:
    offset = ClockOffset(7, 2, False, 0, 1)

    assert offset.at(np.array([NOON, NOON + S])).tolist() == [7, 7]
    assert offset.bound_at(np.array([NOON])).tolist() == [2]


@pytest.mark.parametrize("wild", [0, 1000])
def test_a_million_requests_take_seconds(wild: int) -> None:
    theta = drifting(500, 50)
    lower, upper = exchanges(theta, n=1_000_000)
    lower.offset_ns[:: 10**6 // wild if wild else 10**7] += 0 if wild == 0 else S
    began = time.process_time()

    offset = found(lower, upper)

    assert time.process_time() - began < 3
    assert offset.drift_ppm == pytest.approx(50, abs=0.1)


def test_a_hull_with_very_many_corners_takes_no_longer_and_keeps_its_word() -> None:
    at_ns = np.linspace(0, 3600 * S, 200_000).astype(np.int64)
    curve = ((at_ns - 1800 * S) / (1800 * S)) ** 2 * 0.4 * S
    lower, upper = Bounds(NOON + at_ns, (-curve - MS).astype(np.int64)), Bounds(NOON + at_ns, curve.astype(np.int64))

    offset = found(lower, upper)

    assert offset.at(NOON + at_ns[[0, 100_000]]).tolist() == pytest.approx([-MS / 2] * 2, abs=1)
    # m x - 0.5 ms is a tangent of 0.4 s (x / 1800 s)² for m = 2 sqrt(0.4 s * 0.5 ms) / 1800 s
    assert 28.284_271 * MS <= offset.bound_ns < 28.3 * MS
