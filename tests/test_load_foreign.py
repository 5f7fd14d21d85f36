"""Existing locustfiles, unchanged: HttpUser and FastHttpUser carry the trace context and leave samples."""

from __future__ import annotations

import asyncio
import textwrap
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from load_support import OK, Ran, Request, Server, a_scenario, in_child, misbehave, raw_server, run

from harness.errors import ScenarioError
from harness.model import Arrivals, LoadProfile, Step
from harness.scenario.user_class import find_user

LOCUSTFILE = """
from locust import FastHttpUser, HttpUser, SequentialTaskSet, TaskSet, constant, events, task

fired = []

@events.request.add_listener
def on_request(name, response_time, response, exception, start_time, url, **_):
    fired.append(name)

@events.test_stop.add_listener
def on_test_stop(environment, **_):
    print("FIRED", len(fired), flush=True)

class Slow(HttpUser):
    wait_time = constant(0.05)

    def on_start(self):
        self.client.post("/login", json={"user": "u"})

    @task
    class Judge(TaskSet):
        @task
        def judged(self):
            self.client.get("/ok?x=1", name="slow-ok")
            self.client.get("/500", name="slow-500")
            with self.client.get("/500", catch_response=True, name="slow-forgiven") as r:
                r.success()
            with self.client.get("/ok", catch_response=True, name="slow-refused") as r:
                r.failure("no, it is not\\ngood")
            self.client.get("http://127.0.0.1:9/x", name="slow-down")
            self.interrupt()

    def on_stop(self):
        self.client.get("/logout")

class Fast(FastHttpUser):
    weight = 2
    wait_time = constant(0.05)

    @task
    class InOrder(SequentialTaskSet):
        @task
        def first(self):
            self.client.post("/ok", json={"a": 1}, name="fast-ok", headers={"X-Own": "1"})
            self.client.get("/500", name="fast-500")
        @task
        def second(self):
            with self.client.get("/500", catch_response=True, name="fast-forgiven") as r:
                r.success()
            with self.client.get("/ok", catch_response=True, name="fast-refused") as r:
                r.failure("no, it is not\\ngood")
            self.client.get("http://127.0.0.1:9/x", name="fast-down")
        @task
        def third(self):
            self.client.get("/500", catch_response=True, name="fast-never-entered")
            with self.client.get("/ok", catch_response=True, name="fast-raised"):
                raise ValueError("out of the block")
"""


def in_a_closed_loop(flow: Path, names: str, server: Server, users: int, folder: Path, **load: float) -> Ran:
    profile = LoadProfile(Arrivals.USERS, (Step(users, load.get("duration_s", 1.0)),), 0.0, load.get("drain_s", 5.0), 7)
    return run(replace(a_scenario(server.url, users=f"{flow}:{names}"), load=profile), folder)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, Server]:
    """Three users of a file with an HttpUser and a FastHttpUser of twice its weight."""
    folder = tmp_path_factory.mktemp("run")
    flow = folder / "locustfile.py"
    flow.write_text(LOCUSTFILE)
    named = find_user(flow, None, several=True)
    with raw_server(misbehave) as server:
        return in_a_closed_loop(flow, named.rpartition(":")[2], server, 3, folder), server


def rows(outcome: Ran, name: str) -> pd.DataFrame:
    found = outcome.samples[outcome.samples["name"] == name]
    assert len(found) > 0, (name, outcome.log[-2000:])
    return found


def test_every_class_of_the_file_runs_by_its_weight(mixed: tuple[Ran, Server]) -> None:
    _, server = mixed
    logins = [r for r in server.requests if r.path == "/login"]

    assert len(logins) == 1  # of three users, one is a Slow
    assert {r.method for r in server.requests} == {"GET", "POST"}


def test_every_request_carries_the_context_of_its_one_sample(mixed: tuple[Ran, Server]) -> None:
    outcome, server = mixed
    sent = [r.headers["traceparent"].split("-") for r in server.requests]
    answered = outcome.samples[outcome.samples["status"].notna()]

    assert len(sent) == len(answered) == len({trace for _, trace, _, _ in sent})
    assert {(trace, span) for _, trace, span, _ in sent} == set(
        zip(answered["trace_id"], answered["span_id"], strict=True)
    )
    assert {r.headers["x-mlharness-run"] for r in server.requests} == {"run-1"}
    assert outcome.samples["request_id"].is_unique
    assert len(outcome.samples) == outcome.end["sent"] == outcome.end["ok"] + outcome.end["failed"]


@pytest.mark.parametrize("kind", ["slow", "fast"])
def test_what_locust_says_of_a_request_becomes_its_sample(mixed: tuple[Ran, Server], kind: str) -> None:
    outcome, _ = mixed
    ok, bad, down = (rows(outcome, f"{kind}-{name}") for name in ("ok", "500", "down"))
    forgiven, refused = rows(outcome, f"{kind}-forgiven"), rows(outcome, f"{kind}-refused")

    assert (set(ok["status"]), ok["error"].isna().all(), ok["failed_checks"].isna().all()) == ({200}, True, True)
    assert (set(bad["status"]), set(bad["failed_checks"]), bad["error"].isna().all()) == ({500}, {"status"}, True)
    assert (set(forgiven["status"]), forgiven["failed_checks"].isna().all()) == ({500}, True)
    assert set(refused["failed_checks"]) == {"user: no; it is not good"}
    assert (set(down["error"]), down["status"].isna().all()) == ({"connection refused"}, True)
    assert down["send_ns"].isna().all()
    assert set(bad["server_timing"]) == {"a;dur=1, b;dur=2"}


def test_what_such_a_client_cannot_know_is_null(mixed: tuple[Ran, Server]) -> None:
    s = rows(mixed[0], "fast-ok")

    for column in ("connected_ns", "sent_ns", "first_byte_ns"):
        assert s[column].isna().all(), column
    assert (s["send_ns"] == s["start_ns"]).all()
    assert (s["done_ns"] > s["start_ns"]).all()
    assert (s["scheduled_ns"] == s["start_ns"]).all()
    assert set(s["done_source"]) == {"user"}
    assert set(s["bytes_sent"]) == {len('{"a": 1}')}


def test_logins_are_warm_up_and_logouts_come_after(mixed: tuple[Ran, Server]) -> None:
    outcome, _ = mixed

    assert set(rows(outcome, "/login")["phase"]) == {"warmup"}
    assert set(rows(outcome, "/logout")["phase"]) == {"drain"}
    assert set(rows(outcome, "fast-ok")["phase"]) == {"measure"}


def test_an_answer_that_no_event_told_of_is_a_sample_all_the_same(mixed: tuple[Ran, Server]) -> None:
    outcome, _ = mixed

    assert set(rows(outcome, "fast-never-entered")["failed_checks"]) == {"status"}
    assert set(rows(outcome, "fast-raised")["status"]) == {200}


def test_listeners_of_the_file_hear_of_each_request_once(mixed: tuple[Ran, Server]) -> None:
    outcome, _ = mixed
    silent = len(rows(outcome, "fast-never-entered")) + len(rows(outcome, "fast-raised"))  # as in Locust
    (line,) = [line for line in outcome.log.splitlines() if line.startswith("FIRED")]

    # The one logout comes after the listener of test_stop was called, or before: users end meanwhile.
    assert len(outcome.samples) - silent - 1 <= int(line.split()[1]) <= len(outcome.samples) - silent


def test_the_run_is_told_once_what_such_a_client_cannot_do(mixed: tuple[Ran, Server]) -> None:
    warnings = [line for line in mixed[0].lines if line["kind"] == "warning" and line["code"] == "foreign_client"]

    assert [line["message"].split(":")[0] for line in warnings] == [
        "FastHttpUser and HttpUser time their requests in Python"
    ]
    assert not warnings[0]["invalidates"]


FLAT = """
from locust import {base}, task

class Flat({base}):
    host = "http://127.0.0.1:9"

    @task(3)
    def ok(self):
        self.client.get("/ok", name="first")
        self.client.get("/ok", name="second")

    @task
    def nothing(self):
        pass
"""


@pytest.mark.parametrize("base", ["HttpUser", "FastHttpUser"])
def test_with_a_rate_each_arrival_runs_one_task(tmp_path: Path, base: str) -> None:
    flow = tmp_path / "locustfile.py"
    flow.write_text(FLAT.format(base=base))
    with raw_server(misbehave) as server:
        outcome = run(a_scenario(server.url, users=f"{flow}:Flat", rate=40.0, duration_s=1.0), tmp_path)

    first, second = rows(outcome, "first"), rows(outcome, "second")
    assert outcome.end["scheduled"] == 40
    assert 20 <= len(first) <= 38
    assert len(first) == len(second)
    assert (first["request_id"] < 40).all()
    assert (second["request_id"] >= 40).all()
    assert (first["scheduled_ns"] < first["start_ns"]).all()  # latency counts from the scheduled instant
    assert (second["scheduled_ns"] == second["start_ns"]).all()
    assert {line["code"] for line in outcome.lines if line["kind"] == "warning"} == {"foreign_client", "no_request"}


def test_a_request_killed_in_flight_is_censored_and_no_success(tmp_path: Path) -> None:
    async def hang(request: Request) -> bool:
        if len(server.requests) > 3:
            await asyncio.sleep(30)
        request.writer.write(OK)
        return True

    flow = tmp_path / "locustfile.py"
    other = FLAT.format(base="FastHttpUser").replace("class Flat", "class Fast")
    flow.write_text(FLAT.format(base="HttpUser") + other)
    with raw_server(hang) as server:
        outcome = in_a_closed_loop(flow, "Flat,Fast", server, 2, tmp_path, duration_s=0.5, drain_s=0.3)

    s = outcome.samples
    assert outcome.end["ok"] == 3
    assert outcome.end["censored"] == s["censored"].sum() == 2
    assert s[s["censored"]]["status"].isna().all()
    assert s[s["censored"]]["error"].isna().all()


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a child says of classes in a file, and of users dealt to classes."""
    flow = tmp_path_factory.mktemp("file") / "locustfile.py"
    flow.write_text(LOCUSTFILE + FLAT.format(base="HttpUser"))
    code = """
        import sys
        import locust
        from collections import Counter
        from harness.errors import HarnessError
        from harness.load.sessions import next_class
        from harness.load.user_file import import_users
        for names in ("Fast", "Flat,Flat"):
            try: import_users(f"{sys.argv[1]}:{names}", closed=False)
            except HarnessError as error: print(error, "|", error.hint)
        print([user.__name__ for user in import_users(f"{sys.argv[1]}:Slow,Fast", closed=True)])
        class Twice: weight, fixed_count = 2, 0
        class Once: weight, fixed_count = 1, 0
        class Fixed: weight, fixed_count = 9, 1
        counts = Counter()
        for _ in range(7):
            counts[next_class([Twice, Once, Fixed], counts)] += 1
        print(counts[Twice], counts[Once], counts[Fixed])
    """
    return in_child(textwrap.dedent(code), str(flow)).splitlines()


def test_task_sets_and_several_classes_need_users_not_a_rate(said: list[str]) -> None:
    assert "has a TaskSet among its tasks" in said[0]
    assert "--users 8" in said[0]
    assert "defines 2 users: Flat, Flat | say which one" in said[1]
    assert said[2] == "['Slow', 'Fast']"


def test_users_are_dealt_to_classes_by_weight_and_fixed_count(said: list[str]) -> None:
    assert said[3].split() == ["4", "2", "1"]


def test_classes_are_found_by_reading_the_file(tmp_path: Path) -> None:
    flow = tmp_path / "locustfile.py"
    flow.write_text(LOCUSTFILE + "\nclass Base(HttpUser):\n    abstract = True\n\nclass More(Base): pass\n")

    assert find_user(flow, None, several=True) == f"{flow}:Slow,Fast,More"
    assert find_user(flow, "Slow, More") == f"{flow}:Slow,More"
    with pytest.raises(ScenarioError, match="defines 3 users: Slow, Fast, More"):
        find_user(flow, None)
    with pytest.raises(ScenarioError, match="defines no class 'Slo'"):
        find_user(flow, "Slo,Fast")
