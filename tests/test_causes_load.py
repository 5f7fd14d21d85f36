"""What the load does to the service: more than it carries, garbage collection; and a generator that is late."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from facts_builders import a_reading, a_step, facts_of, rows_of, vitals_of

from harness.analysis.causes import find
from harness.analysis.causes.load import overload
from harness.analysis.load_steps.steps import step_findings
from harness.diagnosis import Cause, Steadiness
from harness.findings import Health, HealthState
from harness.model import Arrivals, LoadProfile, Step

UNSTABLE = Steadiness.UNSTABLE


def limiting(code: str) -> Cause:
    return Cause(code, "connect", "pool", None, "", "", (), 0.1)


def test_a_service_that_answers_hardly_anybody_in_time_is_overloaded_and_carries_what_it_answers() -> None:
    n, answered = 316, np.arange(316) % 50 == 7
    at_ns = (np.arange(n) / 10.5 * 1e9).astype(np.int64)
    requests = pd.DataFrame(
        {
            "request_id": np.arange(n), "step": 0, "scheduled_ns": at_ns, "ok": answered, "ended": True,
            "answered": answered, "latency_s": np.where(answered, 9.0, 10.0), "failed_checks": None,
            "error": np.where(answered, None, "timeout"), "status": np.where(answered, 200.0, np.nan),
        }
    )  # fmt: skip
    load = LoadProfile(Arrivals.POISSON, (Step(10.5, 30.0),), 0.0, 10.0, 1)
    rows = rows_of(0)
    steps = step_findings(requests, rows.assign(step=0), load, vitals_of())

    (cause,) = find(facts_of(rows, steps=steps))

    assert (steps[0].state, cause.code, cause.stage) == (UNSTABLE, "overload", None)
    assert "10.5/s offered): it answers about 12/min" in cause.sentence
    assert "requests timed out after 10.0 s" in cause.evidence[0]


def test_what_is_carried_is_told_only_where_it_is_clearly_less_than_what_comes() -> None:
    close = facts_of(rows_of(0), steps=(a_step(UNSTABLE, offered_per_s=10.04, completed_per_s=9.96),))
    less = facts_of(rows_of(0), steps=(a_step(UNSTABLE, offered_per_s=20.0, completed_per_s=12.0),))
    none = facts_of(rows_of(0), steps=(a_step(UNSTABLE, offered_per_s=20.0, completed_per_s=0.0),))

    told = [cause.sentence for facts in (close, less, none) if (cause := overload(facts, None)) is not None]

    assert told == [
        "More requests come than the service answers (10/s offered).",
        "More requests come than the service answers (20/s offered): it answers about 12/s.",
        "More requests come than the service answers (20/s offered): it answers hardly any of them.",
    ]


def test_only_a_cause_that_limits_the_rate_says_where_capacity_is_used_up() -> None:
    facts = facts_of(rows_of(0), steps=(a_step(UNSTABLE),))

    named = [overload(facts, limiting(code)) for code in ("connections", "lock")]

    assert [(c.stage, c.resource) for c in named if c is not None] == [(None, None), ("connect", "pool")]


def test_garbage_collection_is_judged_for_each_process() -> None:
    vitals = pd.concat(
        [vitals_of(process=f"worker/{i}", gc_ms=ms) for i, ms in enumerate((300.0, 1.0, 1.0, 1.0))], ignore_index=True
    )

    (cause,) = find(facts_of(rows_of(inference=40.0), vitals=vitals))

    assert cause.sentence == "Garbage collection stops the service in 1 of 4 processes for 30% of the time."
    assert cause.evidence[0].startswith("process worker/0: 300 ms of pauses in a second on average, 12 readings")
    assert cause.cost_s == pytest.approx(0.3 * 0.040 / 4)


@pytest.mark.parametrize(
    ("backlog_ms", "stage", "told"), [(0.05, None, False), (5.0, None, True), (40, "backlog", True)]
)
def test_a_late_generator_is_no_backlog_of_the_service_where_hardly_any_is_lost(
    backlog_ms: float, stage: str | None, told: bool
) -> None:
    health = Health(HealthState.INVALID, (a_reading("lateness_p99", 0.4),), ())

    cause = find(replace(facts_of(rows_of(backlog=backlog_ms, inference=50.0)), health=health))[0]

    assert (cause.code, cause.stage) == ("generator", stage)
    assert ("lost before the send" in cause.sentence) is told
