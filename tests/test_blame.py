"""Queue blame: what each wait is charged to, on queues whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.analysis.holding.blame import MOST_HOLDERS, MOST_RESOURCES, blame, capacities, charged
from harness.join import Halves
from tests.blame_builders import Stretch, halves, halves_of, infer, prepare, wait
from tests.simulated_queues import intervals, simulate

Blamed = dict[tuple[str | None, str | None, bool], float]
NOBODY = (None, None, False)


def everyone(found: Halves) -> NDArray[np.bool_]:
    return np.ones(len(found.process_of), np.bool_)


def blamed(found: Halves, names: list[str], resource: str | None = None) -> Blamed:
    """Milliseconds per request by (stage, name, own)."""
    return {
        (f.stage, f.name, f.own): round(f.wait_s * 1e3, 3)
        for f in blame(found, names, everyone(found))
        if resource in (None, f.resource)
    }


# --- by hand -----------------------------------------------------------------------------------------------


def test_a_wait_is_charged_to_what_the_holder_did_meanwhile() -> None:
    first = [wait("threadpool", 0, 1), prepare(1, 5), infer(5, 15)]
    second = [wait("threadpool", 2, 15), infer(15, 20)]

    found = blamed(halves([first, second]), ["big", "small"])

    # 13 ms of the second: 3 of preprocess, 10 of inference; 1 ms of the first, in which the pool was idle; two requests
    assert found == {("inference", "big", False): 5.0, ("preprocess", "big", False): 1.5, NOBODY: 0.5}


def test_two_holders_share_the_blame_evenly() -> None:
    one = [wait("threadpool", 0, 1), infer(1, 10)]
    other = [wait("threadpool", 0, 1), prepare(1, 10)]
    late = [wait("threadpool", 2, 10), infer(10, 12)]

    found = charged(halves([one, other, late]), ["a", "b", "c"], np.array([False, False, True]))

    assert dict(zip(found.labels, found.seconds[0].tolist(), strict=True)) == {
        ("inference", None, "a"): pytest.approx(0.004),
        ("preprocess", None, "b"): pytest.approx(0.004),
        ("inference", None, "c"): 0.0,
    }
    assert found.nobody_s.tolist() == pytest.approx([0.0], abs=1e-9)


def test_a_holder_in_none_of_its_stages_is_blamed_as_other() -> None:
    first = [wait("threadpool", 0, 1), prepare(1, 5), infer(8, 10), wait("event_loop", 12, 13)]
    second = [wait("threadpool", 2, 12), infer(12, 20)]

    found = blamed(halves([first, second]), ["big", "small"], "threadpool")

    assert found[("other", "big", False)] == (3 + 2) / 2


def test_the_deepest_open_span_of_the_holder_is_blamed() -> None:
    first = [wait("threadpool", 0, 1), prepare(1, 11), infer(4, 8, inside=1)]
    second = [wait("threadpool", 1, 11), infer(11, 12)]

    found = blamed(halves([first, second]), ["big", "small"])

    assert found == {("preprocess", "big", False): 3.0, ("inference", "big", False): 2.0, NOBODY: 0.5}


def test_requests_that_do_not_count_still_hold_but_do_not_wait() -> None:
    warmup = [wait("threadpool", 0, 4), infer(4, 10)]
    counted = [wait("threadpool", 4, 10), infer(10, 12)]

    found = blame(halves([warmup, counted]), ["r", "r"], np.array([False, True]))

    assert [(f.stage, f.own, f.n) for f in found] == [("inference", True, 1)]
    assert found[0].wait_s == pytest.approx(0.006)


def test_two_processes_do_not_blame_each_other() -> None:
    requests = [[wait("threadpool", 0, 1), infer(1, 10)], [wait("threadpool", 1, 10), infer(10, 12)]]

    apart = blamed(halves(requests, processes=[0, 1]), ["a", "b"])
    together = blamed(halves(requests, processes=[0, 0]), ["a", "b"])

    assert apart == {NOBODY: 5.0}
    assert together == {("inference", "a", False): 4.5, NOBODY: 0.5}


def test_of_a_thousand_resources_those_most_waited_for_are_looked_into() -> None:
    requests = [[wait(f"lock-{number}", 0, 1 + number), infer(1 + number, 2_000)] for number in range(1_000)]

    found = blame(halves(requests), ["r"] * 1_000, np.ones(1_000, np.bool_))

    assert list(dict.fromkeys(f.resource for f in found)) == [f"lock-{n}" for n in range(999, 999 - MOST_RESOURCES, -1)]


def test_different_resources_do_not_blame_each_other() -> None:
    requests = [[wait("threadpool", 0, 1), infer(1, 10)], [wait("gpu", 1, 9), infer(9, 12)]]

    found = blame(halves(requests), ["a", "b"], np.array([False, True]))

    assert [(f.resource, f.stage, f.share) for f in found] == [("gpu", None, 1.0)]


def test_a_late_event_loop_is_nobodys_doing() -> None:
    requests = [[wait("threadpool", 0, 1), infer(1, 10)], [infer(0, 1), wait("event_loop", 2, 9)]]

    found = blame(halves(requests), ["a", "b"], np.array([False, True]))

    assert [(f.resource, f.stage, f.share, f.n) for f in found] == [("event_loop", None, 1.0, 1)]


# --- batches -----------------------------------------------------------------------------------------------


def test_a_busy_batcher_is_blamed_on_the_batch_that_ran_and_its_window_on_nobody() -> None:
    running = [infer(0, 20, "det", batch="b1"), infer(0, 20, "det", batch="b1")]
    waiting = [
        wait("batcher", 5, 20, "busy", "b2"),
        wait("batcher", 20, 30, "window", "b2"),
        infer(30, 50, "det", "b2"),
    ]
    known = [wait("batcher", -5, 0, "window", "b1"), running[0]]

    found = blame(halves([known, [running[1]], waiting]), ["a", "b", "b"], np.array([False, False, True]))

    # 15 ms busy: b1 is one batch, half of it for "a" and half for "b"; 10 ms of window
    assert {(f.stage, f.model, f.name, f.own): round(f.share * 25, 6) for f in found} == {
        (None, None, None, False): 10.0,
        ("inference", "det", "a", False): 7.5,
        ("inference", "det", "b", True): 7.5,
    }


def test_a_batch_counts_once_however_many_members_it_has() -> None:
    large = [[wait("batcher", 0, 1, "window", "b1"), infer(1, 11, "det", "b1")] for _ in range(9)]
    small = [[wait("batcher", 0, 1, "window", "b2"), infer(1, 11, "rec", "b2")]]
    late = [[wait("batcher", 1, 11, "busy", "b3"), infer(11, 12, "det", "b3")]]

    found = blamed(halves([*large, *small, *late]), ["l"] * 9 + ["s", "late"])

    assert found[("inference", "l", False)] == found[("inference", "s", False)] == round(5 / 11, 3)


# --- simulated queues --------------------------------------------------------------------------------------


def test_in_a_simulated_queue_of_one_server_all_waiting_is_work_of_others() -> None:
    queue = simulate(4_000, 0.7, seed=3, large=0.1)
    busy = halves_of(intervals(queue), 4_000)

    found = blame(busy, queue.names, everyone(busy))

    assert sum(f.wait_s for f in found) == pytest.approx(float(queue.wait_s.mean()), rel=1e-6)
    assert next(f.share for f in found if f.stage is None) < 2e-3  # requests before the first one kept
    assert (found[0].stage, found[0].model) == ("inference", "reader")


def test_in_a_simulated_queue_the_kind_of_request_that_holds_longest_is_blamed() -> None:
    queue = simulate(4_000, 0.7, seed=4, large=0.1, large_factor=20.0)
    busy = halves_of(intervals(queue), 4_000)

    found = blame(busy, queue.names, everyone(busy))

    assert (found[0].stage, found[0].name, found[0].own) == ("inference", "large", False)


@pytest.mark.parametrize("servers", [1, 3])
def test_in_a_simulated_queue_each_wait_is_charged_in_full(servers: int) -> None:
    queue = simulate(2_000, 0.8, seed=5, servers=servers)
    busy = halves_of(intervals(queue), 2_000)

    found = charged(busy, queue.names, everyone(busy))

    waited = queue.wait_s[found.rows // 4]
    assert found.seconds.sum(axis=1) + found.nobody_s == pytest.approx(waited, abs=1e-6)
    assert np.quantile(found.nobody_s, 0.99) < 1e-7


def test_the_number_of_servers_of_a_simulated_queue_is_found() -> None:
    queues = {c: simulate(3_000, 0.8, seed=6, servers=c) for c in (1, 2, 7)}

    found = {c: capacities(halves_of(intervals(queue), 3_000)) for c, queue in queues.items()}

    assert found == {c: {"threadpool": c} for c in queues}


# --- the table ---------------------------------------------------------------------------------------------


def test_the_smaller_holders_are_taken_together() -> None:
    holding = [[wait("threadpool", -1, 0), infer(0, 10 + i)] for i in range(20)]
    late = [wait("threadpool", 1, 10), infer(40, 41)]

    found = blame(halves([*holding, late]), [f"r{i}" for i in range(20)] + ["late"], np.array([False] * 20 + [True]))

    assert len(found) == MOST_HOLDERS
    assert sum(f.share for f in found) == pytest.approx(1.0)
    assert [f.share for f in found] == pytest.approx([1 / 20] * 5 + [15 / 20])
    assert (found[-1].stage, found[-1].name) == ("inference", "others")


def test_the_resource_with_the_most_waiting_comes_first() -> None:
    requests = [[wait("lock", 0, 1), infer(1, 2)], [wait("threadpool", 0, 9), infer(9, 10)]]

    found = blame(halves(requests), ["a", "a"], np.array([True, True]))

    assert list(dict.fromkeys(f.resource for f in found)) == ["threadpool", "lock"]


# --- whatever comes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("requests", [[], [[]], [[infer(1, 2)]], [[wait("threadpool", 1, 1), infer(1, 1)]]])
def test_without_waiting_there_is_no_blame(requests: list[list[Stretch]]) -> None:
    nothing = halves(requests)
    names = ["r"] * len(requests)

    assert blame(nothing, names, everyone(nothing)) == ()
    assert charged(nothing, names, everyone(nothing)).seconds.size == 0
    assert capacities(nothing, names) == {}


def test_when_nobody_counts_there_is_no_blame() -> None:
    busy = halves([[wait("threadpool", 0, 1), infer(1, 10)]])

    assert blame(busy, ["r"], np.array([False])) == ()


def test_instants_from_another_century_do_not_disturb_the_others() -> None:
    lost = [wait("threadpool", -1.7e12, -1.6e12), infer(-1.6e12, -1.5e12)]
    requests = [[wait("threadpool", 0, 1), infer(1, 10)], [wait("threadpool", 1, 10), infer(10, 12)], lost]

    found = charged(halves(requests), ["a", "b", "c"], np.array([True, True, False]))

    assert found.seconds.sum(axis=1) == pytest.approx([0.0, 0.009], abs=1e-6)


_SHAPES = st.sampled_from(["queue", "queue", "preprocess", "inference", "download"])


@st.composite
def a_request(draw: st.DrawFn) -> list[Stretch]:
    """Spans in any order and place, also side by side and inside each other."""
    found: list[Stretch] = []
    for at in sorted(draw(st.lists(st.integers(0, 40), max_size=6))):
        stage = draw(_SHAPES)
        waits = stage == "queue"
        inside = [i for i, each in enumerate(found) if each.end > at and each.stage != "queue"]
        found.append(
            Stretch(
                stage,
                at,
                at + draw(st.integers(0, 15)),
                resource=draw(st.sampled_from(["threadpool", "event_loop", "lock", "batcher"])) if waits else None,
                model=draw(st.sampled_from(["det", None])) if stage == "inference" else None,
                batch=draw(st.sampled_from(["b1", "b2", None])) if stage in ("queue", "inference") else None,
                wait=draw(st.sampled_from(["busy", "window", None])) if waits else None,
                inside=draw(st.sampled_from([-1, *inside])),
            )
        )
    return found


@settings(deadline=None, max_examples=25)
@given(st.lists(a_request(), max_size=6), st.data())
def test_the_charges_of_each_wait_sum_to_it_and_are_never_negative(
    requests: list[list[Stretch]], choice: st.DataObject
) -> None:
    any_of_them = halves(requests, processes=choice.draw(st.lists(st.integers(-1, 1), min_size=len(requests),
                                                                   max_size=len(requests))))  # fmt: skip
    names = [f"r{i % 2}" for i in range(len(requests))]

    found = charged(any_of_them, names, everyone(any_of_them))
    table = blame(any_of_them, names, everyone(any_of_them))

    spans = any_of_them.intervals
    waited = (spans.end_ns - spans.start_ns)[found.rows] / 1e9
    assert (found.seconds >= 0).all()
    assert (found.nobody_s >= 0).all()
    assert found.seconds.sum(axis=1) + found.nobody_s == pytest.approx(waited, abs=1e-6)
    assert sum(f.wait_s for f in table) * max(len(requests), 1) == pytest.approx(float(waited.sum()), abs=1e-6)
    assert sum(f.wait_s for f in table if f.stage is None) * max(len(requests), 1) == pytest.approx(
        float(found.nobody_s.sum()), abs=1e-6
    )
