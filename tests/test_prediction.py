"""One new run against eight or more earlier ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.analysis.comparing.prediction import judge_against
from harness.comparison import Change

EIGHT = np.exp(np.array([-0.03, -0.02, -0.01, 0.0, 0.0, 0.01, 0.02, 0.03]))
# sum of squares 0.0028, sd 0.02; t of 7 df at 0.95 is 1.8946: 1.8946 * 0.02 * sqrt(9 / 8) = 0.040190
LIMIT = 1.05 * math.exp(0.040190)


def test_the_limit_is_what_eight_runs_predict_and_what_is_allowed() -> None:
    found = judge_against("p95", EIGHT, 1.0, 0.05, 0.05)

    assert (found.n, found.typical) == (8, pytest.approx(1.0))
    assert found.deviation == pytest.approx(0.02)
    assert found.limit == pytest.approx(LIMIT, abs=1e-5)


def test_a_run_beyond_the_limit_is_worse_and_one_at_it_is_not() -> None:
    limit = judge_against("p95", EIGHT, 1.0, 0.05, 0.05).limit
    assert limit is not None

    assert judge_against("p95", EIGHT, limit, 0.05, 0.05).change is Change.NOT_FOUND
    beyond = judge_against("p95", EIGHT, limit * 1.0001, 0.05, 0.05)

    assert beyond.change is Change.WORSE
    assert beyond.reason == "+9.3% against the baseline runs: beyond +9.3%, the limit of what they predict and 5%"


def test_less_throughput_is_worse_and_more_is_not() -> None:
    less = judge_against("throughput", EIGHT, 0.9, 0.05, 0.05)

    assert (less.change, less.unit) == (Change.WORSE, "1/s")
    assert less.limit == pytest.approx(1 / LIMIT, abs=1e-5)
    assert judge_against("throughput", EIGHT, 1.5, 0.05, 0.05).change is Change.NOT_FOUND


def test_seven_runs_predict_nothing() -> None:
    found = judge_against("p95", np.append(EIGHT[:7], math.nan), 5.0, 0.05, 0.05)

    assert (found.change, found.reason) == (Change.UNKNOWN, "needs 8 baseline runs, has 7")
    assert found.limit is None


def test_equal_runs_predict_themselves() -> None:
    assert judge_against("p50", np.full(8, 0.1), 0.1049, 0.05, 0.05).change is Change.NOT_FOUND
    assert judge_against("p50", np.full(8, 0.1), 0.1051, 0.05, 0.05).change is Change.WORSE


@pytest.mark.parametrize("new", [math.nan, -1.0])
def test_a_figure_that_is_not_known_is_unknown(new: float) -> None:
    assert judge_against("p95", EIGHT, new, 0.05, 0.05).change is Change.UNKNOWN


def test_a_percentile_among_the_failures_is_worse_where_it_never_was() -> None:
    found = judge_against("p95", EIGHT, math.inf, 0.05, 0.05)

    assert (found.change, found.value) == (Change.WORSE, None)
    assert judge_against("p95", np.append(EIGHT, math.inf), math.inf, 0.05, 0.05).change is Change.UNKNOWN


def test_an_error_rate_may_rise_by_one_percentage_point_where_nothing_ever_failed() -> None:
    assert judge_against("error_rate", np.zeros(8), 0.0099, 0.05, 0.05).change is Change.NOT_FOUND
    found = judge_against("error_rate", np.zeros(8), 0.02, 0.05, 0.05)

    assert (found.change, found.typical, found.limit) == (Change.WORSE, 0.0, 0.01)
    assert found.reason.startswith("2% of the requests failed, 0% in the baseline: beyond 1%")


def test_a_new_run_of_the_same_thing_fails_as_seldom_as_its_level_says() -> None:
    drawn = np.exp(np.random.default_rng(2).normal(0.0, 0.05, (600, 11)))
    alarms = [judge_against("p50", runs[:10], float(runs[10]), 0.0, 0.05).change is Change.WORSE for runs in drawn]

    assert 0.025 <= np.mean(alarms) <= 0.08  # 5 % of 600: 3 standard errors
