"""Waits for threads, locks and batches: when they are a cause, and when they are what random arrivals bring."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from facts_builders import attributes_of, calls_of, facts_of, rows_of, simulated_facts, vitals_of, waits_of, worked
from simulated_queues import simulate

from harness.analysis.causes import find
from harness.analysis.causes.queues import pool_of
from harness.analysis.causes.scene import scene_of
from harness.analysis.facts import Facts
from harness.diagnosis import BlameFindings, Cause

WORK_S = (0.02, 0.10, 0.01)


def codes(facts: Facts) -> list[str]:
    return [cause.code for cause in find(facts)]


def first(facts: Facts) -> Cause:
    return find(facts)[0]


def crowded(servers: int = 1, load: float = 0.85, **changes: object) -> Facts:
    return simulated_facts(simulate(300, load, 4, servers=servers, means_s=WORK_S), **changes)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.85), (2, 0.85), (8, 1.1)])
def test_a_pool_near_its_capacity_is_named_with_how_many_were_at_work(servers: int, load: float) -> None:
    (cause,) = find(crowded(servers, load))

    assert (cause.code, cause.stage, cause.resource) == ("thread_pool", "queue", "threadpool")
    assert f"about {servers} were worked on at once" in cause.sentence
    assert "n = 300 requests" in cause.evidence[0]


def test_random_arrivals_at_half_load_wait_a_third_of_the_time_and_that_is_no_cause() -> None:
    silent = [not find(simulated_facts(simulate(130, 0.5, seed, means_s=WORK_S, settle=50))) for seed in range(30)]
    busy = [codes(simulated_facts(simulate(130, 0.75, seed, means_s=WORK_S, settle=50))) for seed in range(30)]

    assert sum(silent) >= 28
    assert sum(found == ["thread_pool"] for found in busy) >= 28


def test_waits_below_the_grain_of_the_machine_are_no_cause() -> None:
    assert codes(simulated_facts(simulate(300, 0.85, 4, means_s=(0.0001, 0.0005, 0.0001), way_s=0.0001))) == []


def test_the_remedy_for_a_full_pool_depends_on_the_processor() -> None:
    free, full = (first(crowded(vitals=vitals_of(cpu=cpu, limit=2.0))) for cpu in (0.9, 1.9))

    assert "enlarge the pool" in free.remedy
    assert "make the work faster" in full.remedy
    assert "0.90 of 2 cores" in free.evidence[-1]


def test_the_default_pool_is_only_named_when_all_its_threads_were_in_use() -> None:
    used, unused = (first(crowded(vitals=vitals_of(cpu=0.5, limit=2.0, pool_size=40, pool_in_use=n))) for n in (40, 0))

    assert "anyio's default limiter" in used.remedy
    assert "anyio" not in unused.remedy + " ".join(unused.evidence)


def test_who_held_the_threads_stands_in_the_evidence() -> None:
    held = BlameFindings("threadpool", "inference", "det", "read", True, 0.2, 0.8, 290)

    assert "held by inference det of read: 80%" in " ".join(first(crowded(blame=(held,))).evidence)


def test_a_pool_of_one_that_sleeps_is_a_pool_first_and_a_slow_stage_second() -> None:
    busy = tuple(worked(stage, 1e3 * s, 0.05) for stage, s in zip(("preprocess", "inference"), WORK_S, strict=False))
    facts = crowded(work=busy, vitals=vitals_of(cpu=0.1, limit=1.0))

    assert codes(facts) == ["thread_pool", "stage_waits"]


def test_one_at_a_time_is_counted_from_instants_alone() -> None:
    scene = scene_of(crowded(3))
    assert scene is not None
    pool = pool_of(scene)

    assert pool.at_once == 3
    assert pool.busy == pytest.approx(0.85, abs=0.12)
    assert pool.hold_s == pytest.approx(0.13, rel=0.1)


# --- locks -------------------------------------------------------------------------------------------------


def with_lock(queue_ms: float, hold_ms: float = 60.0, threads_ms: float = 0.0, **changes: object) -> Facts:
    rows = rows_of(queue=queue_ms + threads_ms, inference=hold_ms)
    waits = pd.concat([waits_of(rows, "threadpool", threads_ms), waits_of(rows, "model_lock", queue_ms)])
    return facts_of(rows, **{"waits": waits, **changes})


def test_a_lock_is_named_by_its_name_from_a_fifth_of_the_latency_on() -> None:
    assert codes(with_lock(14.0)) == []  # 14 of 74 ms are 19 %
    cause = first(with_lock(16.0))

    assert (cause.code, cause.resource) == ("lock", "model_lock")
    assert cause.cost_s == pytest.approx(0.016)
    assert "model_lock" in cause.sentence


def test_threads_that_stand_at_a_lock_are_no_full_pool() -> None:
    facts = with_lock(40.0, threads_ms=300.0)

    assert codes(facts) == ["lock"]
    assert first(facts).cost_s == pytest.approx(0.340)


def test_how_many_can_hold_a_lock_at_once_stands_in_the_evidence() -> None:
    held = BlameFindings("model_lock", "inference", None, "read", True, 0.04, 1.0, 200, at_once=1)

    assert "1 at once could hold model_lock in a process" in first(with_lock(40.0, blame=(held,))).evidence


def test_what_is_done_while_a_lock_is_held_is_told_with_the_lock() -> None:
    slow = (worked("inference", 60.0, 0.05),)
    unrelated = BlameFindings("model_lock", "postprocess", None, "read", True, 0.03, 1.0, 200)

    assert codes(with_lock(40.0, work=slow)) == ["lock"]
    assert codes(with_lock(40.0, work=slow, blame=(unrelated,))) == ["lock", "stage_waits"]


def test_a_wait_without_a_name_is_no_lock() -> None:
    rows = rows_of(queue=100.0, inference=50.0)

    assert codes(facts_of(rows, waits=waits_of(rows, "x").assign(resource=None))) == []


def test_a_lock_that_is_free_most_of_the_time_is_no_cause_whatever_random_arrivals_wait() -> None:
    def at(rate: float, **changes: object) -> list[str]:
        rows = rows_of(queue=30.0, inference=60.0, rate=rate)  # a third of the time
        return codes(facts_of(rows, waits=waits_of(rows, "gpu"), **changes))

    assert (at(6.0), at(12.0)) == ([], ["lock"])  # in use for 0.36 and 0.72 of the time
    two = BlameFindings("gpu", "inference", None, "read", True, 0.03, 1.0, 200, at_once=2)
    assert at(12.0, blame=(two,)) == []


def test_a_lock_of_each_process_is_in_use_for_its_part_of_the_requests() -> None:
    rows = rows_of(queue=30.0, inference=60.0, rate=12.0)
    of_two = attributes_of(rows, process=np.where(np.arange(200) % 2 == 0, "a", "b"))

    assert codes(facts_of(rows, waits=waits_of(rows, "gpu"), attributes=of_two)) == []


def test_more_than_one_at_a_time_is_advised_with_care() -> None:
    cause = first(with_lock(90.0))

    assert "if what it guards can bear that" in cause.remedy
    assert "in use about" in " ".join(cause.evidence)


# --- batches -----------------------------------------------------------------------------------------------


def with_batch(window_ms: float, busy_ms: float, work_ms: float = 100.0) -> Facts:
    rows = rows_of(queue=window_ms + busy_ms, inference=work_ms)
    parts = [waits_of(rows, "det_batch", ms, kind) for ms, kind in ((window_ms, "window"), (busy_ms, "busy")) if ms]
    calls = calls_of(rows, det=work_ms).assign(batch_id="b", batch_size=2)
    return facts_of(rows, waits=pd.concat(parts), calls=calls)


def test_a_window_that_fills_while_the_model_is_free_is_told_from_a_busy_one() -> None:
    window, busy = first(with_batch(80.0, 10.0)), first(with_batch(10.0, 80.0))

    assert (window.code, window.resource) == ("batch_window", "det_batch")
    assert window.cost_s == pytest.approx(0.08)
    assert busy.code == "batcher_busy"
    assert busy.cost_s == pytest.approx(0.08)
    assert "requests in a batch: 2 on average" in " ".join(window.evidence)


def test_a_short_window_is_no_cause_and_a_batcher_no_lock() -> None:
    assert codes(with_batch(20.0, 0.0)) == []  # 20 of 120 ms
    assert codes(with_batch(26.0, 0.0)) == ["batch_window"]  # 26 of 126 ms


def test_runs_without_kinds_of_waits_are_read() -> None:
    rows = rows_of(queue=50.0, inference=50.0)
    often = rows_of(queue=50.0, inference=50.0, rate=15.0)

    assert codes(facts_of(rows, waits=waits_of(rows, "threadpool").drop(columns="kind"))) == []
    assert codes(facts_of(often, waits=waits_of(often, "index_lock").drop(columns="kind"))) == ["lock"]


def test_a_queue_that_says_not_for_what_is_told_with_the_way_to_know() -> None:
    cause = first(facts_of(rows_of(queue=300.0, inference=50.0)))

    assert (cause.code, cause.resource) == ("queue", None)
    assert "spans" in cause.remedy
    assert codes(facts_of(rows_of(queue=30.0, inference=50.0))) == []  # random arrivals wait
    assert codes(facts_of(rows_of(queue=np.nan, inference=50.0))) == []
