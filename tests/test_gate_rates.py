"""Shares that are no failures, counts, rates."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from harness.findings import Verdict
from harness.gate import judge_slo
from harness.slo import parse_slo
from tests.builders import T0
from tests.test_gate_select import SECOND_NS, judged, mixed


@pytest.mark.parametrize(
    ("expression", "failed", "expected"),
    [
        ("share(ok) > 99%", 0, Verdict.PASSED),  # 0.99^300 = 0.049
        ("share(ok) > 99%", 1, Verdict.NOT_ENOUGH_DATA),
        ("share(ok) > 90%", 60, Verdict.FAILED),
        ("share(ok) >= 100%", 1, Verdict.FAILED),
        ("error_rate < 100%", 300, Verdict.FAILED),  # exactly at the limit
        ("error_rate < 100%", 299, Verdict.PASSED),
    ],
)
def test_the_share_of_ok_requests_is_decided_by_the_same_rule(expression: str, failed: int, expected: Verdict) -> None:
    found = mixed(300, 0)
    found.requests["ok"] = np.random.default_rng(3).permutation(np.arange(300)) >= failed

    assert judged(expression, found).verdict is expected


def test_a_check_rate_is_of_the_answered_requests() -> None:
    found = mixed(200, 0)
    found.requests["answered"] = np.arange(200) >= 100
    found.requests.loc[np.arange(100, 200, 4), "failed_checks"] = "json:total"

    rate = judged("check_rate > 90%", found)

    assert (rate.verdict, rate.observed, rate.n) == (Verdict.FAILED, 0.75, 100)
    assert rate.reason == "25 of 100 requests have an answer that failed a check"


def test_a_check_rate_is_not_kept_by_bodies_that_nobody_looked_at() -> None:
    found = mixed(200, 100, unchecked=("page",))
    found.requests.loc[::5, "failed_checks"] = "json:total"

    some = judged("check_rate > 70%", found)

    assert (some.verdict, some.observed) == (Verdict.INVALID, 0.8)
    assert some.reason == "60 of 300 requests have an answer that failed a check; not every body of 'page' was checked"
    assert judged("check_rate > 90%", found).verdict is Verdict.FAILED
    assert judged("check_rate(name=receipt) > 50%", found).verdict is Verdict.PASSED


def test_coverage_is_of_the_ok_requests() -> None:
    found = mixed(200, 0)
    halved = dataclasses.replace(found, split_rows=found.split_rows.iloc[::2])

    assert judged("coverage > 98%", found).verdict is Verdict.PASSED
    assert judged("coverage > 98%", halved).observed == 0.5
    assert judged("coverage > 98%", dataclasses.replace(found, asked=False)).verdict is Verdict.INVALID


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("count(ok) > 99", Verdict.PASSED),
        ("count(ok) > 100", Verdict.FAILED),
        ("count(ok) >= 100", Verdict.PASSED),
        ("count(inference) < 100", Verdict.FAILED),
        ("count(inference) <= 100", Verdict.PASSED),
        ("count(ok, name=receipt) >= 40", Verdict.PASSED),
        ("count(ok, step=0) > 60", Verdict.FAILED),
    ],
)
def test_a_count_is_a_fact_about_this_run(expression: str, expected: Verdict) -> None:
    assert judged(expression, mixed(60, 40)).verdict is expected


def test_columns_of_the_service_are_not_counted_where_it_was_not_asked() -> None:
    alone = dataclasses.replace(mixed(60, 40), asked=False)

    assert judged("count(inference) < 5", alone).verdict is Verdict.INVALID
    assert judged("count(latency) > 5", alone).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("expression", "failed", "expected"),
    [
        ("throughput > 0.95/s", 0, Verdict.PASSED),  # 1/s offered: 95 % of it, and 0.95^100 = 0.006
        ("rate(ok) > 0.95/s", 0, Verdict.PASSED),
        ("throughput > 0.99/s", 0, Verdict.NOT_ENOUGH_DATA),  # 299 would do
        ("throughput > 0.95/s", 30, Verdict.FAILED),
        ("throughput >= 1/s", 0, Verdict.PASSED),  # all that was offered
        ("throughput >= 1/s", 1, Verdict.FAILED),
        ("throughput > 2/s", 0, Verdict.INVALID),  # nobody asked the service for that
        ("throughput > 2/s", 100, Verdict.FAILED),
    ],
)
def test_a_rate_of_planned_arrivals_is_what_was_offered_times_the_share_that_counts(
    expression: str, failed: int, expected: Verdict
) -> None:
    found = mixed(100, 0)
    found.requests["ok"] = np.random.default_rng(3).permutation(np.arange(100)) >= failed

    assert judged(expression, found).verdict is expected


def test_a_rate_that_was_not_offered_says_so() -> None:
    found = judged("throughput > 2/s", mixed(100, 0))

    assert found.observed == 1.0
    assert found.reason.endswith("no more than 1/s were offered, which cannot show it; raise the load")


def test_a_rate_of_one_step_is_over_the_time_of_that_step() -> None:
    assert judged("rate(ok, step=1) > 0.5/s", mixed(100, 60)).observed == 1.0
    assert judged("rate(ok, name=receipt) > 0.1/s", mixed(100, 60)).observed == pytest.approx(60 / 160)


def test_how_long_was_measured_has_to_be_known_for_a_rate() -> None:
    assert judged("throughput > 1/s", mixed(100, 0, measured_s=None)).verdict is Verdict.INVALID


@pytest.mark.parametrize(
    ("limit", "expected"), [("8/s", Verdict.PASSED), ("12/s", Verdict.FAILED), ("10/s", Verdict.NOT_ENOUGH_DATA)]
)
def test_a_rate_of_a_closed_loop_is_decided_by_the_counts_of_its_seconds(limit: str, expected: Verdict) -> None:
    found = mixed(600, 0, planned=False, measured_s=60.0)
    at_s = np.sort(np.random.default_rng(5).uniform(0.0, 60.0, 600))
    found.requests["scheduled_ns"] = T0 + (at_s * SECOND_NS).astype(np.int64)

    rate = judge_slo(parse_slo(f"throughput > {limit}"), found)

    assert (rate.verdict, rate.observed) == (expected, 10.0)
    assert "over 60 seconds" in rate.reason


def test_a_few_seconds_of_a_closed_loop_decide_no_rate() -> None:
    found = mixed(9, 0, planned=False, measured_s=9.0)

    assert judged("throughput > 0.1/s", found).verdict is Verdict.NOT_ENOUGH_DATA
