"""Differences and ratios of two runs' figures: their intervals, the shift function, the split of the p95."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.comparing.mover import difference, ratio, tells
from harness.analysis.comparing.shift import POINTS, levels, shift
from harness.analysis.comparing.tail_delta import LEAST, AtP95, at_p95, tail_delta
from harness.estimates import Estimate
from tests import simulated_queues as queues


def of(value: float, low: float | None, high: float | None, n: int = 100) -> Estimate:
    return Estimate(value, low, high, n)


NOTHING = Estimate(None, None, None, 7, refusal="needs 72 requests, has 7")


def test_a_difference_reaches_as_far_as_both_sides_together() -> None:
    found = difference(of(10.0, 7.0, 14.0), of(20.0, 16.0, 23.0))

    # Down: sqrt(4^2 + 4^2); up: sqrt(3^2 + 3^2).
    assert found.value == 10.0
    assert found.low == pytest.approx(10.0 - math.sqrt(32.0))
    assert found.high == pytest.approx(10.0 + math.sqrt(18.0))
    assert found.n == 100


def test_a_limit_that_one_side_does_not_have_is_not_made_up() -> None:
    found = difference(of(10.0, 7.0, None), of(20.0, 16.0, 23.0))

    assert (found.value, found.low) == (10.0, None)
    assert found.high == pytest.approx(10.0 + math.sqrt(18.0))


def test_a_ratio_is_a_difference_of_logarithms() -> None:
    found = ratio(of(1.0, 0.5, 2.0), of(4.0, 2.0, 8.0))

    reach = math.exp(math.sqrt(2.0) * math.log(2.0))
    assert (found.value, found.low, found.high) == pytest.approx((4.0, 4.0 / reach, 4.0 * reach))


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        (NOTHING, of(1.0, 0.5, 2.0), "A: needs 72 requests, has 7"),
        (NOTHING, NOTHING, "both: needs 72 requests, has 7"),
        (of(0.0, 0.0, 0.1), of(1.0, 0.5, 2.0), "A is zero, which has no ratio"),
        (of(0.0, 0.0, 0.0), of(0.0, 0.0, 0.0), "both are zero, which has no ratio"),
    ],
)
def test_a_ratio_that_is_not_known_says_why(a: Estimate, b: Estimate, why: str) -> None:
    assert (ratio(a, b).value, ratio(a, b).refusal) == (None, why)


positive = st.floats(1e-9, 1e9)


@given(st.tuples(positive, positive, positive), st.tuples(positive, positive, positive))
def test_intervals_hold_their_value_and_turn_with_the_sides(
    a: tuple[float, float, float], b: tuple[float, float, float]
) -> None:
    (la, va, ua), (lb, vb, ub) = sorted(a), sorted(b)
    one, other = of(va, la, ua), of(vb, lb, ub)
    found, turned = difference(one, other), difference(other, one)

    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high
    assert turned.high is not None
    assert found.low == pytest.approx(-turned.high)
    tight = ratio(of(va, va, va), of(vb, vb, vb))
    assert (tight.value, tight.low, tight.high) == pytest.approx((vb / va,) * 3)


def test_an_interval_tells_where_it_does_not_hold_nothing() -> None:
    assert tells(of(2.0, 1.0, 3.0)) == 1
    assert tells(of(-2.0, -3.0, -1.0)) == -1
    assert tells(of(0.0, -1.0, 1.0)) == 0
    assert tells(of(2.0, 1.2, None), 1.0) == 1
    assert tells(NOTHING) == 0


# --- the shift function -------------------------------------------------------------------------------------

ZEROS = np.zeros(2_000, np.int64)


def exponential(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).exponential(0.1, n)


def test_everybody_waits_longer_by_as_much() -> None:
    a = exponential(2_000, 1)

    found = shift(levels(a, ZEROS), levels(a + 0.05, ZEROS))

    assert [point.p for point in found] == list(POINTS)
    known = [point for point in found if point.refusal is None]
    assert [point.p for point in known] == list(POINTS[:-1])
    assert all(point.change.value == pytest.approx(0.05) for point in known)
    assert found[0].change.low is not None
    assert found[0].change.low > 0.0


def test_only_the_slow_fifth_became_slower() -> None:
    a = np.sort(exponential(2_000, 2))
    b = a * np.where(np.arange(2_000) >= 1_600, 1.5, 1.0)
    mixed = np.random.default_rng(3).permutation(2_000)

    found = {point.p: point for point in shift(levels(a[mixed], ZEROS), levels(b[mixed], ZEROS))}

    assert found[0.5].change.value == 0.0
    assert found[0.8].change.value == 0.0
    assert tells(found[0.95].change) == 1


def test_what_n_cannot_carry_is_refused_at_both_ends() -> None:
    found = dict(zip(POINTS, levels(exponential(30, 4), ZEROS[:30]), strict=True))

    # 0.9 ** 36 is the first power of it below 2.5 %; the p95 has no upper limit before 72.
    assert found[0.1].refusal == "needs 36 requests, has 30"
    assert found[0.5].value is not None
    assert found[0.95].refusal == "needs 72 requests, has 30"
    assert found[0.99].refusal == "needs 368 requests, has 30"


@pytest.mark.parametrize(
    "series", [np.empty(0), np.array([0.1]), np.full(5, np.inf), np.full(500, 0.1), np.zeros(500)],
    ids=["empty", "one", "all failed", "all equal", "no time at all"],
)  # fmt: skip
def test_a_shift_of_hardly_anything_is_refused_or_exact(series: np.ndarray) -> None:
    points = shift(*[levels(series, np.zeros(len(series), np.int64))] * 2)

    assert all(point.refusal is not None or point.change.value == 0.0 for point in points)


# --- the p95 by stage ---------------------------------------------------------------------------------------


def rows(seed: int, n: int = 1_500, **changes: float) -> pd.DataFrame:
    simulated = queues.simulate(n, 0.4, seed, settle=200, **changes)
    return queues.ledger_rows(simulated)


def taken(table: pd.DataFrame) -> AtP95:
    found = at_p95(table, draws=100)
    assert not isinstance(found, str)
    return found


def test_the_means_at_the_p95_sum_to_it() -> None:
    table = rows(1)

    found = taken(table)

    assert found.level_s == np.sort(table["latency_s"])[math.ceil(0.95 * 1_500) - 1]
    assert sum(mean for _, mean in found.means) == pytest.approx(found.level_s, abs=1e-12)


def test_the_changes_of_the_stages_sum_to_the_change_of_the_p95() -> None:
    found = tail_delta(taken(rows(1)), taken(rows(2)))

    assert sum(change.value or 0.0 for _, change in found.stages) == pytest.approx(found.total.value, abs=1e-9)
    assert found.total.n == 1_500


def test_a_stage_that_alone_took_longer_has_all_of_the_change() -> None:
    a = rows(1)
    b = a.assign(inference_s=a["inference_s"] + 0.03, latency_s=a["latency_s"] + 0.03)

    found = tail_delta(taken(a), taken(b))

    assert found.total.value == pytest.approx(0.03)
    assert dict(found.stages)["inference"].value == pytest.approx(0.03)
    assert tells(dict(found.stages)["inference"]) == 1
    assert all(tells(change) == 0 for stage, change in found.stages if stage != "inference")


def test_unknown_stages_and_failed_requests_leave_no_gap() -> None:
    table = rows(1).assign(preprocess_s=np.nan)
    table.loc[:9, "latency_s"] = np.inf

    found = taken(table)

    assert found.n == 1_490
    assert sum(mean for _, mean in found.means) == pytest.approx(found.level_s)
    assert dict(found.means)["other"] > 0.0  # nobody claims the preprocessing


def test_requests_that_are_all_equal_have_one_split() -> None:
    table = pd.concat([rows(1).iloc[:1]] * 400, ignore_index=True)

    found = tail_delta(taken(table), taken(table))

    assert found.total.value == 0.0
    assert all(tells(change) == 0 for _, change in found.stages)


def test_too_few_requests_are_refused_in_words() -> None:
    assert at_p95(rows(1).iloc[: LEAST - 1]) == "needs 334 requests with a server half, has 333"
    assert at_p95(rows(1).iloc[:0]) == "needs 334 requests with a server half, has 0"
