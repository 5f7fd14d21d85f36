"""Who held a resource, and until when: inferred from spans that only say when a request waits."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analysis.holding import holders
from harness.analysis.holding.blame import capacities
from harness.join import Halves
from tests.blame_builders import MS, T0, Stretch, halves, halves_of, infer, prepare, wait
from tests.simulated_queues import intervals, simulate

Stretches = list[tuple[float, float]]


def held(found: Halves, resource: str = "threadpool", names: list[int] | None = None) -> Stretches:
    """Begin and end of each hold of a resource, ms."""
    name_of = np.array(names, np.int64) if names else np.zeros(len(found.process_of), np.int64)
    holds = holders.find(found, name_of)
    if resource not in found.intervals.resources:
        return []
    of = holds.resource == found.intervals.resources.index(resource)
    begin, end = ((at[of] - T0) / MS for at in (holds.begin_ns, holds.end_ns))
    return sorted(zip(begin.tolist(), end.tolist(), strict=True))


# --- threads -----------------------------------------------------------------------------------------------


def test_a_thread_is_held_until_the_wait_for_the_loop_begins() -> None:
    request = [wait("threadpool", 0, 2), infer(3, 8), wait("event_loop", 9, 10), prepare(10, 20)]

    assert held(halves([request])) == [(2, 9)]


def test_without_a_wait_for_the_loop_a_thread_is_held_until_the_last_work() -> None:
    assert held(halves([[wait("threadpool", 0, 2), prepare(3, 5), infer(5, 8)]])) == [(2, 8)]


def test_without_a_wait_for_the_loop_a_thread_is_given_back_before_the_next_trip() -> None:
    request = [wait("threadpool", 0, 2), infer(3, 8), wait("threadpool", 9, 12), infer(12, 15)]

    assert held(halves([request])) == [(2, 8), (12, 15)]


def test_waiting_for_the_body_or_for_the_client_is_no_work_in_a_thread() -> None:
    request = [wait("threadpool", 0, 2), infer(3, 8), Stretch("download", 9, 30)]

    assert held(halves([request])) == [(2, 8)]


def test_two_trips_side_by_side_end_in_the_order_of_their_returns() -> None:
    request = [
        wait("threadpool", 0, 1), wait("threadpool", 0, 2), infer(1, 8), infer(2, 6),
        wait("event_loop", 6, 7), wait("event_loop", 8, 9),
    ]  # fmt: skip

    assert held(halves([request])) == [(1, 6), (2, 8)]


def test_a_job_without_spans_of_its_own_is_held_through_the_work_around_it() -> None:
    request = [prepare(0, 10), Stretch("queue", 1, 2, resource="threadpool", inside=0)]

    assert held(halves([request])) == [(2, 10)]


def test_a_return_from_an_earlier_trip_does_not_end_a_later_one() -> None:
    request = [infer(0, 2), wait("event_loop", 2, 3), wait("threadpool", 4, 5), infer(5, 9)]

    assert held(halves([request])) == [(5, 9)]


def test_a_wait_that_was_cancelled_holds_nothing() -> None:
    assert held(halves([[infer(0, 1), wait("threadpool", 1, 5)]])) == []


def test_who_got_a_thread_at_once_holds_it_from_the_work_that_comes_first_in_other_trips() -> None:
    waited = [prepare(0, 1), wait("threadpool", 1, 2), infer(2, 8), wait("event_loop", 8, 9)]
    at_once = [prepare(20, 21), infer(21, 28), wait("event_loop", 29, 30)]

    assert held(halves([waited, at_once]), names=[0, 0]) == [(2, 8), (21, 29)]


def test_of_requests_that_never_waited_for_a_thread_no_trip_is_made_up() -> None:
    waited = [wait("threadpool", 1, 2), infer(2, 8)]
    on_the_loop = [prepare(20, 21), infer(21, 28)]

    assert held(halves([waited, on_the_loop]), names=[0, 1]) == [(2, 8)]


# --- locks -------------------------------------------------------------------------------------------------


def a_lock_queue(n: int, tail_ms: float) -> list[list[Stretch]]:
    """Requests that all ask at once: 2 ms of preparing and 10 ms of inference under a lock, then postprocessing."""
    found = []
    for i in range(n):
        got = i * 12.0
        work = [prepare(got, got + 2), infer(got + 2, got + 12)]
        found.append([wait("lock", 0, got), *work, Stretch("postprocess", got + 12, got + 12 + tail_ms)])
    return found


def test_a_lock_is_held_until_the_work_that_is_followed_by_the_next_holder() -> None:
    found = held(halves(a_lock_queue(12, tail_ms=7.0)), "lock")

    assert found == [(12.0 * i, 12.0 * (i + 1)) for i in range(12)]


def test_routes_may_give_a_lock_back_after_different_work() -> None:
    requests, at = [], 0.0
    for i in range(24):
        work = (
            [prepare(at, at + 20), infer(at + 20, at + 50)] if i % 2 else [prepare(at, at + 5), infer(at + 5, at + 9)]
        )
        requests.append([wait("lock", 0, at), *work])
        at += 50 if i % 2 else 5  # the small route gives it back before its inference

    found = held(halves(requests), "lock", names=[i % 2 for i in range(24)])

    assert [end - begin for begin, end in found] == [5.0, 50.0] * 12


def test_a_lock_taken_inside_a_stage_may_be_given_back_where_that_ends() -> None:
    requests = []
    for i in range(10):
        asks = Stretch("queue", 0, 10.0 * i, resource="lock", inside=0)
        requests.append([Stretch("inference", -1, 10.0 * (i + 1)), asks])

    found = held(halves(requests), "lock")

    assert found == [(10.0 * i, 10.0 * (i + 1)) for i in range(10)]


def test_without_hand_overs_a_lock_is_held_through_the_first_work() -> None:
    request = [wait("lock", 0, 2), infer(3, 8), prepare(4, 5, inside=1), prepare(8, 30)]

    assert held(halves([request]), "lock") == [(2, 8)]


def test_a_lock_without_any_work_after_it_is_not_known_to_be_held() -> None:
    assert held(halves([[infer(0, 1), wait("lock", 1, 5)]]), "lock") == []


def test_hand_overs_between_processes_teach_nothing() -> None:
    requests = a_lock_queue(12, tail_ms=7.0)

    found = held(halves(requests, processes=list(range(12))), "lock")

    assert found == [(12.0 * i, 12.0 * i + 2) for i in range(12)]  # the first work after the wait


# --- batches -----------------------------------------------------------------------------------------------


def test_a_batch_is_held_once_and_until_its_last_member_has_it() -> None:
    patient = [wait("batcher", 0, 5, "window", "b1"), infer(5, 20, "det", batch="b1")]
    gave_up = [wait("batcher", 1, 5, "window", "b1"), infer(5, 9, "det", batch="b1")]

    assert held(halves([patient, gave_up]), "batcher") == [(5, 20)]


def test_a_batch_nobody_waited_for_belongs_to_the_queue_of_its_model() -> None:
    waited = [wait("batcher", 0, 5, "window", "b1"), infer(5, 20, "det", batch="b1")]
    at_once = [infer(30, 40, "det", batch="b2")]
    elsewhere = [infer(30, 40, "rec", batch="b3")]

    assert held(halves([waited, at_once, elsewhere]), "batcher") == [(5, 20), (30, 40)]


# --- capacity ----------------------------------------------------------------------------------------------


def test_a_capacity_is_what_is_taken_while_somebody_waits() -> None:
    levels, contended, total = np.array([1, 2, 3]), np.array([0.1, 5.0, 0.0]), np.array([9.0, 6.0, 0.1])

    assert holders.capacity(levels, contended, total) == 2


@pytest.mark.parametrize(
    ("contended", "total"),
    [
        ([0.0, 0.0, 0.0], [9.0, 6.0, 0.0]),  # nobody waited
        ([4.0, 5.0, 4.0], [9.0, 6.0, 4.0]),  # they waited whatever was taken
        ([0.1, 5.0, 0.0], [9.0, 6.0, 2.0]),  # more could be taken
    ],
)
def test_without_a_limit_in_sight_there_is_no_capacity(contended: list[float], total: list[float]) -> None:
    assert holders.capacity(np.array([1, 2, 3]), np.array(contended), np.array(total)) is None


def test_a_capacity_is_that_of_one_process() -> None:
    queue = simulate(2_000, 0.8, seed=8, servers=2)
    one = intervals(queue)
    two = halves_of(one, 2_000, processes=[0] * 1_000 + [1] * 1_000)

    assert capacities(two) == {"threadpool": 2}


def test_a_lock_is_found_to_have_one_place() -> None:
    assert capacities(halves(a_lock_queue(15, tail_ms=7.0))) == {"lock": 1}


def test_without_waits_worth_the_name_a_pool_has_no_capacity() -> None:
    request = [wait("threadpool", 0, 0.05), infer(0.05, 8)]

    assert capacities(halves([request] * 40)) == {}
