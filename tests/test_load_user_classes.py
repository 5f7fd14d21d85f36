"""User classes of a Python scenario as Locust runs them: task sets, hooks, options, and plain `locust -f`."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from load_support import OK, Request, a_scenario, misbehave, raw_server, run

from harness.model import Arrivals, LoadProfile, Step

STEPS = """
from harness.load import HarnessUser
from locust import SequentialTaskSet, constant, task

class Flow(HarnessUser):
    wait_time = constant(0.02)

    def on_start(self):
        self.client.post("/login")

    @task
    class InOrder(SequentialTaskSet):
        @task
        def first(self):
            self.client.get("/first")
        @task
        def second(self):
            self.client.get("/second")

    def on_stop(self):
        self.client.post("/logout")
"""


def test_in_a_closed_loop_locust_runs_task_sets_waits_and_hooks(tmp_path: Path) -> None:
    flow = tmp_path / "flow.py"
    flow.write_text(STEPS)
    with raw_server(misbehave) as server:
        steps = (Step(3, 0.5), Step(1, 0.5))
        scenario = replace(
            a_scenario(server.url, users=f"{flow}:Flow"), load=LoadProfile(Arrivals.USERS, steps, 0.0, 5.0, 7)
        )
        outcome = run(scenario, tmp_path)

    s = outcome.samples
    counts = s.groupby(["name", "phase"]).size()
    assert (counts["/login", "warmup"], counts["/logout", "drain"]) == (3, 3)
    assert 0 <= counts["/first", "measure"] - counts["/second", "measure"] <= 3
    logins = [r.connection for r in server.requests if r.path == "/login"]
    last = s[(s["step"] == 1) & (s["phase"] == "measure")]
    assert 5 <= len(last) <= 25  # one user left, a request each 20 ms at most
    assert len(set(logins)) == 3
    assert outcome.end["censored"] == 0


OPTIONS = """
from harness.load import HarnessUser
from locust import events, task

@events.init_command_line_parser.add_listener
def options(parser):
    parser.add_argument("--tenant", default="blue")
    parser.add_argument("--stage", env_var="OWN_STAGE", required={required})

class Flow(HarnessUser):
    @task
    def leave(self):
        options = self.environment.parsed_options
        self.client.get(f"/{{options.tenant}}/{{options.stage}}/{{options.run_time}}")
        self.environment.runner.quit()
"""


def test_options_of_the_file_have_their_defaults_and_user_code_can_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OWN_STAGE", "test")
    flow = tmp_path / "flow.py"
    flow.write_text(OPTIONS.format(required=True))
    with raw_server(misbehave) as server:
        outcome = run(a_scenario(server.url, users=f"{flow}:Flow", rate=10.0, duration_s=60.0), tmp_path)

    assert server.requests[0].path == "/blue/test/None"
    assert outcome.end["interrupted"] is True
    assert len(outcome.samples) < 100


def test_an_option_that_has_to_be_given_is_refused(tmp_path: Path) -> None:
    flow = tmp_path / "flow.py"
    flow.write_text(OPTIONS.format(required=True))
    outcome = run(a_scenario("http://127.0.0.1:9", users=f"{flow}:Flow"), tmp_path)

    assert outcome.exit_code == 2
    assert "has to be given" in outcome.lines[0]["message"]


PLAIN = """
from harness.load import HarnessUser
from locust import constant, events, task

fired = []
@events.request.add_listener
def on_request(name, exception, **_):
    fired.append((name, str(exception)))

@events.quitting.add_listener
def quitting(**_):
    print("FIRED", len(fired), {name for name in fired})

class Plain(HarnessUser):
    wait_time = constant(0.05)
    @task
    def flow(self):
        self.client.get("/ok", name="first")
        with self.client.get("/ok", catch_response=True, name="judged") as r:
            r.failure("not good")
"""


def test_under_plain_locust_its_statistics_and_listeners_count_each_request_once(tmp_path: Path) -> None:
    flow = tmp_path / "flow.py"
    flow.write_text(PLAIN)
    with raw_server(answer_ok) as server:
        options = ["--headless", "--users", "1", "--run-time", "3s", "--only-summary", "--stop-timeout", "5"]
        done = subprocess.run(
            [sys.executable, "-m", "locust", "-f", str(flow), *options, "--host", server.url],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    line = next(line for line in done.stdout.splitlines() if line.startswith("FIRED"))
    assert 0 <= len(server.requests) - int(line.split()[1]) <= 1  # the last one may be killed in flight
    assert len(server.requests) > 1
    assert "('judged', 'not good')" in line
    assert "('first', 'None')" in line


async def answer_ok(request: Request) -> bool:
    request.writer.write(OK)
    return True
