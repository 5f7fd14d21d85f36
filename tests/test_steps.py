"""The findings of each load step, and whether answers get worse with load."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from simulated_queues import T0, ledger_rows, simulate

from harness.analysis.load_steps.inside import inside
from harness.analysis.load_steps.steps import UNSTABLE, fisher, share_of, step_findings, worse_answers
from harness.diagnosis import Steadiness, StepFindings
from harness.model import Arrivals, LoadProfile, Step

STEP_S = 12.0
HOLD_S = 0.013
NO_VITALS = pd.DataFrame(
    {"at_ns": pd.Series(dtype="int64"), "process": [], "name": [], "value": pd.Series(dtype=float)}
)


def a_run(*loads: float) -> tuple[pd.DataFrame, pd.DataFrame, LoadProfile]:
    """Requests, ledger rows and load profile of M/G/1 steps of 12 s at these utilisations."""
    parts = []
    for step, load in enumerate(loads):
        queue = simulate(int(load / HOLD_S * 16) + 20, load, seed=step + 1, settle=2_000 if load < 1 else 0)
        rows = ledger_rows(queue, step)[queue.scheduled_s < STEP_S]
        rows["scheduled_ns"] += round(step * STEP_S * 1e9)
        parts.append(rows)
    split_rows = pd.concat(parts, ignore_index=True)
    steps = tuple(Step(load / HOLD_S, STEP_S) for load in loads)
    return requests_of(split_rows), split_rows, LoadProfile(Arrivals.POISSON, steps, 0.0, 10.0, 1)


def requests_of(rows: pd.DataFrame) -> pd.DataFrame:
    n = len(rows)
    return pd.DataFrame(
        {
            "request_id": np.arange(n), "step": rows["step"].to_numpy(),
            "scheduled_ns": rows["scheduled_ns"].to_numpy(),
            "ok": True, "ended": True, "answered": True, "latency_s": rows["latency_s"].to_numpy(),
            "service_s": rows["latency_s"].to_numpy(), "failed_checks": pd.Series([None] * n, dtype=object),
            "error": pd.Series([None] * n, dtype=object), "status": 200.0,
        }
    )  # fmt: skip


def failing(requests: pd.DataFrame, which: np.ndarray, **columns: object) -> pd.DataFrame:
    """The requests, `which` of them failed with these columns."""
    requests = requests.copy()
    for name, value in {"ok": False, **columns}.items():
        requests.loc[which, name] = value
    return requests


def gauge(values: list[float], process: str = "a", every_s: float = 1.0) -> pd.DataFrame:
    at = T0 + (np.arange(len(values)) * every_s * 1e9).astype(np.int64)
    return pd.DataFrame({"at_ns": at, "process": process, "name": "harness.requests.in_flight", "value": values})


def test_a_steady_step_has_its_percentiles_and_its_rates() -> None:
    requests, rows, load = a_run(0.2)

    (found,) = step_findings(requests, rows, load, NO_VITALS)

    assert found.state is Steadiness.STEADY
    assert found.level == pytest.approx(0.2 / HOLD_S)
    assert found.scheduled == found.ok == len(requests)
    assert found.completed_per_s == found.offered_per_s == pytest.approx(len(requests) / STEP_S)
    assert found.latency.p50.value == pytest.approx(float(requests["latency_s"].median()), rel=0.05)
    assert found.failed.value == 0.0
    assert found.checks == ()


def test_the_stages_of_a_step_add_up_to_its_mean_latency() -> None:
    requests, rows, load = a_run(0.5)

    (found,) = step_findings(requests, rows, load, NO_VITALS)

    assert sum(mean for _, mean in found.stages) == pytest.approx(float(rows["latency_s"].mean()))


def test_an_unstable_step_has_no_figures_and_says_why() -> None:
    requests, rows, load = a_run(0.4, 1.4)

    calm, unstable = step_findings(requests, rows, load, NO_VITALS)

    assert calm.latency.p50.value is not None
    assert unstable.state is Steadiness.UNSTABLE
    for latency in (unstable.latency, unstable.answered):
        for estimate in (latency.mean, latency.p50, latency.p90, latency.p95, latency.p99):
            assert (estimate.value, estimate.low, estimate.refusal) == (None, None, UNSTABLE)
        assert latency.max_s is None
    assert "were answered in the second half of the step" in unstable.sentence


def test_an_unstable_step_completes_what_the_service_can_do() -> None:
    requests, rows, load = a_run(1.4)

    (found,) = step_findings(requests, rows, load, NO_VITALS)

    assert found.offered_per_s == pytest.approx(1.4 / HOLD_S, rel=0.1)
    assert found.completed_per_s == pytest.approx(1.0 / HOLD_S, rel=0.1)


def test_every_step_of_the_plan_is_there_also_one_without_a_request() -> None:
    requests, rows, load = a_run(0.4, 0.5)
    load = LoadProfile(load.arrivals, (*load.steps, Step(99.0, STEP_S)), 0.0, 10.0, 1)

    found = step_findings(requests, rows, load, NO_VITALS)

    assert [f.step for f in found] == [0, 1, 2]
    assert (found[2].scheduled, found[2].completed_per_s, found[2].state) == (0, None, Steadiness.UNTESTED)
    assert found[2].latency.p50.value is None
    assert found[2].failed.value is None


def test_a_run_that_was_stopped_within_a_step_has_the_rates_of_the_time_it_lasted() -> None:
    requests, rows, load = a_run(0.5)
    early = ((requests["scheduled_ns"] - T0) < 4e9).to_numpy()

    (found,) = step_findings(requests[early], rows[early], load, NO_VITALS)

    assert found.offered_per_s == pytest.approx(early.sum() / 4.0, rel=0.03)


def test_requests_that_failed_rank_as_slowest_and_are_not_among_the_answered() -> None:
    requests, rows, load = a_run(0.3)
    bad = np.arange(len(requests)) % 4 == 0
    requests = failing(requests, bad, error="timeout", status=np.nan, latency_s=1.0)

    (found,) = step_findings(requests, rows[~bad], load, NO_VITALS)

    assert found.failed.value == pytest.approx(0.25, abs=0.01)
    assert found.latency.p90.value is None
    assert found.answered.p90.value is not None
    assert found.ok == int((~bad).sum())


def test_failed_checks_are_counted_by_what_failed_and_add_up() -> None:
    requests, rows, load = a_run(0.3)
    place = np.arange(len(requests))
    requests = failing(requests, place < 3, failed_checks="status", status=503.0)
    requests = failing(requests, (place >= 3) & (place < 8), failed_checks="json:total")
    requests = failing(requests, (place >= 8) & (place < 10), failed_checks="json:total,max_bytes")
    requests = failing(requests, (place >= 10) & (place < 30), error="connection refused", status=np.nan)

    (found,) = step_findings(requests, rows[30:], load, NO_VITALS)

    assert found.checks == (("json:total", 5), ("status 503", 3), ("json:total,max_bytes", 2))


def test_a_closed_loop_offers_no_rate_and_is_never_unstable() -> None:
    requests, rows, load = a_run(1.4)
    load = LoadProfile(Arrivals.USERS, (Step(16.0, STEP_S),), 0.0, 10.0, 1)

    (found,) = step_findings(requests, rows, load, NO_VITALS)

    assert (found.level, found.offered_per_s) == (16.0, None)
    assert found.state is not Steadiness.UNSTABLE


def test_a_ramp_is_a_step_of_its_mean_rate_and_is_not_asked_about_drift() -> None:
    requests, rows, load = a_run(0.5)
    load = LoadProfile(Arrivals.POISSON, (Step(20.0, STEP_S, to=60.0),), 0.0, 10.0, 1)

    (found,) = step_findings(requests, rows, load, NO_VITALS)

    assert (found.level, found.state) == (40.0, Steadiness.UNTESTED)


def test_the_number_inside_is_the_rate_times_the_time_in_the_service() -> None:
    requests, rows, load = a_run(0.5)
    window = float((rows["queue_s"] + rows["preprocess_s"] + rows["inference_s"] + rows["postprocess_s"]).mean())

    (found,) = step_findings(requests, rows, load, NO_VITALS)

    assert found.in_flight == pytest.approx(len(rows) / STEP_S * window)
    assert found.gauge is None


def test_the_gauge_of_several_processes_is_their_sum_during_the_step() -> None:
    requests, rows, load = a_run(0.5)
    vitals = pd.concat([gauge([1.0] * 30, "a"), gauge([2.0] * 30, "b")])
    vitals.loc[vitals["at_ns"] >= T0 + round(STEP_S * 1e9 * 1.01), "value"] = 1_000.0

    (found,) = step_findings(requests, rows, load, vitals)

    assert found.gauge == pytest.approx(3.0)


def test_a_gauge_that_says_something_else_is_mentioned() -> None:
    requests, rows, load = a_run(0.5)

    (found,) = step_findings(requests, rows, load, gauge([5.0, 6.0] * 6))

    assert "the service counted 5.5 requests inside at a time, its answers account for" in found.sentence


def test_a_difference_within_the_sampling_error_of_the_gauge_is_not_mentioned() -> None:
    stages = {"inference": np.full(100, 0.1), "other": np.zeros(100)}

    wild = inside(stages, gauge([0.0, 4.0, 0.0, 0.0, 1.0, 0.0, 6.0, 0.0, 0.0, 2.0, 5.0, 0.0]), 10.0, 1.0)
    few = inside(stages, gauge([3.0] * 5), 10.0, 1.0)
    sure = inside(stages, gauge([3.0] * 12), 10.0, 1.0)

    assert (wild.in_flight, wild.gauge) == (pytest.approx(1.0), 1.5)
    assert wild.doubt is None
    assert few.doubt is None
    assert sure.doubt is not None


def test_nobody_asks_the_gauge_when_many_requests_failed() -> None:
    stages = {"inference": np.full(100, 0.1), "other": np.zeros(100)}

    assert inside(stages, gauge([3.0] * 12), 10.0, 0.5).doubt is None


# --- worse answers -----------------------------------------------------------------------------------------


def steps_with(*counts: tuple[float, int, int, int], closed: bool = False) -> list[StepFindings]:
    """Findings of (level, ended, failed their checks, got no answer); failures are spread evenly."""
    found = []
    for number, (level, ended, wrong, none) in enumerate(counts):
        load = LoadProfile(Arrivals.USERS if closed else Arrivals.CONSTANT, (Step(level, ended / 50.0),), 0.0, 1.0, 1)
        rows = pd.DataFrame({"step": 0, "scheduled_ns": T0 + np.arange(ended) * 20_000_000, "latency_s": 0.01})
        requests = requests_of(rows)
        order = np.random.default_rng(number).permutation(ended)
        requests = failing(requests, np.isin(np.arange(ended), order[:wrong]), failed_checks="json:total")
        requests = failing(requests, np.isin(np.arange(ended), order[wrong : wrong + none]), error="timeout")
        (step,) = step_findings(requests, ledger_rows(simulate(1, 0.1, 1, settle=0)).iloc[:0], load, NO_VITALS)
        found.append(step)
    return found


def test_answers_that_get_worse_are_named_with_the_load_beyond_which_they_do() -> None:
    found = worse_answers(steps_with((20, 1_000, 2, 0), (30, 1_000, 2, 0), (40, 1_000, 41, 0)))

    assert found is not None
    assert found.text == (
        "Answers get worse beyond 30/s: 0.2% of them failed their checks up to there, 4.1% (3.04% to 5.51%) at 40/s."
    )
    assert found.evidence[2] == (
        "40/s: 41 of 1,000 answers failed their checks (4.1%): json:total 41; 0 of 1,000 requests got no answer"
    )


def test_answers_that_fail_alike_at_every_load_are_not_worse() -> None:
    assert worse_answers(steps_with((20, 1_000, 10, 3), (30, 1_000, 14, 2), (40, 1_000, 12, 5))) is None


def test_fewer_failures_at_a_higher_load_are_not_worse() -> None:
    assert worse_answers(steps_with((20, 1_000, 100, 0), (40, 1_000, 5, 0))) is None


def test_timeouts_are_named_apart_from_failed_checks() -> None:
    found = worse_answers(steps_with((20, 1_000, 0, 1), (40, 1_000, 50, 100)))
    alone = worse_answers(steps_with((20, 1_000, 1, 1), (40, 1_000, 1, 100)))

    assert found is not None
    assert "failed their checks" in found.text
    assert found.text.endswith("; beside them 10% of the requests got no answer.")
    assert alone is not None
    assert alone.text.startswith(
        "Requests fail beyond 20/s: 0.1% of them got no answer (timeouts, connection errors) up to there, 10% ("
    )


def test_the_loads_of_a_closed_loop_are_users_and_their_order_is_the_load() -> None:
    found = worse_answers(steps_with((16, 1_000, 60, 0), (4, 1_000, 0, 0), closed=True))

    assert found is not None
    assert found.text.startswith("Answers get worse beyond 4 users: 0% of them")
    assert found.text.endswith("at 16 users.")


def test_failures_in_one_burst_are_one_event_and_no_trend() -> None:
    rows = pd.DataFrame({"step": 0, "scheduled_ns": T0 + np.arange(1_000) * 20_000_000, "latency_s": 0.01})
    burst = failing(requests_of(rows), np.arange(1_000) // 10 == 50, failed_checks="json:total")
    load = LoadProfile(Arrivals.CONSTANT, (Step(40.0, 20.0),), 0.0, 1.0, 1)
    (bursty,) = step_findings(burst, ledger_rows(simulate(1, 0.1, 1, settle=0)).iloc[:0], load, NO_VITALS)

    assert worse_answers([*steps_with((20, 1_000, 0, 0)), *steps_with((40, 1_000, 10, 0))]) is not None
    assert bursty.checks == (("json:total", 10),)
    assert worse_answers([*steps_with((20, 1_000, 0, 0)), bursty]) is None


def test_one_step_and_steps_of_nothing_are_never_worse() -> None:
    requests, rows, load = a_run(0.3, 0.4)

    assert worse_answers(()) is None
    assert worse_answers(steps_with((20, 1_000, 500, 0))) is None
    assert worse_answers(step_findings(requests.iloc[:0], rows.iloc[:0], load, NO_VITALS)) is None


def test_fisher_of_the_lady_tasting_tea() -> None:
    """Of 4 cups and 4 others, 3 and 1: p = (1 + 16 + 16 + 1) / 70; all right: 2 / 70."""
    assert fisher(3, 4, 1, 4) == pytest.approx(34.0 / 70.0)
    assert fisher(4, 4, 0, 4) == pytest.approx(2.0 / 70.0)
    assert fisher(0, 10, 0, 10) == 1.0
    assert fisher(10, 10, 5, 5) == 1.0


def test_a_share_has_wilsons_interval() -> None:
    failed = np.zeros(100, np.bool_)
    failed[[3, 19, 31, 44, 58, 60, 77, 83, 92, 99]] = True

    found = share_of(failed)

    assert (found.value, found.n) == (0.1, 100)
    assert found.low == pytest.approx(0.0552, abs=5e-4)
    assert found.high == pytest.approx(0.1744, abs=5e-4)
    assert share_of(np.zeros(0, np.bool_)).value is None


# --- degenerate runs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 2, 40])
@pytest.mark.parametrize("fate", ["ok", "failed", "censored", "equal", "together"])
def test_no_figure_of_a_degenerate_run_is_nan_and_nothing_raises(n: int, fate: str) -> None:
    requests, rows, load = a_run(0.3, 0.5)
    requests, rows = requests.iloc[:n].copy(), rows.iloc[:n].copy()
    if fate == "failed":
        requests, rows = failing(requests, np.ones(n, np.bool_), error="timeout", status=np.nan), rows.iloc[:0]
    if fate == "censored":
        requests = failing(requests, np.ones(n, np.bool_), ended=False, latency_s=np.nan, status=np.nan)
        rows = rows.iloc[:0]
    if fate == "equal":
        requests["latency_s"] = 0.1
    if fate == "together":
        requests["scheduled_ns"] = T0

    found = step_findings(requests, rows, load, NO_VITALS)

    assert len(found) == 2
    assert "nan" not in repr(found)
    assert "inf" not in repr(found).replace("inference", "")
    assert worse_answers(found) is None


def test_stages_that_nobody_knows_leave_the_number_inside_unknown() -> None:
    requests, rows, load = a_run(0.3)
    rows = rows.assign(other_s=np.nan, inference_s=np.nan)

    (found,) = step_findings(requests, rows, load, gauge([1.0] * 12))

    assert "inference" not in dict(found.stages)
    assert found.in_flight is None
    assert found.gauge == 1.0


def test_a_large_step_is_no_burden() -> None:
    n = 200_000
    rows = pd.DataFrame({"step": 0, "scheduled_ns": T0 + np.arange(n) * 100_000, "latency_s": 0.01})
    requests = requests_of(rows)
    requests["latency_s"] = np.random.default_rng(1).exponential(0.01, n)
    load = LoadProfile(Arrivals.CONSTANT, (Step(10_000.0, n * 1e-4),), 0.0, 1.0, 1)

    (found,) = step_findings(requests, ledger_rows(simulate(1, 0.1, 1, settle=0)).iloc[:0], load, NO_VITALS)

    assert found.scheduled == n
    assert not math.isnan(found.latency.p99.value or math.nan)
