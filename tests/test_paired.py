"""Interleaved pairs of runs: when side B is slower, when it is not, and when nobody can say."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.comparing import family, spread
from harness.analysis.comparing.paired import (
    Failures,
    Rule,
    alpha_at,
    detectable,
    is_decided,
    metric_changes,
    overall,
)
from harness.comparison import Change, MetricChange

RULE = Rule()


def none_failed(pairs: int, n: int = 600) -> Failures:
    nothing, all_of = np.zeros(pairs, np.int64), np.full(pairs, n)
    return Failures(nothing, all_of, nothing, all_of)


def change_of(logs: Sequence[float], rule: Rule = RULE, metric: str = "p50") -> MetricChange:
    """The one metric, where ln(B / A) of the pairs is this."""
    both = np.array([[0.1, 0.1 * math.exp(each)] for each in logs]).reshape(-1, 2)
    return metric_changes({metric: both}, none_failed(len(logs)), rule, 0, (metric,))[0]


def test_the_error_is_shared_out_over_the_looks() -> None:
    assert [round(alpha_at(RULE, look), 6) for look in range(3)] == [0.02, 0.015, 0.015]
    assert alpha_at(Rule(looks=(5,)), 0) == pytest.approx(0.05)
    assert sum(alpha_at(Rule(looks=(3, 5, 8, 13)), look) for look in range(4)) == pytest.approx(0.05)


def test_a_slow_down_is_worse_when_its_lower_limit_is_beyond_the_allowed() -> None:
    # mean 0.1, sd sqrt(0.001 / 4), se 0.0070711; t with 4 df at 0.98 is 2.9985: 0.1 -+ 0.021203
    found = change_of([0.08, 0.09, 0.10, 0.11, 0.12])

    assert found.change is Change.WORSE
    assert found.at_least == pytest.approx(math.exp(0.078797), abs=1e-5)
    assert found.at_most == pytest.approx(math.exp(0.121203), abs=1e-5)
    assert found.ratio.value == pytest.approx(math.exp(0.1))
    assert (found.ratio.n, found.ratio.confidence) == (5, 0.98)
    assert found.sign_flip_p == 1 / 32
    assert found.reason == "slower by +10.5%, at least +8.2%: more than the 5% allowed"


def test_a_change_is_within_when_a_slow_down_of_the_strict_limit_is_ruled_out() -> None:
    found = change_of([-0.02, -0.01, 0.0, 0.01, 0.02])

    assert found.change is Change.WITHIN
    assert found.at_most == pytest.approx(math.exp(0.021203), abs=1e-5)
    assert found.reason == "0.0%, at most +2.1%: a slow-down of 15% is ruled out"


def test_in_between_nothing_is_found_and_the_smallest_change_that_would_be_is_said() -> None:
    found = change_of([-0.2, -0.1, 0.0, 0.1, 0.2])

    assert found.change is Change.NOT_FOUND
    assert found.detectable is not None
    assert found.detectable > 1.3
    assert "would be found in 8 of 10" in found.reason


def test_less_throughput_is_worse() -> None:
    both = np.array([[100.0, 80.0], [101.0, 80.0], [100.0, 81.0], [99.0, 80.0], [100.0, 80.0]])

    found = metric_changes({"throughput": both}, none_failed(5), RULE, 0, ("throughput",))[0]

    assert (found.change, found.unit) == (Change.WORSE, "1/s")
    assert found.ratio.value == pytest.approx(1.247, abs=0.002)  # of 100 / 80 five times, about


@pytest.mark.parametrize(
    ("logs", "change"),
    [
        ([], Change.UNKNOWN),
        ([0.3], Change.UNKNOWN),
        ([0.3, 0.3], Change.UNKNOWN),
        ([math.nan] * 5, Change.UNKNOWN),
        ([0.3, math.nan, 0.3, math.nan, 0.31], Change.WORSE),
        ([0.0] * 5, Change.WITHIN),
        ([0.3] * 5, Change.WORSE),
        ([0.0, 0.0, 0.0, 0.0, math.inf], Change.UNKNOWN),
    ],
)
def test_few_equal_and_unknown_pairs_have_an_answer_too(logs: list[float], change: Change) -> None:
    found = change_of(logs)

    assert found.change is change
    assert found.reason


def test_a_p95_among_the_failures_of_every_run_of_b_is_worse_once_nine_pairs_say_so() -> None:
    both = np.array([[0.1, math.inf]] * 9)

    after_five = metric_changes({"p95": both[:5]}, none_failed(5), RULE, 0, ("p95", "error_rate"))[0]
    after_nine = metric_changes({"p95": both}, none_failed(9), RULE, 2, ("p95", "error_rate"))[0]

    assert after_five.change is Change.UNKNOWN  # 1 of 32 by chance
    assert after_five.reason == "lies among the failed requests in 0 runs of A and 5 of B"
    assert after_nine.change is Change.WORSE  # 1 of 512
    assert after_nine.p_value == 1 / 512


def test_a_p95_that_only_the_baseline_loses_to_failures_is_within_once_seven_pairs_say_so() -> None:
    both = np.array([[math.inf, 0.1]] * 7)

    after_five = metric_changes({"p95": both[:5]}, none_failed(5), RULE, 0, ("p95", "error_rate"))[0]
    after_seven = metric_changes({"p95": both}, none_failed(7), RULE, 1, ("p95", "error_rate"))[0]

    assert after_five.change is Change.UNKNOWN  # 1 of 32 by chance, which is more than 0.02
    assert after_seven.change is Change.WITHIN  # 1 of 128
    assert after_seven.reason.endswith("in too many pairs for chance B is not slower by 15%")


def test_a_p95_among_the_failures_of_both_sides_is_unknown() -> None:
    found = metric_changes({"p95": np.full((9, 2), math.inf)}, none_failed(9), RULE, 2, ("p95",))

    assert overall(found) is Change.UNKNOWN


def test_values_of_zero_are_no_change_when_both_are_and_endless_when_one_is() -> None:
    logs = spread.log_ratios(np.array([0.0, 0.0, 2.0, -1.0]), np.array([0.0, 1.0, 0.0, -1.0]))

    assert logs[:3].tolist() == [0.0, math.inf, -math.inf]
    assert math.isnan(logs[3])


def test_a_gating_metric_that_was_not_measured_is_unknown() -> None:
    found = metric_changes({}, none_failed(5), RULE, 0, ("p95",))

    assert [each.change for each in found] == [Change.UNKNOWN, Change.WITHIN]
    assert overall(found) is Change.UNKNOWN


def test_what_does_not_gate_explains_and_decides_nothing() -> None:
    same, slower = np.full((5, 2), 0.1), np.array([[0.1, 0.2]] * 5)

    found = metric_changes({"p99": slower, "p50": same}, none_failed(5), RULE, 0, ("p50",))

    assert [(each.metric, each.gating) for each in found] == [("p50", True), ("p99", False), ("error_rate", False)]
    assert found[1].change is Change.WORSE
    assert overall(found) is Change.WITHIN
    assert is_decided(found)


def test_one_worse_gating_metric_makes_the_whole_worse() -> None:
    same, slower = np.full((5, 2), 0.1), np.array([[0.1, 0.2]] * 5)

    assert (
        overall(metric_changes({"p50": same, "p95": slower}, none_failed(5), RULE, 0, ("p50", "p95"))) is Change.WORSE
    )
    assert overall(()) is Change.UNKNOWN


def test_holm_passes_on_what_a_fallen_hypothesis_leaves() -> None:
    halves = {"p50": 0.5, "p95": 0.5}

    both = family.holm({"p50": 0.012, "p95": 0.008}, halves, 0.018)  # 0.008 <= 0.009, then 0.012 <= 0.018
    none = family.holm({"p50": 0.012, "p95": 0.010}, halves, 0.018)  # 0.010 > 0.009

    assert both == {"p95": family.Tested(0.009, True), "p50": family.Tested(0.018, True)}
    assert not any(tested.rejected for tested in none.values())


def test_the_error_rate_has_a_tenth_of_the_error_and_the_timed_metrics_the_rest() -> None:
    assert family.weights(("p50", "p95", "error_rate")) == {"error_rate": 0.1, "p50": 0.45, "p95": 0.45}
    assert family.weights(("error_rate",)) == {"error_rate": 1.0}
    assert family.weights(()) == {}


def test_the_sign_flip_p_counts_the_orders_that_are_as_extreme() -> None:
    assert spread.sign_flip_p(np.array([3.0, 2.0, -1.0])) == 2 / 8  # 3+2+1 and 3+2-1 of eight
    assert spread.sign_flip_p(np.array([0.1] * 5)) == 1 / 32
    assert spread.sign_flip_p(np.array([math.inf, 1.0, 1.0])) == 1 / 8
    assert spread.sign_flip_p(np.zeros(4)) == 1.0
    assert spread.sign_flip_p(np.zeros(0)) is None


def test_beyond_fourteen_pairs_the_sign_flip_p_is_drawn() -> None:
    assert spread.sign_flip_p(np.ones(20)) == pytest.approx(0.0, abs=1e-3)
    assert spread.sign_flip_p(np.tile([1.0, -1.0], 10)) == pytest.approx(0.588, abs=0.02)  # P(Bin(20, 1/2) >= 10)


def test_the_detectable_change_is_found_in_eight_of_ten_simulated_comparisons() -> None:
    finds = math.log(detectable(0.04, 5, 0.02, 0.05))
    drawn = np.random.default_rng(4).normal(finds, 0.04, (20_000, 5))
    low = drawn.mean(axis=1) - 2.99853 * drawn.std(axis=1, ddof=1) / math.sqrt(5)  # t of 4 df at 0.98

    assert np.mean(low > math.log(1.05)) == pytest.approx(0.8, abs=0.01)


def test_without_spread_all_beyond_the_allowed_is_detectable() -> None:
    assert detectable(0.0, 5, 0.02, 0.05) == pytest.approx(1.05)
    assert detectable(0.1, 1, 0.02, 0.05) == math.inf


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(*[st.floats(allow_nan=True, allow_infinity=True)] * 2), max_size=9),
    st.lists(st.integers(0, 10), max_size=9),
)
def test_no_pairs_whatever_raise_or_give_nan(pairs: list[tuple[float, float]], failed: list[int]) -> None:
    counts, n = np.array(failed, np.int64), np.full(len(failed), 10)
    values = {"p50": np.array(pairs, np.float64).reshape(-1, 2)}

    for change in metric_changes(values, Failures(counts, n, counts[::-1], n), RULE, 2, ("p50", "error_rate")):
        figures = (change.at_most, change.at_least, change.p_value, change.ratio.value, change.ratio.low)
        assert not any(figure is not None and math.isnan(figure) for figure in figures)
        assert "nan" not in change.reason
