"""What-if on simulated queues: the answer is what a new simulation says; what breaks the model gets none."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from harness.analysis import cores, whatif
from harness.analysis.calibration import growth, misfit
from harness.analysis.replayable import Calibrated, Recorded, calibrate
from harness.analysis.whatif import Answer, Change
from harness.chunks import schema_of
from harness.diagnosis import Steadiness
from harness.join import CHANNELS, SERVER_TIMING, Halves
from harness.model import Arrivals, Vital
from tests import simulated_queues as queues
from tests.simulated_queues import Simulated

N = 20_000


def a_run(simulated: Simulated, arrivals: Arrivals = Arrivals.POISSON, halves: Halves | None = None) -> Recorded:
    rows = queues.ledger_rows(simulated)
    samples = pa.table({"request_id": np.arange(len(rows)), "status": np.full(len(rows), 200)})
    return Recorded(arrivals, samples, halves or queues.halves(simulated), rows)


def calibrated(simulated: Simulated) -> Calibrated:
    found = calibrate(a_run(simulated))
    assert isinstance(found, Calibrated), found
    return found


def again(simulated: Simulated, servers: int, **factors: float) -> np.ndarray:
    """Latencies of the same requests, simulated anew with stages scaled."""
    stages = simulated.stages_s * np.array([factors.get(stage, 1.0) for stage in queues.WORK])
    order = np.argsort(simulated.arrive_s)
    begin = np.empty(len(order))
    begin[order] = queues.starts(simulated.arrive_s[order], stages.sum(axis=1)[order], servers)
    found: np.ndarray = simulated.upload_s + begin - simulated.arrive_s + stages.sum(axis=1) + simulated.download_s
    return found


def in_order(simulated: Simulated, servers: int, first: Callable[[int, float], object]) -> Simulated:
    """The same requests, taken from the line by the least `first(number, hold)`."""
    order = np.argsort(simulated.arrive_s)
    arrive, hold = simulated.arrive_s[order].tolist(), simulated.hold_s[order].tolist()
    line: list[tuple[object, int]] = []
    begin, free, come = [0.0] * len(arrive), [-1.0] * servers, 0
    for _ in arrive:
        while come < len(arrive) and (arrive[come] <= free[0] or not line):
            heapq.heappush(line, (first(come, hold[come]), come))
            come += 1
        chosen = heapq.heappop(line)[1]
        begin[chosen] = max(arrive[chosen], free[0])
        heapq.heapreplace(free, begin[chosen] + hold[chosen])
    start = np.empty(len(arrive))
    start[order] = begin
    return replace(simulated, start_s=start)


def contended(simulated: Simulated, servers: int, slower: float) -> Simulated:
    """Work that takes so much longer for each other worker that is busy when it begins."""
    free, start, factor = [-1.0] * servers, [], []
    for arrive, hold in zip(simulated.arrive_s.tolist(), simulated.hold_s.tolist(), strict=True):
        begin = max(arrive, free[0])
        factor.append(1.0 + slower * sum(until > begin for until in free))
        start.append(begin)
        heapq.heapreplace(free, begin + hold * factor[-1])
    return replace(simulated, start_s=np.array(start), stages_s=simulated.stages_s * np.array(factor)[:, None])


def sharing(simulated: Simulated) -> Simulated:
    """One processor, shared by all who are there: nobody waits, everybody is slowed down."""
    arrive, work = simulated.arrive_s.tolist(), simulated.hold_s.tolist()
    there: list[tuple[float, int]] = []
    end, now, given, come = [0.0] * len(arrive), 0.0, 0.0, 0
    while come < len(arrive) or there:
        leaves = now + (there[0][0] - given) * len(there) if there else np.inf
        if come < len(arrive) and arrive[come] <= leaves:
            given += (arrive[come] - now) / len(there) if there else 0.0
            now = arrive[come]
            heapq.heappush(there, (given + work[come], come))
            come += 1
        else:
            given, gone = heapq.heappop(there)
            end[gone] = now = leaves
    slowed = (np.array(end) - simulated.arrive_s) / simulated.hold_s
    return replace(simulated, start_s=simulated.arrive_s, stages_s=simulated.stages_s * slowed[:, None])


def followed(simulated: Simulated, mean_s: float) -> Simulated:
    """Behind the first queue there is another one that nobody recorded."""
    out = simulated.start_s + simulated.hold_s
    order = np.argsort(out)
    hold = queues.lognormal(np.random.default_rng(5), len(out), mean_s, 0.5)
    begin = np.empty(len(out))
    begin[order] = queues.starts(out[order], hold[order], 1)
    return replace(simulated, download_s=simulated.download_s + begin - out + hold)


def in_time_order(simulated: Simulated) -> Simulated:
    order = np.argsort(simulated.arrive_s)
    columns = ("scheduled_s", "upload_s", "arrive_s", "start_s", "stages_s", "download_s")
    return replace(simulated, **{name: getattr(simulated, name)[order] for name in columns})


# --- the answers -------------------------------------------------------------------------------------------


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
    assert found.then.p99_s is not None
    assert found.then.p50_s == pytest.approx(np.quantile(truth, 0.5), rel=0.01)
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

    assert found.change == "inference x 0.5 and preprocess x 2 and one more worker (1 -> 2)"
    assert found.then is not None
    assert found.then.p50_s == pytest.approx(np.quantile(truth, 0.5), rel=0.01)


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
    assert answer.change == "one more worker per process (1 -> 2)"
    assert answer.then is not None
    truth = np.concatenate([again(one, 2), again(two, 2)])
    assert answer.then.mean_s == pytest.approx(truth.mean(), rel=0.001)


def test_few_requests_have_a_p50_and_no_p99() -> None:
    found = whatif.answer(calibrated(queues.simulate(300, 0.5, 11, settle=0)), Change((("inference", 0.8),)))

    assert found.then is not None
    assert found.then.p99_s is None
    assert found.then.p50_s > 0
    assert found.findings.refusal == "p99 needs 368 requests, has 300"


# --- the refusals ------------------------------------------------------------------------------------------


def refusal(run: Recorded) -> str:
    found = calibrate(run)
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.parametrize("load", [0.7, 0.85])
def test_another_order_than_that_of_arrival_is_refused(servers: int, load: float) -> None:
    simulated = queues.simulate(N, load, 11, servers=servers, settle=0)
    urgent = (np.random.default_rng(3).random(N) < 0.8).tolist()

    for first in (lambda i, _: -i, lambda i, _: (not urgent[i], i), lambda _, hold: hold):
        assert "the model does not fit" in refusal(a_run(in_order(simulated, servers, first)))


@pytest.mark.parametrize("load", [0.5, 0.7, 0.85])
def test_a_shared_processor_is_refused(load: float) -> None:
    simulated = in_time_order(queues.simulate(N, load, 11, settle=0))

    assert "longer beside many other requests" in refusal(a_run(sharing(simulated)))


def test_workers_that_slow_each_other_down_are_refused() -> None:
    simulated = in_time_order(queues.simulate(N, 0.5, 11, servers=2, settle=0))

    assert "the work in threadpool takes" in refusal(a_run(contended(simulated, 2, 0.4)))


@pytest.mark.parametrize("load", [0.5, 0.7, 0.85])
def test_a_second_queue_that_nobody_recorded_is_refused(load: float) -> None:
    simulated = queues.simulate(N, load, 11, settle=0)

    assert "the way back from threadpool takes" in refusal(a_run(followed(simulated, 0.012)))


def test_a_second_queue_on_record_is_refused() -> None:
    simulated = queues.simulate(2_000, 0.5, 11, settle=0)
    halves = queues.halves(simulated)
    spans = halves.intervals
    lock = np.flatnonzero(spans.stage == spans.stage[2])  # the inference of each request was a wait for a lock
    resource = spans.resource_of.copy()
    resource[lock] = 1
    stage = spans.stage.copy()
    stage[lock] = spans.stage[0]
    changed = replace(spans, stage=stage, resource_of=resource, resources=(*spans.resources, "lock"))

    assert "and a replay has one queue" in refusal(a_run(simulated, halves=replace(halves, intervals=changed)))


def test_a_batching_queue_is_refused() -> None:
    simulated = queues.simulate(200, 0.5, 11, settle=0)
    halves = queues.halves(simulated)
    spans = halves.intervals
    batch = np.where(spans.resource_of >= 0, spans.request // 2, -1).astype(np.int32)
    changed = replace(spans, batch_of=batch, batches=tuple(map(str, range(100))))

    assert "into batches" in refusal(a_run(simulated, halves=replace(halves, intervals=changed)))


def test_a_closed_loop_is_refused_with_one_sentence() -> None:
    simulated = queues.simulate(100, 0.5, 11)

    assert refusal(a_run(simulated, Arrivals.USERS)) == (
        "a closed loop cannot be replayed: its requests come because others have ended"
    )


def test_lengths_without_instants_are_refused() -> None:
    simulated = queues.simulate(100, 0.5, 11)
    halves = queues.halves(simulated)
    channel = np.full(100, CHANNELS.index(SERVER_TIMING), np.int8)

    assert "Server-Timing" in refusal(a_run(simulated, halves=replace(halves, channel=channel)))


def test_missing_server_halves_are_refused() -> None:
    simulated = queues.simulate(100, 0.5, 11)
    halves = queues.halves(simulated)
    start_ns, channel = halves.start_ns.copy(), halves.channel.copy()
    start_ns[:5] = channel[:5] = -1

    assert refusal(a_run(simulated, halves=replace(halves, start_ns=start_ns, channel=channel))).startswith(
        "95% of the answered requests have a server half, a replay needs 99%"
    )


def test_a_service_that_records_no_waits_is_refused() -> None:
    run = a_run(queues.simulate(100, 0.5, 11))

    assert "records no waits" in refusal(replace(run, rows=run.rows.assign(queue_s=np.nan)))


def test_more_load_than_the_servers_carry_is_refused() -> None:
    assert "grows with the length of the test" in refusal(a_run(queues.simulate(2_000, 1.2, 11, settle=0)))


def test_an_unstable_step_is_refused() -> None:
    run = a_run(queues.simulate(100, 0.5, 11))

    class Step:  # as far as it is looked at
        step, state = 2, Steadiness.UNSTABLE

    assert "load step 3 is unstable" in refusal(replace(run, steps=(Step(),)))  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [0, 1, 5])
def test_hardly_any_request_is_refused(n: int) -> None:
    run = a_run(queues.simulate(n + 1, 0.5, 11))

    assert "request" in refusal(replace(run, rows=run.rows.head(n)))


def test_a_handful_of_equal_requests_is_answered() -> None:
    apart = replace(queues.simulate(10, 0.01, 11), stages_s=np.full((10, 3), 0.001))

    found = calibrated(replace(apart, start_s=apart.arrive_s))

    assert all(whatif.answer(found, change).then is not None for change in whatif.usual_changes(found))


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


# --- its parts ---------------------------------------------------------------------------------------------


def test_a_replay_that_is_off_by_more_than_an_eighth_does_not_fit() -> None:
    wait = np.linspace(0.01, 0.1, 1_000)

    assert misfit(wait, wait * 1.1, wait + 0.01) is None
    assert misfit(wait, wait * 1.2, wait + 0.01) is not None


def test_short_waits_are_measured_by_the_latency() -> None:
    wait = np.full(1_000, 0.0001)

    assert misfit(wait, wait * 0.0, np.full(1_000, 0.05)) is None
    assert misfit(wait, wait * 0.0, np.full(1_000, 0.001)) is not None


def test_what_does_not_depend_on_the_others_does_not_grow() -> None:
    random = np.random.default_rng(1)

    grown = [
        growth(queues.lognormal(random, 500, 0.01, 1.0), random.integers(0, 5, 500)) is not None for _ in range(200)
    ]

    assert sum(grown) <= 2


@pytest.mark.parametrize("length", [0.0, 0.01])
def test_equal_lengths_do_not_grow(length: float) -> None:
    assert growth(np.full(100, length), np.arange(100)) is None
    assert growth(np.full(100, length), np.zeros(100, np.int64)) is None


def test_the_gains_are_the_longest_stages_and_one_more_worker_best_first() -> None:
    found = whatif.gains(a_run(queues.simulate(N, 0.85, 11, settle=0)))

    assert [each.change for each in found] == [
        "one more worker (1 -> 2)", "inference x 0.8", "preprocess x 0.8",
    ]  # fmt: skip
    assert all(each.then is not None and each.refusal is None for each in found)


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


def test_workers_that_sleep_need_no_core() -> None:
    spans = queues.intervals(queues.simulate(10, 0.5, 11))
    sleeps = replace(spans, cpu_ns=(spans.end_ns - spans.start_ns) // 10)

    assert cores.warning(sleeps, vitals(harness__cpu__limit=2.0), 3) is None
    told = cores.warning(sleeps, vitals(harness__cpu__limit=2.0, process__cpu__utilization=1.9), 3)
    assert told is not None
    assert "used 1.9 of them" in told


def test_an_answer_with_p99_is_a_finding_without_refusal() -> None:
    found: Answer = whatif.answer(calibrated(queues.simulate(1_000, 0.5, 11, settle=0)), Change((("inference", 0.8),)))

    assert found.findings.refusal is None
    assert found.then is not None
    assert found.findings.then == (found.then.p50_s, found.then.p99_s)
