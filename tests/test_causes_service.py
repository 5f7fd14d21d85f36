"""Stages that wait, stages that dominate, and too little processor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from facts_builders import a_reading, a_step, calls_of, facts_of, rows_of, vitals_of, worked

from harness.analysis.causes import find
from harness.analysis.facts import Facts
from harness.diagnosis import Cause, WorkFindings
from harness.findings import Health, HealthState


def codes(facts: Facts) -> list[str]:
    return [cause.code for cause in find(facts)]


def first(facts: Facts) -> Cause:
    return find(facts)[0]


def slow(stage: str, ms: float, busy: float, **changes: Any) -> Facts:
    """A service whose models take 60 ms, all of it work, beside that stage."""
    stages: dict[str, Any] = {"inference": 60.0, "preprocess": 6.0, "postprocess": 2.0} | {stage: ms}
    work = tuple(worked(name, each, busy if name == stage else 0.95) for name, each in stages.items())
    known: dict[str, Any] = {"work": work, "vitals": vitals_of(cpu=0.4, limit=2.0)}
    return facts_of(rows_of(**stages), **{**known, **changes})


@pytest.mark.parametrize("stage", ["preprocess", "inference", "postprocess"])
def test_a_stage_that_mostly_waits_is_named_with_its_figures(stage: str) -> None:
    (cause,) = find(slow(stage, 100.0, 0.1))

    assert (cause.code, cause.stage) == ("stage_waits", stage)
    assert cause.cost_s == pytest.approx(0.0895, abs=0.001)  # 100 ms less 10 ms of work at the others' 95 %
    assert "100 ms per request, of which its thread worked 10.0 ms (10%), n = 200 requests" in cause.evidence[0]


def test_a_stage_that_works_or_waits_little_is_no_cause() -> None:
    assert codes(slow("inference", 100.0, 0.95)) == []
    assert codes(slow("inference", 100.0, 0.55)) == []
    assert codes(slow("preprocess", 15.0, 0.1)) == []  # 14 of 77 ms


def test_a_machine_that_stood_still_once_is_no_stage_that_waits() -> None:
    once = rows_of(inference=np.where(np.arange(200) // 30 == 3, 600.0, 15.0))
    always = rows_of(inference=np.where(np.arange(200) % 6 == 3, 600.0, 15.0))
    work = (worked("inference", 102.75, 0.1),)

    assert codes(facts_of(once, work=work)) == []
    assert codes(facts_of(always, work=work)) == ["stage_waits"]


def test_one_slow_model_of_a_chain_is_named() -> None:
    rows = rows_of(inference=120.0)
    work = (worked("inference", 120.0, 0.3),)
    named = first(facts_of(rows, work=work, calls=calls_of(rows, det=100.0, rec=20.0)))
    unclear = first(facts_of(rows, work=work, calls=calls_of(rows, det=65.0, rec=55.0)))

    assert (named.model, unclear.model) == ("det", None)
    assert "inference (det)" in named.sentence


def test_without_processor_times_nothing_is_said_about_waiting() -> None:
    assert codes(slow("inference", 200.0, 0.1, work=())) == []
    assert codes(slow("preprocess", 200.0, 0.1, work=())) == ["stage_dominates"]


def test_all_stages_stretched_alike_do_not_wait() -> None:
    rows = rows_of(inference=100.0, preprocess=30.0, postprocess=20.0)
    work = (worked("preprocess", 30.0, 0.4), worked("inference", 100.0, 0.4), worked("postprocess", 20.0, 0.4))

    assert codes(facts_of(rows, work=work)) == []


def test_a_shared_processor_stretches_work_and_is_no_waiting() -> None:
    assert codes(slow("inference", 100.0, 0.35, vitals=vitals_of(cpu=0.5, limit=1.0))) == ["stage_waits"]
    assert codes(slow("inference", 100.0, 0.45, vitals=vitals_of(cpu=0.5, limit=1.0))) == []  # 0.8 * (1 - 0.5) is less


def test_on_a_machine_without_a_free_core_nobody_can_tell_what_a_stage_waits_for() -> None:
    def on(used: float, busy: float = 0.2) -> Facts:
        health = Health(HealthState.HEALTHY, (a_reading("cpu_machine", used, None, None),), ())
        return slow("inference", 100.0, busy, health=health, vitals=vitals_of(cpu=0.2, limit=2.0))

    assert (codes(on(0.9)), codes(on(0.99))) == (["stage_waits"], ["machine_full"])
    assert codes(on(0.99, busy=0.9)) == []


def crowded(rows: pd.DataFrame, *work: WorkFindings) -> Facts:
    health = Health(HealthState.HEALTHY, (a_reading("cpu_machine", 1.0, None, None),), ())
    return facts_of(rows, work=work, vitals=vitals_of(cpu=0.02, limit=2.0), health=health)


def test_a_crowded_machine_is_not_blamed_for_a_stage_that_always_waits_and_hardly_works() -> None:
    rows = rows_of(preprocess=6.0, inference=50 + np.random.default_rng(1).normal(0, 0.25, 200))
    others_run = crowded(rows, worked("preprocess", 6.0, 0.57), worked("inference", 50.0, 0.001))
    alone = crowded(rows_of(inference=50.0), worked("inference", 50.0, 0.001))

    assert (codes(others_run), codes(alone)) == (["stage_waits"], ["stage_waits"])
    assert "all through the run" in first(alone).evidence[-1]


def test_what_a_crowded_machine_stretches_beside_a_stage_that_waits_is_still_its_own() -> None:
    facts = crowded(
        rows_of(preprocess=60.0, inference=50.0), worked("preprocess", 60.0, 0.2), worked("inference", 50.0, 0.001)
    )
    full = next(cause for cause in find(facts) if cause.code == "machine_full")

    assert {cause.code for cause in find(facts)} == {"stage_waits", "machine_full"}
    assert full.cost_s == pytest.approx(0.048)  # of preprocess alone


def test_on_a_crowded_machine_a_stage_that_takes_now_more_now_less_is_left_to_it() -> None:
    waves = 50 + 45 * np.sin(np.arange(200) / 20)

    assert codes(crowded(rows_of(inference=waves), worked("inference", 50.0, 0.001))) == ["machine_full"]


def test_steady_waiting_in_inference_may_be_a_model_that_runs_elsewhere() -> None:
    steady = first(slow("inference", 100.0, 0.01))
    uneven = first(slow("inference", np.linspace(20, 180, 200), 0.01, work=(worked("inference", 100.0, 0.01),)))  # type: ignore[arg-type]

    assert "if the model of inference runs elsewhere" in steady.remedy
    assert "runs elsewhere" not in uneven.remedy + first(slow("preprocess", 100.0, 0.1)).remedy


# --- stages that dominate ----------------------------------------------------------------------------------


def test_more_time_around_the_models_than_in_them_is_a_cause() -> None:
    cause = first(slow("preprocess", 80.0, 1.0))

    assert (cause.code, cause.stage) == ("stage_dominates", "preprocess")
    assert cause.cost_s == pytest.approx(0.08)
    assert codes(slow("preprocess", 60.0, 1.0)) == []  # 60 of 122 ms


def test_inference_as_the_largest_part_is_normal() -> None:
    assert codes(slow("inference", 2000.0, 1.0)) == []


def test_a_service_without_models_may_work_where_it_likes() -> None:
    assert codes(facts_of(rows_of(postprocess=100.0, other=2.0))) == []


def test_time_that_nobody_claims_asks_for_marks() -> None:
    cause = first(facts_of(rows_of(other=100.0, inference=50.0)))

    assert (cause.code, cause.stage) == ("stage_dominates", "other")
    assert "stage()" in cause.remedy


def test_inference_that_was_never_marked_is_not_said_to_take_no_time() -> None:
    cause = first(facts_of(rows_of(other=100.0, preprocess=2.0)))

    assert (cause.code, cause.remedy[:21]) == ("stage_dominates", "mark the calls of the")
    assert "inference: " not in " ".join(cause.evidence)
    assert codes(facts_of(rows_of(other=60.0, preprocess=40.0))) == []


def test_a_stage_that_is_the_job_is_told_as_a_fact_with_a_careful_remedy() -> None:
    assert "if it is not what the service is for" in first(slow("preprocess", 80.0, 1.0)).remedy


# --- processors --------------------------------------------------------------------------------------------


def computing(busy: float, **vitals: Any) -> Facts:
    """10 requests a second that take 100 ms in the models, and little else."""
    rows = rows_of(400, inference=100.0, preprocess=10.0)
    work = (worked("preprocess", 10.0, busy), worked("inference", 100.0, busy))
    return facts_of(rows, work=work, vitals=vitals_of(**vitals), steps=(a_step(in_flight=3.0),))


def test_threads_of_a_library_that_take_each_others_time_are_oversubscribed() -> None:
    # 0.9 cores at 10 requests a second: 90 ms each, of which 22 in threads that carry requests.
    cause = first(computing(0.2, cpu=0.9, limit=1.0, threads=60))

    assert (cause.code, cause.stage, cause.resource) == ("oversubscribed", "inference", "cpu")
    assert cause.cost_s == pytest.approx(0.080)
    assert "60 threads in the service" in " ".join(cause.evidence)
    assert "intra_op_num_threads=1" in cause.remedy


@pytest.mark.parametrize("limit", [2.0, 8.0])
def test_threads_of_a_library_that_find_free_cores_are_no_fault_and_no_waiting(limit: float) -> None:
    assert codes(computing(0.2, cpu=0.9, limit=limit, threads=60)) == []


@pytest.mark.parametrize("machine", [0.5, 1.0])
def test_a_stage_without_processor_time_may_have_used_all_of_it_so_no_library_did(machine: float) -> None:
    # 1.2 cores at 10 requests a second: 120 ms each; preprocess may have used 90 of them, and what is left is little.
    health = Health(HealthState.HEALTHY, (a_reading("cpu_machine", machine, None, None),), ())
    rows = rows_of(400, preprocess=90.0, inference=100.0)
    known = {"work": (worked("inference", 100.0, 0.01),), "vitals": vitals_of(cpu=1.2, limit=2.0), "health": health}

    assert "oversubscribed" not in codes(facts_of(rows, **known))
    assert "oversubscribed" not in codes(facts_of(rows, **known | {"vitals": vitals_of(cpu=1.2, limit=1.2)}))


def test_on_a_full_machine_threads_of_a_library_are_told_by_how_much_they_work() -> None:
    health = Health(HealthState.HEALTHY, (a_reading("cpu_machine", 1.0, None, None),), ())
    # 0.4 cores at 10 requests a second: 40 ms each, of which 5 in threads that carry requests; 105 ms they stand still.
    facts = replace(computing(0.05, cpu=0.4, limit=1.0), health=health)

    assert codes(facts) == ["oversubscribed"]
    assert codes(replace(facts, health=Health(HealthState.HEALTHY, (), ()))) == ["stage_waits"]


def test_a_pool_larger_than_the_processor_is_oversubscribed_when_it_is_full() -> None:
    assert codes(computing(0.4, cpu=1.95, limit=2.0)) == ["oversubscribed"]
    assert codes(computing(0.9, cpu=1.95, limit=2.0)) == []


def test_a_stage_that_sleeps_leaves_the_processor_alone() -> None:
    assert codes(computing(0.1, cpu=0.12, limit=2.0))[0] == "stage_waits"


def test_a_full_processor_whose_threads_run_needs_more_cores() -> None:
    rows = rows_of(queue=50.0, inference=100.0)
    full = facts_of(rows, work=(worked("inference", 100.0, 0.8),), vitals=vitals_of(cpu=1.9, limit=2.0))
    half = facts_of(rows, work=(worked("inference", 100.0, 0.8),), vitals=vitals_of(cpu=1.0, limit=2.0))

    assert (codes(full), codes(half)) == (["cpu_saturated"], [])
    assert "1.90 of 2 cores" in first(full).sentence


def test_one_core_of_many_while_several_requests_are_inside_is_the_interpreter() -> None:
    work = (worked("preprocess", 80.0, 0.3), worked("inference", 40.0, 0.3))
    rows = rows_of(preprocess=80.0, inference=40.0, rate=25.0)
    facts = facts_of(rows, work=work, vitals=vitals_of(cpu=1.0, limit=4.0), steps=(a_step(in_flight=3.0),))

    assert "gil" in codes(facts)


def test_a_half_used_processor_is_no_interpreter_lock() -> None:
    cpu = [0.4, 1.6, 0.7, 1.3, 1.0, 0.5, 1.5, 1.9, 0.2, 1.1, 0.6, 1.4]

    assert "gil" not in codes(computing(0.55, cpu=cpu, limit=2.0))


def of_two(used: float, limit: float) -> Facts:
    """Two processes with so much each, and a queue before their work."""
    each = [vitals_of(process=f"{name}/1", cpu=used, limit=limit) for name in "ab"]
    known = {"work": (worked("inference", 100.0, 0.95),), "vitals": pd.concat(each, ignore_index=True)}
    return facts_of(rows_of(queue=50.0, inference=100.0), **known)


def test_two_processes_that_may_be_on_machines_of_their_own_are_not_at_one_limit() -> None:
    assert codes(of_two(0.45, 1.0)) == []
    assert codes(of_two(0.49, 1.0)) == ["cpu_saturated"]
    assert codes(of_two(0.95, 2.0)) == ["cpu_saturated"]
    assert "by 2 processes, if they share them" in " ".join(first(of_two(0.95, 2.0)).evidence)


def test_too_few_readings_say_nothing_about_the_processor() -> None:
    rows = rows_of(inference=100.0, queue=50.0)

    assert codes(facts_of(rows, vitals=vitals_of(seconds=3, cpu=1.9, limit=2.0))) == []
