"""Cold starts, one costly kind of request, what the load as a whole does, and runs that say little."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from facts_builders import (
    a_step,
    attributes_of,
    calls_of,
    facts_of,
    rows_of,
    simulated_facts,
    vitals_of,
    waits_of,
    worked,
)
from simulated_queues import simulate

from harness.analysis.causes import find
from harness.analysis.facts import Facts
from harness.diagnosis import Cause, Steadiness
from harness.model import STAGES

CODES = {
    "thread_pool", "lock", "batch_window", "batcher_busy", "event_loop", "taken_late", "upload", "download",
    "delayed_ack", "cold_start", "payload", "oversubscribed", "cpu_saturated", "gil", "stage_waits", "stage_dominates",
    "generator", "connections", "gc", "retries", "overload", "memory_growth",
    "machine_full", "slow_process",
}  # fmt: skip


def codes(facts: Facts) -> list[str]:
    return [cause.code for cause in find(facts)]


def first(facts: Facts) -> Cause:
    return find(facts)[0]


# --- cold starts -------------------------------------------------------------------------------------------


def cold(slow: int = 8, worst_ms: float = 1500.0, n: int = 140, **changes: Any) -> Facts:
    """The first requests come while a model is loaded: each waits for what is left of that."""
    inference = np.full(n, 10.0)
    inference[:slow] += np.linspace(worst_ms, 100.0, slow)
    return facts_of(rows_of(n, inference=inference, preprocess=5.0, rate=12.0), **changes)


def test_first_requests_that_work_far_longer_are_a_cold_start() -> None:
    (cause,) = find(cold())

    assert (cause.code, cause.stage) == ("cold_start", "inference")
    assert cause.cost_s == pytest.approx(8 * 0.8 / 140, rel=0.01)  # 800 ms more on average
    assert "first 8 requests" in cause.sentence


def test_a_first_request_that_costs_the_mean_one_little_is_no_cause() -> None:
    assert codes(cold(slow=1, worst_ms=200.0)) == []  # 1.4 ms of 15


def test_slow_requests_that_go_on_are_no_start() -> None:
    inference = np.where(np.arange(200) % 10 == 0, 1500.0, 10.0)

    assert "cold_start" not in codes(facts_of(rows_of(inference=inference)))


def test_a_queue_that_is_long_at_first_is_no_cold_start() -> None:
    queue = np.concatenate([np.linspace(800, 10, 40), np.full(160, 10.0)])

    assert "cold_start" not in codes(facts_of(rows_of(queue=queue, inference=100.0)))


def test_what_follows_a_cold_start_is_judged_without_it() -> None:
    facts = cold(work=(worked("inference", 55.7, 0.18),))  # 10 of 55.7 ms is work, all of it: the rest is the start

    assert codes(facts) == ["cold_start"]


def test_a_step_that_settles_is_a_cold_start_when_its_work_was_slower_at_first() -> None:
    step = a_step(Steadiness.WARMING, settled_after_s=4.0)

    def at_first(factor: float) -> Facts:
        rows = rows_of(inference=np.where(np.arange(200) < 40, 50.0 * factor, 50.0))
        return facts_of(rows, steps=(step,))

    assert (codes(at_first(2.0)), codes(at_first(1.2))) == (["cold_start"], [])


def test_costly_requests_that_come_first_by_chance_are_no_cold_start() -> None:
    for seed in range(60):
        random = np.random.default_rng(seed)
        times = np.where(random.random(60) < 0.04, 8.0, 1.0)
        rows = rows_of(60, seed=seed, inference=random.lognormal(3, 0.2, 60) * times, rate=5.0)
        assert "cold_start" not in codes(facts_of(rows))


def test_a_kind_that_is_as_slow_later_was_not_slow_because_it_came_first() -> None:
    large = (np.arange(200) < 4) | (np.arange(200) % 20 == 0)
    rows = rows_of(inference=np.where(large, 1500.0, 10.0), rate=1.0)
    size = np.where(large, 1e6, 1e4)
    unlike = np.where(np.arange(200) < 4, 3.0, 1.0)  # these are slow for what they are

    assert "cold_start" not in codes(facts_of(rows, attributes=attributes_of(rows, bytes_sent=size)))
    slow = rows_of(inference=np.where(large, 1500.0, 10.0) * unlike, rate=1.0)
    assert "cold_start" in codes(facts_of(slow, attributes=attributes_of(slow, bytes_sent=size)))


def test_the_very_first_request_alone_is_a_start_when_it_is_slow_by_far() -> None:
    assert codes(cold(slow=1, worst_ms=600.0)) == ["cold_start"]  # 610 ms against 10
    assert codes(cold(slow=1, worst_ms=600.0, n=49)) == []  # too few to tell


# --- payloads ----------------------------------------------------------------------------------------------


def poisoned(every: int = 20, times: float = 12.0, **attributes: Any) -> Facts:
    bad = np.arange(200) % every == 0
    rows = rows_of(inference=np.where(bad, 40.0 * times, 40.0), preprocess=5.0)
    known = attributes or {"bytes_sent": np.where(bad, 200_000.0, np.linspace(3e3, 4e3, 200))}
    return facts_of(rows, attributes=attributes_of(rows, **known))


def test_a_rare_kind_that_costs_many_times_the_others_is_named() -> None:
    (cause,) = find(poisoned())

    assert (cause.code, cause.stage) == ("payload", "inference")
    assert cause.cost_s == pytest.approx(0.05 * 0.44)  # one in twenty takes 440 ms more
    assert "bytes_sent 195 KiB or more, 5% of all" in cause.sentence
    assert "n = 10 with" in cause.evidence[0]


@pytest.mark.parametrize(
    ("attribute", "values", "said"),
    [
        ("models", np.where(np.arange(200) % 20 == 0, "det+rec", "det"), "models det+rec"),
        ("model_calls", np.where(np.arange(200) % 20 == 0, 30.0, 2.0), "model_calls 30 or more"),
    ],
)
def test_a_kind_is_told_by_whatever_sets_it_apart(attribute: str, values: Any, said: str) -> None:
    assert said in first(poisoned(**{attribute: values})).sentence


def test_a_natural_mix_of_sizes_is_no_poison() -> None:
    size = np.random.default_rng(2).uniform(1.0, 3.0, 200)
    rows = rows_of(inference=40.0 * size)

    assert codes(facts_of(rows, attributes=attributes_of(rows, bytes_sent=1e5 * size))) == []
    assert codes(poisoned(times=3.2)) == []
    assert codes(poisoned(every=3)) == []  # one in three is the rule


def test_answers_that_are_a_little_longer_when_slow_are_no_kind() -> None:
    bad = np.arange(200) % 20 == 0

    assert codes(poisoned(bytes_received=np.where(bad, 433.0, 431.0))) == []
    assert codes(poisoned(bytes_received=np.where(bad, 9e5, 431.0))) == ["payload"]


def test_slow_requests_that_share_nothing_are_no_kind() -> None:
    assert codes(poisoned(bytes_sent=np.random.default_rng(1).uniform(1e3, 1e5, 200))) == []


def test_others_behind_a_costly_kind_wait_for_it_and_not_for_more_threads() -> None:
    simulated = simulate(300, 0.7, 5, large=0.05, large_factor=20.0, means_s=(0.002, 0.05, 0.001), cv=0.1)
    facts = simulated_facts(simulated)
    size = np.where(facts.rows["name"] == "large", 1e6, 1e4)

    assert codes(replace(facts, attributes=attributes_of(facts.rows, bytes_sent=size)))[0] == "payload"


def test_sizes_of_one_mix_are_no_kind_however_wide_it_is() -> None:
    for seed in range(20):
        size = np.random.default_rng(seed).lognormal(0, 0.8, 300)
        rows = rows_of(300, seed=seed, rate=4.0, inference=20.0 * size)
        assert codes(facts_of(rows, attributes=attributes_of(rows, bytes_sent=2e5 * size))) == []


def test_waiting_behind_a_costly_kind_is_spoken_of_only_where_somebody_waits() -> None:
    quiet = first(poisoned())
    simulated = simulate(300, 0.7, 5, large=0.05, large_factor=20.0, means_s=(0.002, 0.05, 0.001), cv=0.1)
    facts = simulated_facts(simulated)
    size = np.where(facts.rows["name"] == "large", 1e6, 1e4)
    waiting = first(replace(facts, attributes=attributes_of(facts.rows, bytes_sent=size)))

    assert ["behind" in cause.remedy for cause in (quiet, waiting)] == [False, True]
    assert ["behind" in " ".join(cause.evidence) for cause in (quiet, waiting)] == [False, True]


# --- the load ----------------------------------------------------------------------------------------------


def test_more_than_is_answered_comes_after_what_says_why() -> None:
    simulated = simulate(300, 1.3, 1, means_s=(0.02, 0.1, 0.01), settle=0)
    facts = simulated_facts(simulated, steps=(a_step(Steadiness.UNSTABLE, completed_per_s=7.7),))
    causes = find(facts)

    assert [cause.code for cause in causes] == ["thread_pool", "overload"]
    assert "it answers about 7.7/s" in causes[1].sentence
    assert causes[1].resource == "threadpool"


def test_overload_is_told_also_where_nothing_says_why() -> None:
    facts = facts_of(rows_of(inference=100.0), steps=(a_step(Steadiness.UNSTABLE),))

    assert codes(facts) == ["overload"]


def test_memory_that_rises_to_the_end_is_told_and_one_that_fills_is_not() -> None:
    rows = rows_of(inference=50.0)
    mib = 2.0**20
    rising, filling = 300 * mib + np.arange(60) * 4 * mib, 300 * mib + 240 * mib * (1 - np.exp(-np.arange(60) / 6))

    assert codes(facts_of(rows, vitals=vitals_of(60, memory=rising))) == ["memory_growth"]
    assert codes(facts_of(rows, vitals=vitals_of(60, memory=filling))) == []
    assert codes(facts_of(rows, vitals=vitals_of(12, memory=rising[:12]))) == []


def test_garbage_collection_counts_from_a_tenth_of_the_time_on() -> None:
    rows = rows_of(inference=50.0)

    assert codes(facts_of(rows, vitals=vitals_of(gc_ms=99.0))) == []
    assert codes(facts_of(rows, vitals=vitals_of(gc_ms=150.0))) == ["gc"]


# --- runs that say little ----------------------------------------------------------------------------------

HEALTHY = {"inference": 50.0, "preprocess": 6.0, "postprocess": 2.0, "upload": 1.0, "other": 1.0, "queue": 0.2}


def healthy(n: int = 150) -> Facts:
    size = np.random.default_rng(7).uniform(0.6, 1.8, n)
    stages: dict[str, Any] = {stage: ms * size for stage, ms in HEALTHY.items()}
    rows = rows_of(n, **stages)
    work = (worked("preprocess", 6.0, 0.93), worked("inference", 50.0, 0.9), worked("postprocess", 2.0, 0.9))
    vitals = pd.concat([vitals_of(cpu=0.6, limit=2.0, lag_ms=3.0, memory=3e8, gc_ms=2.0)])
    return facts_of(
        rows, work=work, vitals=vitals, waits=waits_of(rows, "threadpool"), calls=calls_of(rows, det=40.0, rec=10.0),
        attributes=attributes_of(rows, bytes_sent=1e5 * size),
    )  # fmt: skip


def test_a_healthy_service_has_no_cause() -> None:
    assert find(healthy()) == ()


@pytest.mark.parametrize("n", [0, 1, 9, 29])
def test_too_few_requests_have_no_cause(n: int) -> None:
    assert find(facts_of(rows_of(n, queue=500.0, inference=1.0))) == ()


def test_a_run_of_equal_instants_and_no_time_at_all_is_read() -> None:
    rows = rows_of(50).assign(scheduled_ns=5)

    assert find(facts_of(rows, waits=waits_of(rows, "threadpool"), work=(worked("inference", 0.0, 0.0),))) == ()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_is_not_known_makes_no_cause(stage: str) -> None:
    facts = healthy()
    rows = facts.rows.assign(**{f"{stage}_s": np.nan})

    assert find(replace(facts, rows=rows)) == ()


def test_a_run_with_nothing_but_latencies_is_read() -> None:
    rows = rows_of(100, inference=50.0).assign(**{f"{stage}_s": np.nan for stage in STAGES})
    empty = facts_of(rows)

    assert find(replace(empty, attributes=pd.DataFrame(), vitals=vitals_of(), stages=(), models=())) == ()


def test_every_cause_has_evidence_with_figures_and_a_remedy_without_a_full_stop() -> None:
    simulated = simulate(300, 1.3, 1, means_s=(0.02, 0.1, 0.01), settle=0)
    found = [
        *find(cold()), *find(poisoned()), *find(facts_of(rows_of(upload=100.0))), *find(facts_of(rows_of(other=99.0))),
        *find(simulated_facts(simulated, steps=(a_step(Steadiness.UNSTABLE),))),
    ]  # fmt: skip

    assert {cause.code for cause in found} <= CODES
    assert len(found) >= 6
    for cause in found:
        assert cause.sentence.endswith(".")
        assert not cause.remedy.endswith(".")
        assert cause.evidence
        assert np.isfinite(cause.cost_s)
        assert "nan" not in " ".join((cause.sentence, *cause.evidence))
