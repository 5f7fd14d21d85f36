"""Queues replayed: numbers worked by hand, and against the simulation that the tests are made with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.replaying.replay import Visits, holding, shortened, starts, waits
from tests import simulated_queues as queues


def ns(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def visits(request: list[int], arrive: list[int], hold: list[int], gap: list[int], pool: int = 0) -> Visits:
    return Visits(ns(*request), np.full(len(request), pool), ns(*arrive), ns(*gap), ns(*hold))


def test_one_server_takes_one_after_the_other() -> None:
    # 0-10, then 4 waits until 10 (-15), 11 until 15 (-17), and 30 finds it free.
    assert starts(ns(0, 4, 11, 30), ns(10, 5, 2, 1), 1).tolist() == [0, 10, 15, 30]


def test_two_servers_take_two_at_a_time() -> None:
    # 0-10 and 1-4 on one each; 2 gets the second at 4 (-9); 3 waits for it until 9.
    assert starts(ns(0, 1, 2, 3), ns(10, 3, 5, 1), 2).tolist() == [0, 1, 4, 9]


def test_as_many_servers_as_requests_let_nobody_wait() -> None:
    assert starts(ns(0, 0, 0), ns(9, 9, 9), 3).tolist() == [0, 0, 0]


def test_more_servers_than_requests_are_no_harm() -> None:
    assert starts(ns(0, 1), ns(9, 9), 10_000_000).tolist() == [0, 1]


@pytest.mark.parametrize("servers", [1, 2])
def test_nobody_is_no_queue(servers: int) -> None:
    assert starts(ns(), ns(), servers).tolist() == []
    assert waits(visits([], [], [], []), servers).tolist() == []


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 100)), min_size=1, max_size=60), st.integers(1, 4)
)  # fmt: skip
@settings(deadline=None)
def test_a_server_is_never_given_twice_nor_idle_while_somebody_waits(jobs: list[tuple[int, int]], servers: int) -> None:
    arrive, hold = (ns(*column) for column in zip(*sorted(jobs), strict=True))

    begin = starts(arrive, hold, servers)

    assert (begin >= arrive).all()
    assert (np.diff(begin) >= 0).all()
    busy = [int(((begin <= t) & (begin + hold > t)).sum()) for t in begin.tolist()]
    assert max(busy) <= servers
    late = begin[begin > arrive]
    assert all(t in set((begin + hold).tolist()) for t in late.tolist())


@pytest.mark.parametrize("servers", [1, 3])
def test_it_gives_back_the_waits_of_the_simulation(servers: int) -> None:
    simulated = queues.simulate(5_000, 0.8, 3, servers=servers, settle=0)
    order = np.argsort(simulated.arrive_s)
    arrive, hold = (np.rint(c[order] * 1e9).astype(np.int64) for c in (simulated.arrive_s, simulated.hold_s))

    begin = starts(arrive, hold, servers)

    assert np.abs(begin / 1e9 - simulated.start_s[order]).max() < 1e-4


def test_each_pool_has_its_own_queue() -> None:
    both = Visits(ns(0, 1), ns(0, 1), ns(0, 0), ns(0, 0), ns(10, 10))

    assert waits(both, 1).tolist() == [0, 0]


def test_visits_are_served_in_order_of_arrival_whatever_order_they_are_in() -> None:
    assert waits(visits([0, 1, 2], [5, 0, 1], [4, 4, 4], [0, 0, 0]), 1).tolist() == [3, 0, 3]


def test_a_request_that_comes_again_comes_after_its_own_first_visit() -> None:
    # Request 0 holds 0-10 and comes again at 15; request 1 comes at 5 and holds 10-30: the second visit waits 15.
    found = waits(visits([0, 0, 1], [0, 15, 5], [10, 3, 20], [0, 5, 0]), 1)

    assert found.tolist() == [0, 15, 5]


def test_coming_again_and_coming_once_agree_when_nobody_does() -> None:
    simulated = queues.simulate(500, 0.8, 3, servers=2, settle=0)
    arrive, hold = (np.rint(c * 1e9).astype(np.int64) for c in (simulated.arrive_s, simulated.hold_s))
    once = Visits(np.arange(500), np.zeros(500, np.int64), arrive, np.zeros(500, np.int64), hold)
    last = int(arrive.max() + hold.sum())
    again = Visits(
        np.append(once.request, 499), np.zeros(501, np.int64), np.append(arrive, last),
        np.append(once.gap_ns, last), np.append(hold, 1),
    )  # fmt: skip

    assert waits(again, 2)[:500].tolist() == waits(once, 2).tolist()


def test_shorter_work_before_a_queue_brings_a_request_there_sooner() -> None:
    less = shortened(visits([0, 0], [100, 300], [50, 50], [0, 150]), ns(10, 20), ns(5, 60))

    assert less.arrive_ns.tolist() == [90, 300]
    assert less.gap_ns.tolist() == [0, 130]
    assert less.hold_ns.tolist() == [45, 0]


def test_who_holds_is_counted_from_the_instant_of_getting_to_that_of_giving_back() -> None:
    # Held 0-10 and 5-20: one at 0, two at 5, one at 10 (the first has just given back), nobody at 20.
    assert holding(ns(0, 5), ns(10, 20), ns(0, 5, 10, 20)).tolist() == [1, 2, 1, 0]
