"""The load process as its parent sees it: stopped, orphaned, killed, given a user class."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
from load_support import OK, Request, a_request, a_scenario, in_child, misbehave, ran, raw_server, run, samples_in

from harness.errors import NothingMeasured
from harness.load.launch import LoadProcess, preflight, start
from harness.load.order import Order
from harness.model import TlsSpec

USERS = """
from harness.load import HarnessUser
from locust import events, task

print("hello from user code")

@events.request.add_listener
def on_request(name, response_time, **_):
    assert response_time >= 0

class Flow(HarnessUser):
    def on_start(self):
        self.client.post("/login", json={"user": "u"})

    @task(3)
    def two_steps(self):
        first = self.client.get("/ok?id=1", params={"q": "a b"}, name="first")
        assert first.ok and first.status_code == 200 and first.text == "ok", first
        self.client.post("/gzip", files={"image": ("a.png", b"png")}, data={"k": "v"}).json()["n"] / 3

    @task
    def fails(self):
        raise ValueError("no luck")
"""


async def hang_or_ok(request: Request) -> bool:
    if request.path == "/hang":
        await asyncio.sleep(30)
    request.writer.write(OK)
    return True


def wait_until_sending(process: LoadProcess) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for line in process.events(0.5):
            assert line["kind"] == "progress", line
            if line["sent"] > 5:
                return
    pytest.fail("the load process never sent anything")


def test_a_stop_ends_the_run_early_and_forgets_nothing(tmp_path: Path) -> None:
    with raw_server(hang_or_ok) as server:
        kinds = (a_request("ok"), a_request("hang", "/hang", timeout_s=60.0))
        process = start(Order(a_scenario(server.url, *kinds, rate=20.0, duration_s=60.0), str(tmp_path), "run-1"))
        wait_until_sending(process)
        asked = time.monotonic()
        process.request_stop()
        outcome = ran(process, tmp_path)
        took_s = time.monotonic() - asked

    end, s = outcome.end, outcome.samples
    assert outcome.exit_code == 0
    assert end["interrupted"] is True
    assert took_s < 10
    assert end["scheduled"] == len(s) == end["ok"] + end["failed"] + end["censored"] < 1000
    assert set(s[s["name"] == "hang"]["censored"]) == {True}
    assert set(s[s["name"] == "ok"]["censored"]) == {False}


def test_the_death_of_the_parent_ends_the_load(tmp_path: Path) -> None:
    code = """
        import sys, time
        from harness.load.launch import start
        from harness.load.order import Order
        from load_support import a_scenario
        process = start(Order(a_scenario(sys.argv[1], rate=20.0, duration_s=600.0), sys.argv[2], "run-1"))
        while not any(line["kind"] == "progress" for line in process.events(1.0)): pass
        print(process.pid, flush=True)
        time.sleep(600)
    """
    with raw_server(hang_or_ok) as server:
        parent = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), server.url, str(tmp_path)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent,
        )
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        parent.stdout.close()
        deadline = time.monotonic() + 15
        while _alive(child) and time.monotonic() < deadline:
            time.sleep(0.05)

    assert not _alive(child)
    assert len(samples_in(tmp_path)) > 0


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_load_process_is_reported_and_what_it_flushed_can_be_read(tmp_path: Path) -> None:
    with raw_server(hang_or_ok) as server:
        process = start(Order(a_scenario(server.url, rate=50.0, duration_s=60.0), str(tmp_path), "run-1"))
        wait_until_sending(process)
        time.sleep(1.2)  # rows reach the disk once a second
        os.kill(process.pid, signal.SIGKILL)
        outcome = ran(process, tmp_path)

    assert outcome.lines[-1]["kind"] == "failed"
    assert "was killed by SIGKILL" in outcome.lines[-1]["message"]
    assert len(outcome.samples) > 0


def test_each_arrival_runs_one_task_of_a_user_class(tmp_path: Path) -> None:
    flow = tmp_path / "flow.py"
    flow.write_text(USERS)
    with raw_server(misbehave) as server:
        outcome = run(a_scenario(server.url, users=f"{flow}:Flow", rate=40.0, duration_s=1.0), tmp_path)

    s = outcome.samples
    first, second, failed = (s[s["name"] == name] for name in ("first", "/gzip", "fails"))
    assert outcome.end["scheduled"] == 40
    assert len(first) + len(failed) == 40
    assert 20 <= len(first) <= 38  # three of four on average
    assert len(second) == len(first)
    assert sorted([*first["request_id"], *failed["request_id"]]) == list(range(40))
    assert (second["request_id"] >= 40).all()
    assert (second["scheduled_ns"] == second["start_ns"]).all()  # no backlog of its own
    assert set(failed["error"]) == {"task error: ValueError"}
    assert set(s[s["name"] == "/login"]["phase"]) == {"warmup"}
    assert s["request_id"].is_unique
    assert outcome.end["task_errors"] == {"ValueError: no luck": len(failed)}
    warnings = [line for line in outcome.lines if line["kind"] == "warning"]
    assert len(warnings) == 1
    assert "ValueError: no luck" in warnings[0]["message"]
    assert "hello from user code" in outcome.log
    upload = next(r for r in server.requests if r.path == "/gzip")
    assert b'filename="a.png"\r\nContent-Type: image/png\r\n\r\npng\r\n' in upload.body
    assert next(r for r in server.requests if r.path.startswith("/ok")).path == "/ok?id=1&q=a+b"


def test_a_user_file_that_cannot_be_imported_is_refused(tmp_path: Path) -> None:
    flow = tmp_path / "flow.py"
    flow.write_text("\nimport no_such_module")
    outcome = run(a_scenario("http://127.0.0.1:9", users=f"{flow}:Flow"), tmp_path)

    assert outcome.exit_code == 2
    assert [line["kind"] for line in outcome.lines] == ["failed"]
    assert outcome.lines[0]["message"].startswith(f"{flow}:2: cannot import it: ModuleNotFoundError")
    assert "shows the same error" in outcome.lines[0]["hint"]


def test_a_user_class_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    flow = tmp_path / "flow.py"
    flow.write_text(USERS + "\nclass NoUser: pass\nclass NoTasks(HarnessUser): pass\n")
    code = """
        import sys
        import locust
        from harness.errors import HarnessError
        from harness.load.user_file import import_users
        for name in ("Flwo", "NoUser", "NoTasks"):
            try: import_users(f"{sys.argv[1]}:{name}", closed=False)
            except HarnessError as error: print(error, "|", error.hint)
    """
    said = in_child(textwrap.dedent(code), str(flow)).splitlines()
    misspelt, no_user, no_tasks = [line for line in said if "|" in line]

    assert "has no class 'Flwo' | did you mean 'Flow'?" in misspelt
    assert "is no HarnessUser, HttpUser or FastHttpUser | derive it" in no_user
    assert "has no tasks | mark" in no_tasks


def test_a_user_class_runs_under_plain_locust(tmp_path: Path) -> None:
    flow = tmp_path / "flow.py"
    flow.write_text(USERS.replace('raise ValueError("no luck")', "pass").replace("class Flow", "class PlainFlow"))
    with raw_server(misbehave) as server:
        options = ["--headless", "--users", "2", "--run-time", "3s", "--only-summary", "--host", server.url]
        done = subprocess.run(
            [sys.executable, "-m", "locust", "-f", str(flow), *options], capture_output=True, text=True, timeout=60
        )

    assert done.returncode == 0, done.stderr
    assert "first" in done.stderr, done.stderr
    assert len(server.requests) > 10


def test_the_parents_side_is_free_of_gevent() -> None:
    code = "import sys, harness.load, harness.load.launch; print(sorted({'gevent', 'locust'} & set(sys.modules)))"

    assert in_child(code).strip() == "[]"


def test_preflight_says_what_does_not_answer() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(NothingMeasured, match=f"nothing answers at {url}: connection refused") as refused:
            preflight(url)

    assert refused.value.hint


def test_preflight_is_content_with_a_listening_socket() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        preflight(f"http://127.0.0.1:{listening.getsockname()[1]}")


def test_preflight_names_a_host_that_is_not_known() -> None:
    with pytest.raises(NothingMeasured, match=r"'no-such-host\.invalid' is not known"):
        preflight("http://no-such-host.invalid")


def test_what_tls_needs_is_read_before_anything_is_sent(tmp_path: Path) -> None:
    ca = str(tmp_path / "no-such-ca.pem")
    outcome = run(replace(a_scenario("https://127.0.0.1:9"), tls=TlsSpec(ca=ca)), tmp_path)

    assert outcome.exit_code == 2
    assert outcome.lines[0]["message"] == f"cannot read the certificate authority {ca}: no such file or directory"
    assert len(outcome.samples) == 0
