"""More failed requests on side B: found where they are plain, not where runs are restless."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analysis.comparing.failures import Failures, failure_test, ratio_limit, share_limit
from harness.analysis.comparing.paired import Rule, metric_changes
from harness.comparison import Change, MetricChange

N = 600


def failed(a: list[int], b: list[int], n: int = N) -> Failures:
    return Failures(np.array(a), np.full(len(a), n), np.array(b), np.full(len(b), n))


def change_of(failures: Failures, look: int = 0) -> MetricChange:
    same = np.full((len(failures.n_a), 2), 0.1)
    found = metric_changes({"p50": same, "p95": same}, failures, Rule(), look, ("p50", "p95", "error_rate"))
    return found[2]


def test_two_percent_of_failures_where_there_were_none_are_worse() -> None:
    found = change_of(failed([0] * 5, [12, 11, 13, 12, 12]))

    assert found.change is Change.WORSE
    assert (found.a, found.b) == (0.0, 60 / 3000)
    assert found.ratio.refusal == "no request of A failed"
    assert found.reason.startswith("2% of the requests of B failed, 0% of A")


def test_the_same_number_of_failures_is_within() -> None:
    found = change_of(failed([3, 2, 3, 2, 3], [2, 3, 3, 2, 3]))

    assert found.change is Change.WITHIN
    assert found.ratio.value == pytest.approx(1.0)


def test_no_failures_at_all_are_within() -> None:
    assert change_of(failed([0] * 5, [0] * 5)).change is Change.WITHIN


def test_one_bad_run_is_no_evidence_against_a_side() -> None:
    found = change_of(failed([0] * 5, [0, 0, 300, 0, 0]))

    assert found.change is Change.NOT_FOUND
    assert "not clearly more" in found.reason


def test_failures_in_every_run_but_unevenly_are_caught_by_the_cap() -> None:
    uneven = failed([0] * 5, [12, 120, 60, 30, 180])  # mean 13 %, and t = 2.6 alone would not do

    test = failure_test(uneven, 0.05)

    assert test is not None
    assert test.plain
    assert change_of(uneven).change is Change.WORSE


def test_a_difference_that_is_sure_but_trivial_is_not_worse() -> None:
    found = change_of(failed([0] * 5, [60, 61, 59, 60, 60], n=100_000))  # 0.06 % of the requests

    assert found.change is Change.NOT_FOUND


def test_a_small_difference_that_is_odd_by_chance_is_not_called_within() -> None:
    assert change_of(failed([0] * 5, [3, 2, 4, 3, 3])).change is not Change.WITHIN


def test_the_count_test_is_that_of_a_coin_weighed_by_what_is_allowed() -> None:
    # 3 failures, all on B, equal n: (1.05 / 2.05) ** 3
    test = failure_test(failed([0, 0, 0], [1, 1, 1]), 0.05)

    assert test is not None
    assert test.p_value == pytest.approx((1.05 / 2.05) ** 3)


def test_limits_of_a_share_are_those_of_clopper_and_pearson() -> None:
    assert share_limit(0, 10, 0.05, upper=True) == pytest.approx(1 - 0.05**0.1)
    assert share_limit(10, 10, 0.05, upper=False) == pytest.approx(0.05**0.1)
    assert (share_limit(0, 10, 0.05, upper=False), share_limit(10, 10, 0.05, upper=True)) == (0.0, 1.0)


def test_the_ratio_of_failures_has_no_upper_limit_when_only_b_failed() -> None:
    assert ratio_limit(failed([0] * 3, [1] * 3), 0.05, upper=True) is None
    assert ratio_limit(failed([1] * 3, [0] * 3), 0.05, upper=False) == 0.0


def test_too_few_pairs_or_empty_runs_are_unknown() -> None:
    assert change_of(failed([0, 0], [5, 5])).change is Change.UNKNOWN
    assert change_of(failed([0] * 5, [0] * 5, n=0)).reason == "needs 3 pairs with requests on both sides, has 0"


def test_all_requests_failed_on_both_sides_is_no_difference() -> None:
    assert change_of(failed([N] * 5, [N] * 5)).change is Change.WITHIN


def test_all_requests_failed_on_b_alone_is_worse() -> None:
    assert change_of(failed([0] * 5, [N] * 5)).change is Change.WORSE


def test_as_many_failures_are_ruled_out_to_be_more_only_where_the_runs_agree() -> None:
    alike = failed([180, 175, 185, 182, 178], [178, 183, 177, 181, 180])
    restless = failed([30, 300, 60, 350, 160], [310, 40, 330, 50, 170])

    assert change_of(alike).change is Change.WITHIN
    assert change_of(restless).change is Change.NOT_FOUND  # the counts alone would rule out a seventh more
    assert ratio_limit(restless, 0.02, upper=True) < 1.15  # type: ignore[operator]


def test_a_ratio_of_failures_claims_no_interval() -> None:
    found = change_of(failed([3, 2, 3, 2, 3], [2, 3, 3, 2, 3]))

    assert (found.ratio.low, found.ratio.high, found.at_most, found.at_least) == (None, None, None, None)
    assert "percentage points more" in found.reason


def test_three_restless_pairs_leave_open_no_more_than_all_requests() -> None:
    found = change_of(failed([0, 0, 0], [0, 500, 20]))

    assert found.reason.endswith("not clearly more, at most 100 percentage points more")
