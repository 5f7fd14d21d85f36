"""A master and its workers: shares, samples, losses, strangers. Real processes on loopback, all runs side by side."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest

from harness.load.launch import LoadProcess, start
from harness.load.order import Crew, Order
from harness.model import Arrivals, BodySpec
from tests.cli import HARNESS
from tests.conftest import free_port
from tests.load_support import OK, Ran, Request, a_request, a_scenario, in_child, ran, raw_server, samples_in

DELAY_S = 0.03
TOKEN = "not-for-strangers"  # noqa: S105 - made up


async def answer_after_a_while(request: Request) -> bool:
    await asyncio.sleep(DELAY_S)
    request.writer.write(OK)
    return True


def flushed(folder: Path, workers: int) -> Callable[[], bool]:
    """Whether that many workers have samples on disk."""
    return lambda: sum(path.stat().st_size > 4000 for path in folder.glob("samples-*.arrows")) == workers


def await_that(condition: Callable[[], bool], within_s: float = 40.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def a_worker(port: int, cwd: Path, token: str) -> subprocess.Popen[str]:
    """`harness worker` as on a machine that has none of the files."""
    return subprocess.Popen(
        [*HARNESS, "worker", "--master", f"127.0.0.1:{port}", "--token", token],
        cwd=cwd, env={**os.environ, "MLHARNESS_FETCH_ALL": "1"}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@dataclass
class Runs:
    one: Ran
    two: Ran
    wounded: Ran
    lost_pid: int
    beheaded: Ran
    orphans: list[psutil.Process]
    remote: Ran
    remote_worker: subprocess.CompletedProcess[str]
    stranger: subprocess.CompletedProcess[str]
    bodies: set[bytes]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    new = tmp_path_factory.mktemp
    with raw_server(answer_after_a_while) as server:
        short = a_scenario(server.url, rate=60.0, duration_s=3.0)
        short = replace(short, load=replace(short.load, arrivals=Arrivals.POISSON))
        long = a_scenario(server.url, rate=40.0, duration_s=30.0)

        def begin(scenario: Any, **crew: Any) -> tuple[LoadProcess, Path]:
            folder = new("run")
            return start(Order(scenario, str(folder), "run-1"), Crew(**crew)), folder

        wounded, beheaded = begin(long, processes=2), begin(long, processes=2)
        payload = new("payloads") / "one.bin"
        payload.write_bytes(b"a payload of the master's machine")
        body = a_request("post", "/post", "POST", body=BodySpec(body=(str(payload),)))
        port = free_port()
        remote = begin(a_scenario(server.url, body, rate=40.0, duration_s=30.0), expected=1, port=port, token=TOKEN)
        workers = [a_worker(port, new("elsewhere"), token) for token in (TOKEN, "a guess")]

        await_that(flushed(wounded[1], 2))
        lost = psutil.Process(wounded[0].pid).children()[1]
        lost.kill()
        await_that(flushed(beheaded[1], 2))
        orphans = psutil.Process(beheaded[0].pid).children()
        os.kill(beheaded[0].pid, signal.SIGKILL)
        await_that(flushed(remote[1], 1))
        for process, _ in (wounded, remote):
            process.request_stop()
        one, two = (begin(short, processes=n) for n in (1, 2))
        ended = {name: ran(*pair) for name, pair in (("wounded", wounded), ("beheaded", beheaded), ("remote", remote))}
        beheaded[0].wait_for_company(10)
        ended["beheaded"].samples = samples_in(beheaded[1])
        spoken = [subprocess.CompletedProcess([], w.wait(20), *w.communicate()) for w in workers]
        bodies = {request.body for request in server.requests if request.path == "/post"}
        yield Runs(ran(*one), ran(*two), lost_pid=lost.pid, orphans=orphans, **ended, remote_worker=spoken[0],
                   stranger=spoken[1], bodies=bodies)  # fmt: skip


def test_two_workers_send_disjoint_shares_of_the_whole_schedule(runs: Runs) -> None:
    ids = {name: set(rows["request_id"]) for name, rows in runs.two.samples.groupby("worker")}

    assert set(ids) == {"0", "1"}
    assert ids["0"] & ids["1"] == set()
    assert ids["0"] | ids["1"] == set(runs.one.samples["request_id"])


def test_two_workers_begin_at_the_same_instant(runs: Runs) -> None:
    single = runs.one.samples.set_index("request_id")["scheduled_ns"]
    both = runs.two.samples.set_index("request_id")
    apart = (both["scheduled_ns"] - both["scheduled_ns"].min()) - (single - single.min())

    assert apart.abs().max() < 1e6  # each took the instant of the master, however late it woke up


def median_interval(samples: pd.DataFrame) -> tuple[float, float]:
    """Order statistics that hold the median with 99.9 % confidence: ranks n/2 -+ 3.29 sqrt(n)/2."""
    latency = np.sort((samples["done_ns"] - samples["scheduled_ns"]).to_numpy(dtype=float) / 1e9)
    n = len(latency)
    half = 3.29 * np.sqrt(n) / 2
    return float(latency[int(n / 2 - half)]), float(latency[int(np.ceil(n / 2 + half))])


def test_two_workers_measure_what_one_measures(runs: Runs) -> None:
    (low_1, high_1), (low_2, high_2) = median_interval(runs.one.samples), median_interval(runs.two.samples)

    assert max(low_1, low_2) <= min(high_1, high_2) + 0.01
    assert min(low_1, low_2) >= DELAY_S


def test_the_end_of_all_workers_is_one_line(runs: Runs) -> None:
    end = runs.two.end

    assert end["ok"] == len(runs.two.samples) == runs.one.end["ok"]
    assert {reading["worker"] for reading in end["readings"]} == {"0", "1"}
    assert [(w["worker"], w["state"]) for w in end["workers"]] == [("0", "finished"), ("1", "finished")]
    assert all(abs(w["clock_offset_s"]) <= w["clock_bound_s"] for w in end["workers"])  # it is one clock


def test_a_killed_worker_is_named_and_the_other_goes_on(runs: Runs) -> None:
    (warning,) = [line for line in runs.wounded.lines if line["kind"] == "warning"]

    assert (warning["code"], warning["invalidates"]) == ("lost_worker", True)
    assert f"pid {runs.lost_pid} on " in warning["message"]
    assert sorted(w["state"] for w in runs.wounded.end["workers"]) == ["finished", "lost"]
    assert runs.wounded.exit_code == 0


def test_samples_of_a_killed_worker_are_kept(runs: Runs) -> None:
    assert set(runs.wounded.samples["worker"]) == {"0", "1"}


def test_workers_whose_master_was_killed_end_and_leave_their_samples(runs: Runs) -> None:
    assert runs.beheaded.lines[-1]["kind"] == "failed"
    assert "killed by SIGKILL" in runs.beheaded.lines[-1]["message"]
    assert not any(orphan.is_running() for orphan in runs.orphans)
    assert set(runs.beheaded.samples["worker"]) == {"0", "1"}


def test_a_worker_elsewhere_gets_the_files_it_lacks_and_sends_its_samples(runs: Runs) -> None:
    assert runs.bodies == {b"a payload of the master's machine"}
    assert len(runs.remote.samples) == runs.remote.end["sent"] > 20
    assert set(runs.remote.samples["worker"]) == {"0"}


def test_a_worker_says_how_the_run_ended(runs: Runs) -> None:
    assert runs.remote_worker.returncode == 0
    assert "the run is over: " in runs.remote_worker.stderr
    assert runs.remote_worker.stdout == ""


def test_a_stop_reaches_the_workers(runs: Runs) -> None:
    assert runs.remote.end["interrupted"] is True
    assert runs.remote.end["scheduled"] < 1200


def test_a_worker_with_another_token_is_refused_in_words(runs: Runs) -> None:
    assert runs.stranger.returncode == 2
    assert "knows another token" in runs.stranger.stderr
    assert "Traceback" not in runs.stranger.stderr


def test_workers_that_do_not_come_end_the_wait(tmp_path: Path) -> None:
    order = Order(a_scenario("http://127.0.0.1:1"), str(tmp_path), "run-1")

    lines = ran(start(order, Crew(expected=2, port=0, max_wait_s=0.3)), tmp_path)

    assert lines.exit_code == 3
    assert lines.lines[-1]["message"] == "0 of 2 workers came within 0.3 s"
    assert "harness worker --master HOST:" in lines.lines[-1]["hint"]


def test_a_taken_address_is_refused_before_anyone_waits(tmp_path: Path) -> None:
    order = Order(a_scenario("http://127.0.0.1:1"), str(tmp_path), "run-1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        lines = ran(start(order, Crew(expected=1, port=port)), tmp_path)

    assert lines.exit_code == 2
    assert lines.lines[-1]["message"] == f"the master cannot listen on 127.0.0.1:{port}: address already in use"
    assert "--bind" in lines.lines[-1]["hint"]


HOSTILE = """
import locust, gevent, msgpack, json
import zmq.green as zmq
from locust.env import Environment
from harness.load.port import Master

master = Master(Environment(), "127.0.0.1", 0)
heard = []
master.listen("ml_hello", lambda who, fields: heard.append((who, fields)), strangers=True)
master.listen("ml_samples", lambda who, fields: heard.append("a stranger's samples"))

def peer(name):
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.setsockopt(zmq.IDENTITY, name)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(f"tcp://127.0.0.1:{master.server.port}")
    return socket

bad = peer(b"bad")
pack = msgpack.packb
for frame in (b"", b"\\xc1", b"\\xff" * 1000, b"\\x91" * 100000, pack(7), pack([]), pack(["client_ready", None]),
              pack([["x"], {}, "bad"]), pack(["ml_hello", [1], "bad"]), pack(["ml_hello", {}, "someone else"]),
              pack(["client_ready", 5, "bad"]), pack(["heartbeat", None, "bad"]), pack(["heartbeat", {}, "bad"]),
              pack(["locustfile", {}, "bad"]), pack(["stats", 1, "bad"]), pack(["logs", None, "bad"]),
              pack(["exception", {}, "bad"]), pack(["ml_samples", {"number": 0}, "bad"]), pack(["spawning", 1, "bad"]),
              pack([{"__datetime__": 1, "as_str": "x"}, None, "bad"])):
    bad.send(frame)
bad.send_multipart([b"a", b"b", b"c"])
gevent.sleep(0.3)
huge = peer(b"huge")
huge.send(pack(["ml_hello", {"x": b"y" * (9 << 20)}, "huge"]))
raw = gevent.socket.create_connection(("127.0.0.1", master.server.port))
raw.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n" + bytes(range(256)))
good = peer(b"good")
good.send(pack(["ml_hello", {"n": 1}, "good"]))
gevent.sleep(0.7)
print(json.dumps(heard))
"""


def test_no_message_of_a_stranger_stops_the_master() -> None:
    said = in_child(HOSTILE)

    assert said.strip() == '[["good", {"n": 1}]]'


def test_a_worker_without_a_master_gives_up_with_one_sentence(tmp_path: Path) -> None:
    code = "import harness.load.worker; from harness.load import recruit; recruit.CONNECT_S = 0.3; "
    code += f"import os; os._exit(recruit.serve('127.0.0.1:{free_port()}'))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, cwd=tmp_path)

    assert done.returncode == 3
    assert "error: no master answers at 127.0.0.1:" in done.stderr
    assert "Traceback" not in done.stderr
