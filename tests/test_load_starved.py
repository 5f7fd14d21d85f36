"""What a generator lacks that nobody hands it: descriptors and ports, and time in a load without a schedule."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from load_support import a_scenario, in_child, misbehave, ran, raw_server

from harness.analysis.health import judge
from harness.findings import HealthState, Reading
from harness.load.launch import start
from harness.load.order import Order
from harness.model import Arrivals, LoadProfile, Step

EXHAUSTED = """
import os, resource, types
from harness.load import machine
{size}
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
held = [os.open("/dev/null", os.O_RDONLY)]
assert 0.05 < machine.descriptors_in_use() < 0.5
try:
    while True:
        held.append(os.dup(held[0]))
except OSError:
    print(machine.descriptors_in_use())
"""
REFUSED = """
import json
from harness.load.health import Health
from harness.load.live import Live
live, health = Live(0), Health()
def failed(name):
    live.count(1, name, censored=False, kernel=False)
def reading():
    found = health.readings(0, 9, 9, out_of_resources=live.out_of_resources)
    return next(r for r in found if r["name"] == "out_of_resources")
before = reading()
for number in range(60):
    failed(f"client: {number}")
for name in ("timeout", "out of local ports", "out of file descriptors", "out of file descriptors"):
    failed(name)
print(json.dumps([before, reading()]))
"""


@pytest.mark.parametrize(
    "size", ["", "machine.os.stat = lambda _: types.SimpleNamespace(st_size=0)"], ids=["6.2", "old"]
)
def test_a_process_without_a_descriptor_left_knows_it(size: str) -> None:
    # Before Linux 6.2 they are counted by listing a folder, which takes one more.
    assert float(in_child(EXHAUSTED.replace("{size}", size))) == 1.0


def test_requests_for_which_there_was_no_descriptor_or_port_make_a_run_invalid() -> None:
    none, some = (judge([Reading(**found)]) for found in json.loads(in_child(REFUSED)))

    assert (none.state, none.readings[0].value) == (HealthState.HEALTHY, 0)
    assert (some.state, some.readings[0].value) == (HealthState.INVALID, 3)
    assert re.match(r"out_of_resources is 3 requests, beyond 0 requests .*: raise `ulimit -n`", some.reasons[0])


def test_a_freeze_of_a_closed_loop_is_seen_though_it_has_no_schedule(tmp_path: Path) -> None:
    load = LoadProfile(Arrivals.USERS, (Step(1, 2.0),), 0.0, 5.0, 7, (0.02, 0.02))
    with raw_server(misbehave) as server:
        process = start(Order(replace(a_scenario(server.url), load=load), str(tmp_path), "run-1"))
        try:
            while not any(line["kind"] == "progress" and line["sent"] for line in process.events(0.5)):
                assert not process.over
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(0.7)
        finally:
            os.kill(process.pid, signal.SIGCONT)
        outcome = ran(process, tmp_path)

    readings = {reading["name"]: Reading(**reading) for reading in outcome.end["readings"]}
    assert readings["lateness_max"].value is None
    assert (readings["hub_lag_max"].value or 0) > 0.6
    assert readings["hub_lag_max"].state in (HealthState.SUSPECT, HealthState.INVALID)
    assert readings["hub_held"].state is HealthState.INVALID  # 0.7 s of 2 s
