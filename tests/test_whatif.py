"""What-if on simulated queues: the answer is what a new simulation of the same queue says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from harness.analysis.replaying import cores, whatif
from harness.analysis.replaying.replayable import Calibrated, calibrate
from harness.analysis.replaying.whatif import Change
from harness.analysis.statistics.quantiles import latency_findings
from harness.chunks import schema_of
from harness.model import Arrivals, Vital
from tests import simulated_queues as queues
from tests.odd_queues import a_run, again, calibrated

N = 20_000


@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.parametrize("load", [0.7, 0.85])
@pytest.mark.parametrize(("factor", "more"), [(0.8, 0), (0.5, 0), (1.0, 1)])
def test_the_answer_is_that_of_the_same_requests_simulated_anew(
    servers: int, load: float, factor: float, more: int
) -> None:
    simulated = queues.simulate(N, load, 11, servers=servers, settle=0)
    change = Change(servers=servers + 1) if more else Change((("inference", factor),))
    truth = again(simulated, servers + more, inference=factor)

    found = whatif.answer(calibrated(simulated), change)

    assert found.then is not None
    assert found.then.p50_s == pytest.approx(np.quantile(truth, 0.5), rel=0.01)
    assert (found.then.p99_s is not None) == (load < 0.8)  # at 0.85 so many are worth too few independent ones
    if found.then.p99_s is not None:
        assert found.then.p99_s == pytest.approx(np.quantile(truth, 0.99), rel=0.01)
    assert found.then.mean_s == pytest.approx(truth.mean(), rel=0.001)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.7), (2, 0.85)])
def test_the_answer_is_that_of_a_long_simulation_of_other_requests(servers: int, load: float) -> None:
    means = (0.002, 0.008, 0.001)  # inference x 0.8, at the same rate: the load falls by 2/13
    other = queues.simulate(10 * N, load * 11 / 13, 77, servers=servers, means_s=means)

    found = whatif.answer(calibrated(queues.simulate(N, load, 11, servers=servers)), Change((("inference", 0.8),)))

    assert found.then is not None
    assert found.then.p99_s is not None
    assert found.then.p50_s == pytest.approx(np.quantile(other.latency_s, 0.5), rel=0.10)
    assert found.then.p99_s == pytest.approx(np.quantile(other.latency_s, 0.99), rel=0.10)


def test_two_changes_at_once_are_replayed_together() -> None:
    simulated = queues.simulate(N, 0.85, 11, settle=0)
    truth = again(simulated, 2, inference=0.5, preprocess=2.0)

    found = whatif.answer(calibrated(simulated), Change((("inference", 0.5), ("preprocess", 2.0)), 2))

    assert found.change == "inference x 0.5 and preprocess x 2 and one more worker than the 1 that fits this run"
    assert found.then is not None
    assert found.then.p50_s == pytest.approx(np.quantile(truth, 0.5), rel=0.01)


def test_who_holds_a_lock_is_no_worker() -> None:
    simulated = queues.simulate(2_000, 0.7, 11, settle=0)
    halves = queues.halves(simulated)
    named = replace(halves, intervals=replace(halves.intervals, resources=("model_lock",)))

    found = calibrate(a_run(simulated, halves=named))

    assert isinstance(found, Calibrated)
    changes = [whatif.answer(found, Change(servers=servers)).change for servers in (2, 4)]
    assert changes == [
        "one more request inside model_lock than the 1 that fits this run",
        "requests inside model_lock 1 -> 4",
    ]


def test_the_most_it_carries_is_servers_by_mean_hold() -> None:
    simulated = queues.simulate(N, 0.5, 11, servers=2, settle=0)
    hold = simulated.stages_s @ np.array([1.0, 0.5, 1.0])

    found = whatif.answer(calibrated(simulated), Change((("inference", 0.5),)))

    assert found.most_per_s == pytest.approx(2 / hold.mean(), rel=1e-6)


def test_the_replay_takes_off_more_than_the_work_itself() -> None:
    simulated = queues.simulate(N, 0.85, 11, settle=0)

    found = whatif.answer(calibrated(simulated), Change((("inference", 0.8),)))

    assert found.now is not None
    assert found.then is not None
    assert found.now.mean_s - found.then.mean_s > 3 * 0.2 * simulated.stages_s[:, 1].mean()


def test_a_stage_outside_of_the_queue_is_only_shortened() -> None:
    simulated = queues.simulate(N, 0.5, 11, settle=0)

    found = whatif.answer(calibrated(simulated), Change((("download", 0.5),)))

    assert found.now is not None
    assert found.then is not None
    assert found.now.mean_s - found.then.mean_s == pytest.approx(0.5 * simulated.download_s.mean(), rel=1e-6)


def test_where_nobody_waits_only_the_work_is_saved() -> None:
    simulated = queues.simulate(2_000, 0.3, 11, servers=50)

    found = whatif.answer(calibrated(simulated), Change((("inference", 0.5),)))

    assert found.resource is None
    assert found.servers is None
    assert found.most_per_s is None
    assert found.now is not None
    assert found.then is not None
    saved = 0.5 * simulated.stages_s[:, 1].mean()
    assert found.now.mean_s - found.then.mean_s == pytest.approx(saved, rel=1e-6)


def test_requests_that_found_a_worker_free_need_no_wait_on_record() -> None:
    simulated = queues.simulate(N, 0.7, 11, servers=2, settle=0)
    halves = queues.halves(simulated)
    spans = halves.intervals
    kept = (spans.stage != 1) | (spans.end_ns > spans.start_ns)
    columns = ("request", "stage", "start_ns", "end_ns", "parent", "model_of", "resource_of", "batch_of", "batch_size",
               "wait_of", "cpu_ns")  # fmt: skip
    fewer = replace(spans, **{name: getattr(spans, name)[kept] for name in columns})

    found = calibrate(a_run(simulated, halves=replace(halves, intervals=fewer)))

    assert len(fewer) < len(spans) - 5_000
    assert isinstance(found, Calibrated)
    assert found.queue is not None
    assert found.queue.servers == 2
    assert whatif.answer(found, Change()).now == whatif.answer(calibrated(simulated), Change()).now


def test_processes_have_queues_of_their_own() -> None:
    one, two = (queues.simulate(5_000, 0.8, seed, settle=0) for seed in (1, 2))
    both = queues.joined([one, replace(two, scheduled_s=two.scheduled_s + 1e-7)])
    process = np.repeat(np.array([0, 1], np.int32), 5_000)

    found = calibrate(a_run(both, halves=replace(queues.halves(both), process_of=process, processes=("a", "b"))))

    assert isinstance(found, Calibrated)
    assert found.queue is not None
    answer = whatif.answer(found, Change(servers=2))
    assert (found.queue.servers, answer.pools) == (1, 2)
    assert answer.change == "one more worker per process than the 1 that fits this run"
    assert answer.then is not None
    truth = np.concatenate([again(one, 2), again(two, 2)])
    assert answer.then.mean_s == pytest.approx(truth.mean(), rel=0.001)


def test_a_change_that_the_servers_cannot_carry_has_no_answer() -> None:
    found = whatif.answer(calibrated(queues.simulate(N, 0.7, 11, settle=0)), Change((("inference", 2.0),)))

    assert found.then is None
    assert found.now is not None
    assert found.refusal is not None
    assert found.refusal.startswith("threadpool would carry ")


def test_few_requests_have_a_p50_and_no_p99() -> None:
    found = whatif.answer(calibrated(queues.simulate(300, 0.5, 11, settle=0)), Change((("inference", 0.8),)))

    assert found.then is not None
    assert found.then.p99_s is None
    assert found.then.p50_s > 0
    assert found.refusal is None


def test_failed_requests_hold_a_server_and_are_not_counted() -> None:
    simulated = queues.simulate(N, 0.8, 11, settle=0)
    run = a_run(simulated)
    ok = np.arange(N) % 10 > 0

    found = calibrate(replace(run, rows=run.rows.assign(ok=ok)))

    assert isinstance(found, Calibrated)
    answer = whatif.answer(found, Change((("inference", 0.8),)))
    assert answer.n == int(ok.sum())
    assert answer.then is not None
    assert answer.then.mean_s == pytest.approx(again(simulated, 1, inference=0.8)[ok].mean(), rel=0.001)


def test_the_gains_are_the_longest_stages_and_one_more_worker_best_first() -> None:
    found = whatif.gains(a_run(queues.simulate(N, 0.85, 11, settle=0)))

    assert [each.change for each in found] == [
        "one more worker than the 1 that fits this run, if a core is free", "inference x 0.8", "preprocess x 0.8",
    ]  # fmt: skip
    assert all(each.then is not None and each.refusal is None for each in found)


@pytest.mark.parametrize(("used", "promised"), [(1.9, None), (0.9, "one more worker than the 1 that fits this run")])
def test_no_worker_is_promised_that_the_processor_cannot_carry(used: float, promised: str | None) -> None:
    said = vitals(harness__cpu__limit=2.0, process__cpu__utilization=used)

    found = whatif.gains(a_run(queues.simulate(2_000, 0.7, 11, settle=0)), vitals=said)

    assert [each.change for each in found if "worker" in each.change] == ([promised] if promised else [])


def test_a_gain_of_hardly_anything_is_no_fix() -> None:
    found = whatif.gains(a_run(queues.simulate(2_000, 0.3, 11, servers=50)))

    assert [each.change for each in found] == ["inference x 0.8"]  # preprocess x 0.8 takes 3 % off


@pytest.mark.parametrize("load", [0.1, 0.8])
def test_a_p99_is_told_where_the_latency_table_tells_one(load: float) -> None:
    simulated = queues.simulate(1_500, load, 11, settle=0)

    found = whatif.answer(calibrated(simulated), Change((("inference", 0.8),)))

    assert found.then is not None
    assert (found.then.p99_s is None) == (latency_findings(simulated.latency_s).p99.value is None) == (load > 0.2)


def test_the_gains_of_a_run_that_cannot_be_replayed_are_a_refusal() -> None:
    (found,) = whatif.gains(a_run(queues.simulate(100, 0.5, 11), Arrivals.USERS))

    assert found.then is None
    assert found.refusal is not None


def vitals(**values: float) -> pa.Table:
    rows = [
        {"at_ns": 0, "service": "reader", "pid": 7, "name": name.replace("__", "."), "value": value, "unit": "1",
         "attributes": None}
        for name, value in values.items()
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schema_of(Vital))


def test_more_computing_workers_than_cores_are_warned_of() -> None:
    spans = queues.intervals(queues.simulate(10, 0.5, 11))
    computes = replace(spans, cpu_ns=(spans.end_ns - spans.start_ns) * 9 // 10)

    told = cores.warning(computes, vitals(harness__cpu__limit=2.0), 3)

    assert told is not None
    assert told.startswith("3 workers on 2 cores: their work keeps a core busy 90%")
    assert cores.warning(computes, vitals(harness__cpu__limit=2.0), 2) is None
    assert cores.warning(computes, vitals(), 3) is None


def test_workers_within_the_cores_are_warned_of_where_the_processor_is_used_up() -> None:
    spans = queues.intervals(queues.simulate(10, 0.5, 11))

    told = cores.warning(spans, vitals(harness__cpu__limit=2.0, process__cpu__utilization=1.9), 2)

    assert told == "2 workers on 2 cores: the service used 1.9 of them already, which the replay does not know"


def test_workers_that_sleep_need_no_core() -> None:
    spans = queues.intervals(queues.simulate(10, 0.5, 11))
    sleeps = replace(spans, cpu_ns=(spans.end_ns - spans.start_ns) // 10)

    assert cores.warning(sleeps, vitals(harness__cpu__limit=2.0), 3) is None
    told = cores.warning(sleeps, vitals(harness__cpu__limit=2.0, process__cpu__utilization=1.9), 3)
    assert told is not None
    assert "used 1.9 of them" in told
