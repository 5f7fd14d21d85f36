"""The client of a Python scenario: the calls people know, each recorded once, judged in a `with` block."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from load_support import Ran, Request, Server, a_scenario, misbehave, raw_server, run

from harness.model import Arrivals, LoadProfile, Step

HEAD = """
import json
from harness.load import HarnessUser
from locust import TaskSet, constant, events, task
from locust.exception import LocustError, StopUser
import requests

fired = []

@events.request.add_listener
def on_request(name, response_time, response, exception, start_time, url, context, **more):
    fired.append(name)
    assert response_time > 0 and response_length_is_known(more)

def response_length_is_known(more):
    return more["response_length"] >= 0

@events.test_stop.add_listener
def on_test_stop(**_):
    print("FIRED", json.dumps(fired), flush=True)

class Flow(HarnessUser):
    default_headers = {"X-Default": "d"}

    def on_start(self):
        self.client.headers["X-Session"] = "s"

    @task
    def everything(self):
"""

JUDGED = """
        get = self.client.get
        with get("/500", catch_response=True, name="forgiven") as r:
            assert not r.ok and r.status_code == 500
            r.success()
            assert r.ok
        with get("/ok", catch_response=True, name="refused") as r:
            r.failure("no, " + "x" * 300)
        with get("/ok", catch_response=True, name="renamed") as r:
            r.request_meta["name"] = "by another name"
        with get("/500", catch_response=True, name="left alone") as r:
            pass
        with get("/garbage", catch_response=True, name="no answer") as r:
            r.success()
        try:
            with get("/ok", catch_response=True, name="raised") as r:
                assert r.text == "no", "a text"
        except AssertionError:
            pass
        get("/ok", catch_response=True, name="never entered")
        with get("/500", catch_response=True, name="swallowed") as r:
            raise_response_error()
        with self.rest("GET", "/json", name="rest") as r:
            assert r.js["n"] == 3
        with self.rest("GET", "/json", name="rest failed") as r:
            assert r.js["n"] == 4, "wrong n"
        try:
            get("/ok").success()
        except LocustError as error:
            assert "catch_response" in str(error)
        else:
            raise ValueError("an answer was judged without catch_response")

def raise_response_error():
    from locust.exception import ResponseError
    raise ResponseError("not, what I wanted")
"""

CALLS = """
        c = self.client
        c.get("/q", params={"a": [1, 2], "b": None})
        c.post("/form", data={"k": "v w"}, headers={"X-Own": "1", "X-Session": None})
        c.post("/json", json={"a": 1})
        c.post("/both", data="text", json={"a": 1})
        c.put("/put", data=b"raw")
        c.patch("/patch", json=[1])
        c.delete("/delete")
        c.options("/options")
        assert c.head("/head").headers["content-length"] == "1000000"
        c.get("/auth", auth=("me", "pass word"))
        c.post("/files", files={"f": ("a.txt", b"text", "text/x-own")}, data={"k": "v"})
        with c.rename_request("grouped"):
            c.get("/group/1")
            c.get("/group/2")
        for timeout in (5, (1.0, 2.0), (None, 3), None):
            c.get("/timeout", timeout=timeout, stream=True)
        slow = c.get("/hang", timeout=(0.05, 0.05))
        assert slow.error == "timeout" and slow.status_code == 0 and not slow.ok
        assert c.get("/302", allow_redirects=False, name="fine redirect").ok
        assert not c.get("/302", name="bad redirect").ok
        refused = None
        try:
            c.get("/302", allow_redirects=True)
        except Exception as error:
            refused = error
        assert "follows no redirects" in str(refused) and "HttpUser" in refused.hint
        r = c.get("/ok", context={"my": "own"})
        assert r.elapsed.total_seconds() > 0 and r.url.endswith("/v1/ok") and r.content == b"ok"
        assert r.request_meta["context"] == {"my": "own"}
        r.raise_for_status()
        for path, kind in (("/500", requests.HTTPError), ("/garbage", requests.ConnectionError)):
            try:
                c.get(path).raise_for_status()
            except kind:
                pass
            else:
                raise ValueError(path)
        raise StopUser
"""

COOKIES = """
        c = self.client
        c.get("/set")
        c.get("/one")
        c.get("/deep/two", cookies={"mine": "m"})
        c.get("/three", headers={"Cookie": "own=o"})
        assert c.cookies["session"] == "abc" and len(c.cookiejar) == 2
        c.cookies.clear()
        c.get("/four")
        raise StopUser
"""


async def behave(r: Request) -> bool:
    r.path = r.path.removeprefix("/v1")
    if r.path == "/set":
        lines = "Set-Cookie: session=abc; Path=/\r\nset-cookie: deep=d; Path=/deep; HttpOnly\r\n"
        r.writer.write(f"HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n".encode())
        return True
    if r.path == "/302":
        r.writer.write(b"HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n")
        return True
    if r.path == "/json":
        r.writer.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{"n":3}')
        return True
    return await misbehave(r)


def in_turn(folder: Path, body: str, path: str = "") -> tuple[Ran, Server]:
    """One user, whose task is `body`, for a moment."""
    flow = folder / "flow.py"
    flow.write_text(HEAD + body)
    load = LoadProfile(Arrivals.USERS, (Step(1, 1.0),), 0.0, 5.0, 7, (0.4, 0.4))
    with raw_server(behave) as server:
        scenario = a_scenario(server.url + path, users=f"{flow}:Flow")
        return run(replace(scenario, load=load), folder), server


def one(outcome: Ran, name: str) -> pd.Series:
    found = outcome.samples[outcome.samples["name"] == name]
    assert len(found) > 0, (name, outcome.log[-3000:], outcome.lines)
    return found.iloc[0]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return in_turn(tmp_path_factory.mktemp("judged"), JUDGED)[0]


@pytest.mark.parametrize(
    ("name", "status", "failed"),
    [
        ("forgiven", 500, None),
        ("refused", 200, "user: no; " + "x" * 95 + "…"),
        ("by another name", 200, None),
        ("left alone", 500, "status"),
        ("raised", 200, "user: AssertionError"),
        ("never entered", 200, None),
        ("swallowed", 500, "status,user: not; what I wanted"),
        ("rest", 200, None),
        ("rest failed", 200, "user: wrong n"),
    ],
)
def test_user_code_judges_an_answer_in_a_with_block(judged: Ran, name: str, status: int, failed: str | None) -> None:
    row = one(judged, name)

    assert row["status"] == status
    assert (row["failed_checks"] if failed else pd.isna(row["failed_checks"])) == (failed or True)
    assert pd.isna(row["error"])
    assert row["done_source"] == "kernel"
    assert row["worker"] == "0"


def test_no_answer_cannot_be_forgiven(judged: Ran) -> None:
    assert one(judged, "no answer")["error"].startswith("not HTTP")


def test_judging_ends_no_task_and_loses_no_sample(judged: Ran) -> None:
    end, s = judged.end, judged.samples

    assert end["task_errors"] == {}
    assert len(s) == end["sent"] == end["ok"] + end["failed"]
    assert (end["sent"] % 11, end["failed"] * 11) == (0, end["sent"] * 6)
    assert s["request_id"].is_unique
    assert s["trace_id"].is_unique
    assert end["errors"]["check failed: user: AssertionError"] >= 1


def test_listeners_hear_of_each_judged_request_once(judged: Ran) -> None:
    (line,) = [line for line in judged.log.splitlines() if line.startswith("FIRED")]

    assert sorted(eval(line.removeprefix("FIRED"))) == sorted(judged.samples["name"])  # noqa: S307 - our own list


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, Server]:
    return in_turn(tmp_path_factory.mktemp("calls"), CALLS, "/v1")


def seen(server: Server, path: str) -> Request:
    return next(r for r in server.requests if r.path.split("?")[0] == path)


def test_the_calls_work_as_those_of_locusts_clients(calls: tuple[Ran, Server]) -> None:
    outcome, server = calls

    assert outcome.end["task_errors"] == {}, outcome.log[-3000:]
    assert seen(server, "/q").path == "/q?a=1&a=2"
    assert seen(server, "/form").body == b"k=v+w"
    assert seen(server, "/form").headers["content-type"] == "application/x-www-form-urlencoded"
    assert seen(server, "/json").body == b'{"a":1}'
    assert seen(server, "/both").body == b"text"
    assert (seen(server, "/put").method, seen(server, "/put").body) == ("PUT", b"raw")
    assert {seen(server, f"/{m}").method for m in ("patch", "delete", "options", "head")} == {
        "PATCH", "DELETE", "OPTIONS", "HEAD",
    }  # fmt: skip
    assert b'name="k"\r\n\r\nv\r\n' in seen(server, "/files").body
    assert b'filename="a.txt"\r\nContent-Type: text/x-own\r\n\r\ntext' in seen(server, "/files").body


def test_headers_and_credentials_of_the_session_go_with_every_request(calls: tuple[Ran, Server]) -> None:
    _, server = calls

    assert {r.headers["x-default"] for r in server.requests} == {"d"}
    assert seen(server, "/q").headers["x-session"] == "s"
    assert seen(server, "/form").headers["x-own"] == "1"
    assert "x-session" not in seen(server, "/form").headers
    assert base64.b64decode(seen(server, "/auth").headers["authorization"].split()[1]) == b"me:pass word"


def test_names_group_requests(calls: tuple[Ran, Server]) -> None:
    outcome, _ = calls

    assert (outcome.samples["name"] == "grouped").sum() == 2
    assert one(outcome, "/v1/put")["status"] == 200


def test_a_redirect_is_an_answer_and_fine_when_it_was_asked_for(calls: tuple[Ran, Server]) -> None:
    outcome, _ = calls

    assert pd.isna(one(outcome, "fine redirect")["failed_checks"])
    assert one(outcome, "bad redirect")["failed_checks"] == "status"


def test_a_user_that_ends_itself_is_missed(calls: tuple[Ran, Server]) -> None:
    warnings = [line for line in calls[0].lines if line["kind"] == "warning"]

    assert [line["code"] for line in warnings] == ["users_left"]
    assert "1 of the users ended before the run did" in warnings[0]["message"]


def test_cookies_are_kept_and_sent_back_by_path(tmp_path: Path) -> None:
    outcome, server = in_turn(tmp_path, COOKIES)

    assert outcome.end["task_errors"] == {}, outcome.log[-3000:]
    assert "cookie" not in seen(server, "/set").headers
    assert seen(server, "/one").headers["cookie"] == "session=abc"
    assert set(seen(server, "/deep/two").headers["cookie"].split("; ")) == {"session=abc", "deep=d", "mine=m"}
    assert seen(server, "/three").headers["cookie"] == "own=o"
    assert "cookie" not in seen(server, "/four").headers
