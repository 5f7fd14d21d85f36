"""What-if refuses a run that is no queue in order of arrival, and says why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.replaying import whatif
from harness.analysis.replaying.calibration import growth, misfit
from harness.analysis.replaying.replayable import Recorded, calibrate
from harness.diagnosis import Steadiness
from harness.join import CHANNELS, SERVER_TIMING
from harness.model import Arrivals
from tests import simulated_queues as queues
from tests.odd_queues import a_run, calibrated, contended, followed, in_order, in_time_order, sharing

N = 20_000


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
        assert "the replay does not fit this run" in refusal(a_run(in_order(simulated, servers, first)))


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


@pytest.mark.parametrize("n", [10, 60, 99])
def test_too_few_to_tell_what_was_not_recorded_are_refused(n: int) -> None:
    assert refusal(a_run(queues.simulate(n, 0.3, 11))) == (
        f"needs about 100 requests to tell whether they share something that was not recorded, has {n}"
    )


def test_equal_requests_that_never_meet_are_answered() -> None:
    apart = replace(queues.simulate(100, 0.01, 11), stages_s=np.full((100, 3), 0.001))

    found = calibrated(replace(apart, start_s=apart.arrive_s))

    assert all(whatif.answer(found, change).then is not None for change in whatif.usual_changes(found))


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
