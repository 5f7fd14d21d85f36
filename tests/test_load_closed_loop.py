"""A closed loop: so many users send, wait for the answer, think, and send again."""

from __future__ import annotations

import asyncio
import itertools
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from load_support import OK, Ran, Request, Server, a_request, a_scenario, in_child, ran, raw_server, run

from harness.arrivals import Share
from harness.load.launch import start
from harness.load.order import Order
from harness.model import Arrivals, LoadProfile, Scenario, Step


def closed(url: str, *steps: Step, requests: tuple[Any, ...] = (), users: str | None = None, **load: Any) -> Scenario:
    profile = LoadProfile(Arrivals.USERS, steps, load.pop("warmup_s", 0.0), load.pop("drain_s", 5.0), 7, **load)
    return replace(a_scenario(url, *requests, users=users), load=profile)


async def answer(request: Request) -> bool:
    request.writer.write(OK)
    return True


async def answer_after_50_ms(request: Request) -> bool:
    await asyncio.sleep(0.05)
    request.writer.write(OK)
    return True


async def fail(request: Request) -> bool:
    request.writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    return True


@pytest.fixture(scope="module")
def stepped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, Server]:
    """Two users, then four, then one, half a second each, after a warm-up of 0.3 s; each answer takes 50 ms."""
    with raw_server(answer_after_50_ms) as server:
        steps = (Step(2, 0.6), Step(4, 0.6), Step(1, 0.6))
        return run(closed(server.url, *steps, warmup_s=0.3), tmp_path_factory.mktemp("run")), server


def most_at_once(outcome: Ran, step: int) -> int:
    """Requests of a step that were open together."""
    own = outcome.samples[(outcome.samples["step"] == step) & (outcome.samples["phase"] == "measure")]
    edges = sorted([*((at, 1) for at in own["start_ns"]), *((at, -1) for at in own["done_ns"])])
    return max(itertools.accumulate(change for _, change in edges))


def test_the_number_of_users_follows_the_steps(stepped: tuple[Ran, Server]) -> None:
    outcome, _ = stepped

    assert [most_at_once(outcome, step) for step in (0, 1, 2)] == [2, 4, 1]


def test_each_user_keeps_its_connection(stepped: tuple[Ran, Server]) -> None:
    _, server = stepped

    assert len({r.connection for r in server.requests}) == 4


def test_a_user_that_waits_for_50_ms_sends_at_most_20_a_second(stepped: tuple[Ran, Server]) -> None:
    # 0.6 s and two users: at most 2 x 12 and one more each; a busy machine sends fewer.
    counts = stepped[0].samples.groupby(["phase", "step"]).size()

    assert 8 <= counts["measure", 0] <= 26
    assert 16 <= counts["measure", 1] <= 52
    assert 4 <= counts["measure", 2] <= 13
    assert counts["warmup", 0] <= 14


def test_a_request_belongs_to_the_phase_and_step_in_which_it_starts(stepped: tuple[Ran, Server]) -> None:
    outcome, _ = stepped
    s, end = outcome.samples, outcome.end
    began = s["start_ns"] - end["measured_from_ns"]
    own = s["phase"] == "measure"

    assert end["measured_from_ns"] - end["started_ns"] == 300_000_000
    assert (began[~own] < 0).all()
    # A request is placed right before it starts: what lies between is not more than a moment.
    assert ((began[own] - s["step"][own] * 600_000_000) > -1).all()
    assert ((began[own] - s["step"][own] * 600_000_000) < 650_000_000).all()


def test_latency_is_service_time_and_nothing_is_backlog(stepped: tuple[Ran, Server]) -> None:
    s = stepped[0].samples

    assert (s["scheduled_ns"] == s["start_ns"]).all()
    assert ((s["done_ns"] - s["start_ns"]) >= 49_000_000).all()


def test_the_end_line_and_progress_count_what_was_sent(stepped: tuple[Ran, Server]) -> None:
    outcome, server = stepped
    end, lines = outcome.end, [line for line in outcome.lines if line["kind"] == "progress"]

    assert end["scheduled"] == end["sent"] == end["ok"] == len(outcome.samples) == len(server.requests)
    assert end["interrupted"] is False
    assert "aborted" not in end
    assert {line["total_s"] for line in lines} == {2.1}
    assert {line["phase"] for line in lines} >= {"measure"}
    assert all(line["backlog"] == 0 and line["in_flight"] <= 4 for line in lines)
    assert outcome.samples["request_id"].is_unique


def test_the_shares_of_two_processes_have_the_users_and_ids_of_one(tmp_path: Path) -> None:
    # Three users in two processes: two and one. Ids are odd in one, even in the other.
    with raw_server(answer_after_50_ms) as server:
        scenario = closed(server.url, Step(3, 0.5))
        folders = [tmp_path / "0", tmp_path / "1"]
        processes = []
        for index, folder in enumerate(folders):
            folder.mkdir()
            processes.append(start(Order(scenario, str(folder), "run-1", str(index), Share(index, 2))))
        outcomes = [ran(process, folder) for process, folder in zip(processes, folders, strict=True)]

    assert [most_at_once(outcome, 0) for outcome in outcomes] == [2, 1]
    for index, outcome in enumerate(outcomes):
        assert set(outcome.samples["request_id"] % 2) == {index}


def test_users_think_between_answer_and_next_request(tmp_path: Path) -> None:
    with raw_server(answer) as server:
        outcome = run(closed(server.url, Step(2, 1.0), think_s=(0.1, 0.2)), tmp_path)

    s = outcome.samples.sort_values("start_ns")
    assert 6 <= len(s) <= 20  # two users, at most one request each 0.1 s


def test_after_the_last_step_nothing_is_sent_and_what_hangs_is_censored(tmp_path: Path) -> None:
    async def hang_from_the_third_on(request: Request) -> bool:
        if len(server.requests) > 2:
            await asyncio.sleep(30)
        request.writer.write(OK)
        return True

    with raw_server(hang_from_the_third_on) as server:
        kind = a_request(timeout_s=20.0)
        outcome = run(closed(server.url, Step(2, 0.4), requests=(kind,), drain_s=0.3), tmp_path)

    s, end = outcome.samples, outcome.end
    assert sorted(s["censored"]) == [False, False, True, True]
    assert end["censored"] == 2
    assert (s["start_ns"] <= end["measured_until_ns"]).all()


def test_a_stop_ends_a_closed_loop_early(tmp_path: Path) -> None:
    with raw_server(answer_after_50_ms) as server:
        process = start(Order(closed(server.url, Step(2, 60.0)), str(tmp_path), "run-1"))
        while not any(line["kind"] == "progress" and line["sent"] for line in process.events(1.0)):
            pass
        process.request_stop()
        asked = time.monotonic()
        outcome = ran(process, tmp_path)

    assert time.monotonic() - asked < 10
    assert outcome.end["interrupted"] is True
    assert outcome.end["censored"] == 0
    assert outcome.end["measured_until_ns"] < outcome.end["started_ns"] + 30_000_000_000


def test_a_dead_target_is_not_hammered(tmp_path: Path) -> None:
    outcome = run(closed("http://127.0.0.1:9", Step(2, 0.5)), tmp_path)

    assert set(outcome.samples["error"]) == {"connection refused"}
    assert 10 <= len(outcome.samples) <= 110  # two users, one try each 10 ms


def test_the_mix_of_payloads_is_that_of_the_weights(tmp_path: Path) -> None:
    with raw_server(answer_after_50_ms) as server:
        kinds = (a_request("often", weight=9.0), a_request("seldom", "/s", weight=1.0))
        outcome = run(closed(server.url, Step(8, 1.0), requests=kinds), tmp_path)

    assert 0.75 < (outcome.samples["name"] == "often").mean() < 0.99


# --- too many failures -------------------------------------------------------------------------------------


def test_a_run_is_stopped_when_too_many_answers_fail(tmp_path: Path) -> None:
    with raw_server(fail) as server:
        outcome = run(closed(server.url, Step(4, 60.0), abort_above=0.5), tmp_path)

    (warning,) = [line for line in outcome.lines if line["kind"] == "warning"]
    assert warning["code"] == "aborted"
    assert warning["message"].startswith("stopped after ")
    assert "100 % of the last" in warning["message"]
    assert "answers failed (abort_on: error_rate > 50%), most with: status 503 (" in warning["message"]
    assert outcome.end["aborted"] is True
    assert outcome.end["interrupted"] is True
    assert outcome.end["measured_until_ns"] < outcome.end["started_ns"] + 30_000_000_000


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What a child says of think times, the watch over failures, and jumps of the clock."""
    code = """
        import locust
        from types import SimpleNamespace as Live
        from harness.arrivals import Share
        from harness.load.notices import FailureWatch, Notices
        from harness.load.users import think_time
        from harness.timebase import ClockStep, Timebase

        def times(seed, number, share=Share()):
            rig = Live(think_s=(1.0, 2.0), seed=seed, share=share)
            pause = think_time(Live(rig=rig, number=number))
            return [pause() for _ in range(3)]
        print(times(1, 0) == times(1, 0), times(1, 0) == times(1, 1), times(1, 0) == times(2, 0))
        print(times(1, 3) == times(1, 1, Share(1, 2)), all(1.0 <= t <= 2.0 for t in times(1, 0)))

        watch = FailureWatch(0.5)
        print(watch.look(Live(answers=19, failed=19)), watch.look(Live(answers=20, failed=10)))
        print(watch.look(Live(answers=24, failed=15)))
        for _ in range(10):
            found = watch.look(Live(answers=24, failed=15))
        print(found, FailureWatch(None).look(Live(answers=99, failed=99)))

        lines = []
        notices, timebase = Notices(lines.append), Timebase()
        timebase.steps.append(ClockStep(at_ns=7_000_000_000, by_ns=5_000_000))
        notices.clock_steps(timebase, 4_000_000_000)
        timebase.steps.append(ClockStep(at_ns=9_000_000_000, by_ns=-30_000_000))
        notices.clock_steps(timebase, 4_000_000_000)
        notices.clock_steps(timebase, 4_000_000_000)
        for line in lines: print(line["code"], line["invalidates"], line["message"])
    """
    return in_child(textwrap.dedent(code)).splitlines()


def test_think_times_are_drawn_from_the_seed_for_each_user(said: list[str]) -> None:
    # The same seed and user draw alike, others do not; number 1 of the second of two processes is user 3 of the run.
    assert said[:2] == ["True False False", "True True"]


def test_the_share_of_failures_is_that_of_the_last_five_seconds(said: list[str]) -> None:
    # 19 are too few to tell, 10 of 20 are not above a half, 15 of 24 are; ten looks later they are five seconds old.
    assert said[2:5] == ["None None", "(0.625, 24)", "None None"]


def test_a_jump_of_the_clock_is_told_once_with_size_and_instant(said: list[str]) -> None:
    assert said[5:] == [
        "clock_step False the wall clock jumped by +5.0 ms, 3 s into the run",
        "clock_step True the wall clock jumped by -30.0 ms, 5 s into the run",
    ]
