"""The live page over HTTP: a real run is started, watched through its events, and stopped."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.dashboard.app import create_app
from harness.dashboard.control import _Own
from harness.dashboard.told import merged, told
from harness.findings import HealthState
from harness.following.lines import first_line
from harness.views import LiveFrame
from tests.dashboard_support import dashboard, post, settings_of
from tests.load_support import OK, Request, raw_server

FRAME = LiveFrame(
    run_id="r", at_ns=1, phase="measure", elapsed_s=3.0, total_s=12.0, offered_per_s=20.0, rate_per_s=19.5, in_flight=2,
    backlog=0, users=None, ok=50, failed=1, censored=0, errors=(("<script>\0", 1),), window_s=5.0, n=40, p50_s=0.01,
    p95_s=0.02, p99_s=0.03, n_split=30, health=HealthState.SUSPECT, doubts=("cpu is 85%",),
    stages=(("backlog", 0.001), ("connect", 0.001), ("upload", 0.002), ("queue", 0.0)),
)  # fmt: skip


# --- frames ------------------------------------------------------------------------------------------------


def test_a_frame_has_milliseconds_for_charts_and_words_for_people() -> None:
    found = told(FRAME)

    assert found["rows"]["latency"] == [["p50", 10.0], ["p95", 20.0], ["p99", 30.0]]
    assert found["texts"]["rate"] == "19.5/s"
    assert found["texts"]["left"] == "9 s left"
    assert found["share"] == 0.25
    assert found["errors"] == [["<script>⟨NUL⟩", "1"]]
    assert found["summary"] == "Measuring: 19.5/s, p95 20.0 ms, 1 failed."


def test_transfer_is_one_stage_and_what_took_nothing_is_left_out() -> None:
    assert merged(FRAME.stages) == [("backlog", 0.001), ("transfer", 0.003)]
    assert merged((("inference", 0.01), ("transfer", 0.03))) == [("transfer", 0.03), ("inference", 0.01)]
    assert merged((("connect", 0.0), ("inference", 0.01))) == [("inference", 0.01)]
    assert merged(()) == []


def test_a_frame_of_nothing_is_told_without_a_number() -> None:
    empty = replace(
        FRAME, phase="starting", elapsed_s=None, total_s=None, offered_per_s=None, rate_per_s=None, in_flight=None,
        backlog=None, n=0, p50_s=None, p95_s=None, p99_s=None, n_split=0, stages=(), errors=(), health=None, doubts=(),
    )  # fmt: skip
    found = told(empty)

    assert (found["t_s"], found["share"], found["texts"]["p95"], found["summary"]) == (None, None, "–", "Starting.")
    assert [found["texts"][name] for name in ("backlog", "n", "split")] == ["", "", ""]
    json.dumps(found, allow_nan=False)


# --- over HTTP ---------------------------------------------------------------------------------------------


async def answered(request: Request) -> bool:
    request.writer.write(OK)
    return True


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("live")
    with raw_server(answered) as server:
        (folder / "tiny.yaml").write_text(f"""
scenario: tiny
target: {server.url}
requests: [{{name: one, http: GET /}}]
load: {{rate: 40/s, warmup: 1s, duration: 120s}}
spans: {{source: none}}
""")
        with dashboard(folder / "runs", scenarios=folder) as client:
            yield client


def events(client: httpx.Client, run_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    with client.stream("GET", f"/api/live/{run_id}/events", timeout=60) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield name, json.loads(line.removeprefix("data: "))


def test_the_form_offers_the_scenarios(client: httpx.Client) -> None:
    answer = client.get("/live")

    assert answer.status_code == 200
    assert 'value="tiny.yaml"' in answer.text


def test_the_plan_is_shown_while_one_types(client: httpx.Client) -> None:
    good = post(client, "/api/runs/plan", {"scenario": "tiny.yaml", "rate": "10/s", "duration": "5s"}).json()
    wrong = post(client, "/api/runs/plan", {"scenario": "tiny.yaml", "rate": "10"}).json()

    assert good["line"].endswith("poisson 10/s, about 60 requests in 6 s")
    assert wrong == {"error": "Rate: '10' has no unit", "hint": "write 10/s or 10/min"}


@pytest.mark.parametrize(
    "content", [{}, {"scenario": 5}, {"scenario": "tiny.yaml", "out": "x"}, [], {"scenario": "x" * 400}]
)
def test_what_is_no_form_is_refused(client: httpx.Client, content: object) -> None:
    assert post(client, "/api/runs", content).status_code == 400


def test_without_the_token_nothing_is_started_or_stopped(client: httpx.Client) -> None:
    for path in ("/api/runs", "/api/runs/plan", "/api/runs/20261122T094451Z-x/stop"):
        assert client.post(path, json={"scenario": "tiny.yaml"}).status_code == 403


def test_before_another_host_the_plan_is_given_back(client: httpx.Client) -> None:
    answer = post(client, "/api/runs", {"scenario": "tiny.yaml", "target": "http://api.example"})

    assert answer.status_code == 409
    assert answer.json()["confirm"]["host"] == "api.example"


def test_a_target_that_does_not_answer_is_said_in_the_form(client: httpx.Client) -> None:
    answer = post(client, "/api/runs", {"scenario": "tiny.yaml", "target": "http://127.0.0.1:9"})

    assert answer.status_code == 400
    assert answer.json()["error"] == "nothing answers at http://127.0.0.1:9: connection refused"


@pytest.mark.parametrize("run_id", ["20261122T094451Z-absent", "%2e%2e", "x"])
def test_a_run_that_is_not_there_is_not_watched(client: httpx.Client, run_id: str) -> None:
    assert client.get(f"/live/{run_id}").status_code == 404
    assert client.get(f"/api/live/{run_id}/events").status_code == 404


def test_a_run_is_started_watched_by_two_and_stopped(client: httpx.Client) -> None:
    started = post(client, "/api/runs", {"scenario": "tiny.yaml"})
    assert started.status_code == 201, started.text
    run_id = started.json()["run_id"]

    again = post(client, "/api/runs", {"scenario": "tiny.yaml"})
    assert again.status_code == 400
    assert "still on" in again.json()["error"]
    assert run_id in client.get("/live").text
    page = client.get(f"/live/{run_id}").text
    assert 'id="stop"' in page
    assert re.search(r"<h1>(<bdi>)?tiny(</bdi>)?</h1>", page)
    assert "/s" in page.split("→")[0].split("<h1>")[1]

    other: list[str] = []
    watcher = threading.Thread(target=lambda: other.extend(name for name, _ in events(client, run_id)))
    watcher.start()
    seen: list[tuple[str, dict[str, Any]]] = []
    for name, content in events(client, run_id):
        seen.append((name, content))
        if name == "frame" and content["rows"]["latency"][1][1] is not None and len(seen) < 1000:
            post(client, f"/api/runs/{run_id}/stop", {})
            break
    for name, content in events(client, run_id):  # as a page that has lost its connection
        seen.append((name, content))
    watcher.join(60)

    names = [name for name, _ in seen]
    assert (names[0], names[-1], other[0], other[-1]) == ("past", "over", "past", "over")
    assert seen[-1][1] == {"phase": "interrupted", "url": f"/runs/{run_id}", "said": None}
    assert client.get(f"/live/{run_id}").headers["location"] == f"/runs/{run_id}"


def test_a_run_of_another_dashboard_is_told_apart(tmp_path: Path) -> None:
    """And who comes late is told what was asked for."""
    runs = tmp_path / "runs"
    folder = runs / "20261122T094451Z-other"
    folder.mkdir(parents=True)
    said = {"phase": "measure", "elapsed_s": 1.5, "total_s": 60.0, "rate_per_s": 39.0}
    lines = [first_line(folder.name, 1), said]
    (folder / "live.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with dashboard(runs) as own:
        page = own.get(f"/live/{folder.name}").text
        name, past = next(events(own, folder.name))

    assert 'id="stop"' not in page
    assert f"kill -INT {os.getpid()}" in page
    assert (name, past["own"]) == ("past", False)
    assert [(point["t_s"], point["rate_per_s"]) for point in past["points"]] == [(1.5, 39.0)]


def test_the_end_of_the_dashboard_ends_its_run_as_ctrl_c_does(tmp_path: Path) -> None:
    ends = "import signal, sys; signal.signal(signal.SIGINT, lambda *_: sys.exit(7)); print(flush=True); signal.pause()"
    child = subprocess.Popen([sys.executable, "-c", ends], stdout=subprocess.PIPE)
    assert child.stdout is not None

    async def served() -> None:
        app = create_app(settings_of(tmp_path / "runs"))
        async with app.router.lifespan_context(app):
            await app.state.loading
            app.state.control._own = _Own(child, (tmp_path / "printed").open("w+b"), "tiny")

    with child.stdout:
        child.stdout.readline()
        asyncio.run(served())

    assert child.poll() == 7
