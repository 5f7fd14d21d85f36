"""SLOs are passed, failed, not decided or invalid: never passed by default."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from harness.evidence import Evidence
from harness.findings import Coverage, Health, HealthState, Loss, Verdict
from harness.gate import Judged, judge_run, judge_slo
from harness.model import RunWarning
from harness.slo import parse_slo
from tests import simulated_queues as queues
from tests.test_analysis import ledger_rows

HEALTHY = Health(HealthState.HEALTHY, (), ())


def requests(n: int, slow: int = 0, failed: int = 0, unfinished: int = 0) -> pd.DataFrame:
    """n requests of 100 ms, of which some are 900 ms, failed, or never ended, spread evenly at random."""
    latency = np.full(n, 0.1)
    order = np.random.default_rng(7).permutation(n)
    latency[order[:slow]] = 0.9
    rows = ledger_rows(inference=list(latency)).assign(ok=True, ended=True)
    rows.loc[order[slow : slow + failed + unfinished], "ok"] = False
    rows.loc[order[slow : slow + unfinished], "ended"] = False
    return rows


def evidence(rows: pd.DataFrame, missing: int = 0) -> Evidence:
    if "ok" not in rows:
        rows = rows.assign(ok=True, ended=True)
    rows = rows.assign(service_s=rows["latency_s"], answered=rows["ended"])
    split_rows = rows[rows["ok"]]
    n = len(split_rows)
    loss = Loss.BIASED if missing else Loss.NONE
    return Evidence(rows, split_rows, Coverage(n + missing, n, loss, None, None, None, "") if n else None)


def verdict(expression: str, rows: pd.DataFrame, missing: int = 0) -> Verdict:
    return judge_slo(parse_slo(expression), evidence(rows, missing)).verdict


@pytest.mark.parametrize(
    ("n", "slow", "expected"),
    [
        (59, 0, Verdict.PASSED),  # 0.95^59 = 0.0485
        (58, 0, Verdict.NOT_ENOUGH_DATA),
        (93, 1, Verdict.PASSED),
        (92, 1, Verdict.NOT_ENOUGH_DATA),
        (60, 9, Verdict.FAILED),
    ],
)
def test_a_p95_is_decided_by_early_stopping(n: int, slow: int, expected: Verdict) -> None:
    assert verdict("p95(latency) < 500ms", requests(n, slow)) is expected


def test_an_undecided_slo_says_how_many_more_requests_it_needs() -> None:
    found = judge_slo(parse_slo("p99(latency) < 500ms"), evidence(requests(100)))

    assert found.verdict is Verdict.NOT_ENOUGH_DATA
    assert "199 more requests" in found.reason


def test_failed_requests_are_slower_than_any_limit() -> None:
    assert verdict("p95(latency) < 500ms", requests(100, failed=15)) is Verdict.FAILED


def test_requests_that_never_ended_are_slower_than_any_limit() -> None:
    assert verdict("p95(latency) < 500ms", requests(100, unfinished=20)) is Verdict.FAILED


def test_a_value_exactly_at_a_strict_limit_is_beyond_it() -> None:
    assert verdict("max(latency) < 900ms", requests(50, slow=1)) is Verdict.FAILED
    assert verdict("max(latency) <= 900ms", requests(50, slow=1)) is Verdict.PASSED


def test_no_request_passes_nothing() -> None:
    empty = requests(1).iloc[0:0]
    for expression in (
        "p95(latency) < 1s", "mean(latency) < 1s", "max(latency) < 1s", "error_rate < 2%", "completed > 98%",
        "p95(inference) < 1s", "share(transfer) < 20%", "error_rate <= 0%",
    ):  # fmt: skip
        assert verdict(expression, empty) is Verdict.NOT_ENOUGH_DATA, expression


@pytest.mark.parametrize(
    ("n", "failed", "expected"),
    [
        (149, 0, Verdict.PASSED),  # 0.98^149 = 0.0493
        (148, 0, Verdict.NOT_ENOUGH_DATA),
        (200, 20, Verdict.FAILED),
    ],
)
def test_an_error_rate_is_decided_by_the_same_rule(n: int, failed: int, expected: Verdict) -> None:
    assert verdict("error_rate < 2%", requests(n, failed=failed)) is expected


def test_no_error_allowed_is_a_fact_about_this_run() -> None:
    assert verdict("error_rate <= 0%", requests(10)) is Verdict.PASSED
    assert verdict("error_rate <= 0%", requests(10, failed=1)) is Verdict.FAILED


def test_requests_that_never_ended_are_errors_and_not_completed() -> None:
    assert verdict("error_rate < 2%", requests(100, unfinished=20)) is Verdict.FAILED
    assert verdict("completed > 98%", requests(100, unfinished=20)) is Verdict.FAILED
    assert verdict("completed > 98%", requests(200)) is Verdict.PASSED


def test_a_burst_of_slow_requests_weighs_less_than_as_many_single_ones() -> None:
    latency = np.full(200, 0.1)
    latency[100:116] = 0.9  # 8 % over, but one event: worth far fewer than 200 independent requests
    burst = ledger_rows(inference=list(latency))

    assert verdict("p95(latency) < 500ms", burst) is Verdict.NOT_ENOUGH_DATA
    assert verdict("p95(latency) < 500ms", requests(200, slow=20)) is Verdict.FAILED


@pytest.mark.parametrize(
    ("limit", "expected"), [("130ms", Verdict.PASSED), ("70ms", Verdict.FAILED), ("100ms", Verdict.NOT_ENOUGH_DATA)]
)
def test_a_mean_is_decided_by_its_interval(limit: str, expected: Verdict) -> None:
    noise = np.random.default_rng(8).normal(0.1, 0.05, 400)
    noise = noise - noise.mean() + 0.1

    assert verdict(f"mean(latency) < {limit}", ledger_rows(inference=list(noise))) is expected


def test_a_mean_is_not_flattered_by_leaving_failures_out() -> None:
    assert verdict("mean(latency) < 10s", requests(100, failed=1)) is Verdict.FAILED


@pytest.mark.parametrize(("limit", "expected"), [("30%", Verdict.PASSED), ("20%", Verdict.FAILED)])
def test_a_share_of_the_mean_is_decided_by_its_interval(limit: str, expected: Verdict) -> None:
    rng = np.random.default_rng(9)
    rows = ledger_rows(preprocess=list(rng.normal(0.025, 0.001, 100)), inference=list(rng.normal(0.075, 0.001, 100)))

    assert verdict(f"share(preprocess) < {limit}", rows) is expected


def test_failed_requests_are_slower_than_any_limit_of_a_stage_too() -> None:
    assert verdict("p90(inference) < 500ms", requests(100, failed=90)) is Verdict.FAILED
    assert verdict("max(inference) < 500ms", requests(100, failed=1)) is Verdict.FAILED


def test_failed_requests_stay_out_of_the_mean_of_a_stage() -> None:
    assert verdict("mean(inference) < 500ms", requests(100, failed=10)) is Verdict.PASSED


@pytest.mark.parametrize("expression", ["p95(postprocess) < 1s", "mean(postprocess) < 1s", "share(postprocess) < 9%"])
def test_a_stage_that_nothing_marks_is_not_judged(expression: str) -> None:
    found = judge_slo(parse_slo(expression), evidence(requests(100)))

    assert found.verdict is Verdict.INVALID
    assert "nothing in the service marks it" in found.reason


def test_waiting_for_nothing_at_all_is_a_measurement() -> None:
    assert verdict("p95(queue) < 1s", requests(100)) is Verdict.PASSED


def test_a_service_that_dies_half_way_fails_its_error_rate() -> None:
    rows = requests(300)
    rows.loc[rows.index >= 118, "ok"] = False  # one event, but far too large for 2 %

    assert verdict("error_rate < 2%", rows) is Verdict.FAILED


def test_a_few_clusters_are_told_from_too_few_requests() -> None:
    latency = np.full(400, 0.1)
    latency[200:220] = 0.9

    found = judge_slo(parse_slo("p95(latency) < 500ms"), evidence(ledger_rows(inference=list(latency))))

    assert found.verdict is Verdict.NOT_ENOUGH_DATA
    assert found.reason.endswith("too few clusters to decide: run longer")


def test_clocks_that_contradict_each_other_leave_stages_unjudged() -> None:
    distorted = dataclasses.replace(evidence(requests(100)), distorted="clocks contradict each other")

    assert judge_slo(parse_slo("p95(inference) < 1s"), distorted).verdict is Verdict.INVALID
    assert judge_slo(parse_slo("p95(latency) < 1s"), distorted).verdict is Verdict.PASSED


def test_missing_server_halves_make_stage_slos_invalid_and_leave_latency_alone() -> None:
    rows = requests(100)

    assert verdict("p95(inference) < 500ms", rows, missing=3) is Verdict.INVALID
    assert verdict("p95(latency) < 500ms", rows, missing=3) is Verdict.PASSED


def test_an_invalid_measurement_is_invalid_whatever_the_slos_say() -> None:
    sick = Health(HealthState.INVALID, (), ("lateness p99 is 80 ms",))
    passed = judge_slo(parse_slo("p95(latency) < 500ms"), evidence(requests(100)))

    assert judge_run([passed], sick, [], 100) == Judged(Verdict.INVALID, ("lateness p99 is 80 ms",))


def test_a_warning_that_invalidates_makes_the_run_invalid() -> None:
    warning = RunWarning("code", "the clock was stepped", "", invalidates=True)

    assert judge_run([], HEALTHY, [warning], 100).verdict is Verdict.INVALID


ABORTED = RunWarning("aborted", "stopped after 12 s: 60 of 100 requests failed", "look at the service")


def test_an_aborted_run_has_failed_whatever_its_slos_say() -> None:
    passed = judge_slo(parse_slo("max(latency) < 1s"), evidence(requests(100)))
    failed = judge_slo(parse_slo("max(latency) < 1ms"), evidence(requests(100)))
    unknown = judge_slo(parse_slo("p90(inference) < 1s"), evidence(requests(100), missing=3))

    assert judge_run([], HEALTHY, [ABORTED], 40) == Judged(Verdict.FAILED, (ABORTED.message,))
    assert judge_run([passed, unknown], HEALTHY, [ABORTED], 0) == Judged(Verdict.FAILED, (ABORTED.message,))
    assert judge_run([failed], HEALTHY, [ABORTED], 40) == Judged(
        Verdict.FAILED,
        (ABORTED.message, f"{failed.expression}: {failed.reason}"),
    )


def test_an_aborted_run_of_an_invalid_generator_is_invalid() -> None:
    sick = Health(HealthState.INVALID, (), ("cpu is 99%",))
    lost = RunWarning("lost_worker", "worker 2 was lost after 8 s", "", invalidates=True)

    assert judge_run([], sick, [ABORTED], 40) == Judged(Verdict.INVALID, ("cpu is 99%",))
    assert judge_run([], HEALTHY, [ABORTED, lost], 40) == Judged(Verdict.INVALID, (lost.message,))


def test_aborting_is_no_doubt_about_the_measurement() -> None:
    worded = dataclasses.replace(ABORTED, invalidates=True)

    assert judge_run([], HEALTHY, [worded], 40).verdict is Verdict.FAILED


def test_one_failed_slo_fails_the_run_though_others_are_undecided() -> None:
    failed = judge_slo(parse_slo("max(latency) < 1ms"), evidence(requests(10)))
    undecided = judge_slo(parse_slo("p99(latency) < 1s"), evidence(requests(10)))

    judged = judge_run([undecided, failed], HEALTHY, [], 10)

    assert judged.verdict is Verdict.FAILED
    assert len(judged.reasons) == 1


def test_a_run_without_slos_passes_only_if_something_was_answered() -> None:
    assert judge_run([], HEALTHY, [], 10).verdict is Verdict.PASSED
    assert judge_run([], HEALTHY, [], 0).verdict is Verdict.NOT_ENOUGH_DATA


@pytest.mark.parametrize(
    ("expression", "missing", "expected"),
    [
        ("p95(inference) < 500ms", 2, Verdict.PASSED),  # two of 500 may be beyond it, as may 17 more
        ("p99(inference) < 500ms", 4, Verdict.NOT_ENOUGH_DATA),  # 496 pass, 4 of 500 leave it open
        ("max(inference) < 500ms", 1, Verdict.NOT_ENOUGH_DATA),
        ("max(inference) < 50ms", 1, Verdict.FAILED),
    ],
)
def test_a_handful_of_missing_halves_decides_nothing(expression: str, missing: int, expected: Verdict) -> None:
    rows = requests(500).assign(ok=True, ended=True, answered=True)
    rows["service_s"] = rows["latency_s"]
    coverage = Coverage(500, 500 - missing, Loss.UNTESTED, None, None, None, "")

    found = judge_slo(parse_slo(expression), Evidence(rows, rows.iloc[missing:], coverage))

    assert found.verdict is expected
    says = "decide" if expected is Verdict.NOT_ENOUGH_DATA else "change nothing"
    assert found.reason.endswith(f"{missing} more without a server half {says}")


def test_steps_of_the_load_are_planned_and_do_not_make_the_requests_few() -> None:
    """A third of the requests, all of the last step, are beyond the limit: as one event that decides nothing."""
    rows = requests(600)
    rows["latency_s"] = np.where(np.arange(600) < 400, 0.1, 0.9) + np.random.default_rng(1).uniform(0, 0.01, 600)

    pooled = judge_slo(parse_slo("p90(latency) < 500ms"), evidence(rows))
    stepped = judge_slo(parse_slo("p90(latency) < 500ms"), evidence(rows.assign(step=np.repeat([0, 1, 2], 200))))

    assert (pooled.verdict, stepped.verdict) == (Verdict.NOT_ENOUGH_DATA, Verdict.FAILED)


def test_a_limit_far_above_requests_that_queue_is_met_and_says_how_little_is_known_of_the_percentile() -> None:
    queued = requests(2_000).assign(latency_s=queues.mm1(2_000, 0.9, 3))
    apart = requests(2_000)

    found = [judge_slo(parse_slo("p95(latency) < 60s"), evidence(rows)) for rows in (queued, apart)]

    assert [f.verdict for f in found] == [Verdict.PASSED] * 2
    assert ["where the percentile itself lies they say less" in f.reason for f in found] == [True, False]
