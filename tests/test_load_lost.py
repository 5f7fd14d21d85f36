"""Workers that talk nonsense, hang or come late: the run goes on without them, or with what they really do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from harness.load.launch import start
from harness.load.order import Crew, Order
from tests.conftest import free_port
from tests.load_support import a_scenario, in_child, ran, raw_server
from tests.test_load_master import TOKEN, a_worker, answer_after_a_while, await_that, flushed

BROKEN = """
import os, sys
import harness.load.worker
from harness.load.recruit import Recruit, serve

hand_over = Recruit._hand_over
readings = [{"name": 5, "value": "x", "suspect": {}}]
Recruit._hand_over = lambda self, end: hand_over(self, {**end, "readings": readings, "ended_ns": None})
os._exit(serve(sys.argv[1]))
"""


def test_a_worker_whose_last_word_is_nonsense_is_lost_and_the_other_is_reported(tmp_path: Path) -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"
    with raw_server(answer_after_a_while) as server:
        order = Order(a_scenario(server.url, rate=40.0, duration_s=1.0), str(tmp_path), "run-1")
        master = start(order, Crew(expected=2, port=port, token=TOKEN))
        workers = [a_worker(port, tmp_path, TOKEN), subprocess.Popen(
            [sys.executable, "-c", BROKEN, address], env={**os.environ, "MLHARNESS_TOKEN": TOKEN},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )]  # fmt: skip
        done = ran(master, tmp_path)
        for worker in workers:
            worker.communicate(timeout=20)

    (warning,) = [line for line in done.lines if line["kind"] == "warning"]
    states = {w["state"]: w["worker"] for w in done.end["workers"]}
    assert (warning["code"], warning["invalidates"]) == ("lost_worker", True)
    assert "its last line cannot be used: " in warning["message"]
    assert set(states) == {"finished", "lost"}
    assert {reading["worker"] for reading in done.end["readings"]} == {states["finished"]}
    assert set(done.samples["worker"]) == {"0", "1"}


START = """
import locust, time
from harness.load.start import await_instant

def apart(in_s, offset_ns, bound_ns):
    wanted = time.perf_counter_ns() + round(in_s * 1e9)
    t0 = await_instant(time.time_ns() + round(in_s * 1e9) - offset_ns, offset_ns, bound_ns)
    return (t0 - wanted) / 1e9, (time.perf_counter_ns() - wanted) / 1e9

print(*apart(0.2, 0, 0), *apart(0.2, 3_000_000_000, 1000), *apart(-0.5, 0, 1000), await_instant("x", 0, 0))
"""


def test_all_begin_at_the_instant_of_the_master_even_who_comes_late() -> None:
    *numbers, nonsense = in_child(START).split()
    (now, woke), (far, woke_far), (late, woke_late) = zip(*[iter(map(float, numbers))] * 2, strict=True)

    assert max(abs(now), abs(far), abs(late)) < 0.005
    assert min(woke, woke_far) > -0.03  # waited for it, on a clock 3 s ahead too
    assert woke_late >= 0.5
    assert nonsense == "None"


HANGING = """
import pathlib, time
from locust import task
from harness.load import HarnessUser

class Hanging(HarnessUser):
    @task
    def post(self):
        self.client.get("/ok", name="ok")
        if self.environment.runner and pathlib.Path({flag!r}).exists():
            pathlib.Path({flag!r}).unlink()
            while True:
                pass
"""


def test_a_worker_that_hangs_is_lost_when_the_run_is_to_end(tmp_path: Path) -> None:
    flag = tmp_path / "hang"
    (tmp_path / "flow.py").write_text(HANGING.format(flag=str(flag)))
    with raw_server(answer_after_a_while) as server:
        users = f"{tmp_path}/flow.py:Hanging"
        order = Order(a_scenario(server.url, users=users, rate=20.0, duration_s=60.0), str(tmp_path), "run-1")
        master = start(order, Crew(processes=2))
        await_that(flushed(tmp_path, 2))
        flag.touch()
        await_that(lambda: not flag.exists())
        master.request_stop()
        done = ran(master, tmp_path)

    (warning,) = [line for line in done.lines if line["kind"] == "warning"]
    assert warning["code"] == "lost_worker"
    assert "the generator is blocked" in warning["message"]
    assert "(post in flow.py, line " in warning["message"]
    assert sorted(w["state"] for w in done.end["workers"]) == ["finished", "lost"]
