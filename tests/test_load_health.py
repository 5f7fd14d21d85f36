"""The generator about itself: bounded histograms, what the machine took away, and the whole watch in a child."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from load_support import a_scenario, in_child, misbehave, ran, raw_server

from harness.analysis.health import judge
from harness.findings import HealthState, Reading, Verdict
from harness.gate import Judged, judge_run
from harness.load import machine
from harness.load.histogram import Histogram
from harness.load.launch import start
from harness.load.order import Order

# --- the histogram -----------------------------------------------------------------------------------------


def histogram(*values: float) -> Histogram:
    counted = Histogram()
    counted.add(np.array(values, dtype=np.float32))
    return counted


@given(st.lists(st.floats(1e-6, 1e4), min_size=1, max_size=200), st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_at_most_one_percent_off(values: list[float], q: float) -> None:
    exact = sorted(values)[max(1, int(np.ceil(q * len(values)))) - 1]

    assert histogram(*values).quantile(q) == pytest.approx(exact, rel=0.01)


@given(st.lists(st.lists(st.floats(0, 1e6), max_size=20), min_size=1, max_size=5))
def test_values_counted_in_parts_are_counted_as_if_at_once(parts: list[list[float]]) -> None:
    whole, piecewise = histogram(*itertools.chain(*parts)), Histogram()
    for part in parts:
        piecewise.add(np.array(part, dtype=np.float32))

    assert [piecewise.quantile(q) for q in (0.1, 0.5, 1.0)] == [whole.quantile(q) for q in (0.1, 0.5, 1.0)]
    assert (piecewise.n, piecewise.largest_s) == (whole.n, whole.largest_s)


def test_nothing_has_no_quantile_and_no_delay_is_zero() -> None:
    assert histogram().quantile(0.5) is None
    assert histogram().largest_s is None
    assert histogram(0.0, -0.001, 5e-8).quantile(1.0) == 0.0


def test_the_largest_is_kept_as_it_was_even_beyond_the_last_bin() -> None:
    counted = histogram(0.25, 3e5)

    assert counted.largest_s == np.float32(3e5)
    assert counted.quantile(0.5) == pytest.approx(0.25, rel=0.01)
    assert 1e5 <= (counted.quantile(1.0) or 0) <= 3e5


# --- the machine -------------------------------------------------------------------------------------------


def a_machine(root: Path, stat: str, cgroup: str, **stats: str) -> machine.Machine:
    """A moment of a machine whose /proc/stat begins with `stat`; `stats` are cpu.stat files by their folder."""
    proc, cgroups = root / "proc", root / "cgroup"
    (proc / "self").mkdir(parents=True, exist_ok=True)
    (proc / "stat").write_text(f"{stat}\ncpu0 1 2 3\nintr 5\n")
    (proc / "self" / "cgroup").write_text(cgroup)
    for folder, text in stats.items():
        file = cgroups / folder.replace("__", "/") / "cpu.stat"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return machine.look(proc, cgroups, clock=lambda: 50.0)


def moments(tmp_path: Path, before: dict[str, Any], after: dict[str, Any]) -> tuple[machine.Machine, machine.Machine]:
    """Two moments, ten seconds apart."""
    first, second = (a_machine(tmp_path, **fields) for fields in (before, after))
    return first, machine.Machine(first.at_s + 10.0, second.total, second.idle, second.stolen, second.withheld_s)


def test_stolen_and_busy_time_are_shares_of_all_cpu_time(tmp_path: Path) -> None:
    # 100 ticks pass: 30 user, 10 system, 40 idle, 5 iowait, 15 stolen; the guest's ticks are among the user's.
    pair = moments(
        tmp_path,
        {"stat": "cpu  1000 0 500 8000 100 0 0 200 50 0", "cgroup": ""},
        {"stat": "cpu  1030 0 510 8040 105 0 0 215 70 0", "cgroup": ""},
    )

    assert machine.stolen_share(*pair) == pytest.approx(0.15)
    assert machine.busy_share(*pair) == pytest.approx(0.55)
    assert machine.throttled_share(*pair) is None


@pytest.mark.parametrize(
    ("cgroup", "folder", "before", "after"),
    [
        ("0::/pod/box\n", "pod__box", "usage_usec 5\nthrottled_usec 1000000", "usage_usec 9\nthrottled_usec 3500000"),
        (
            "4:memory:/x\n3:cpu,cpuacct:/box\n0::/\n",
            "cpu,cpuacct__box",
            "throttled_time 0",
            "throttled_time 2500000000",
        ),
        ("2:cpu:/docker/of-the-host\n", "cpu", "throttled_time 0", "throttled_time 2500000000"),
        ("0::/pod/box\n", "pod", "throttled_usec 0", "throttled_usec 2500000"),  # the limit is around, not at, the box
    ],
    ids=["version 2", "version 1", "a container that sees the host's path", "a limit further up"],
)
def test_time_withheld_by_a_cpu_limit_is_a_share_of_the_time_that_passed(
    tmp_path: Path, cgroup: str, folder: str, before: str, after: str
) -> None:
    (tmp_path / "cgroup" / "pod" / "box").mkdir(parents=True)
    same = {"stat": "cpu 1 1 1 1 1 1 1 1", "cgroup": cgroup}

    pair = moments(tmp_path, {**same, folder: before}, {**same, folder: after})

    assert machine.throttled_share(*pair) == pytest.approx(0.25)  # 2.5 s of 10 s


@pytest.mark.parametrize("stat", ["", "cpu", "cpu a b c d e f g h", "cpu 1 2 3", "intr 1 2 3 4 5 6 7 8"])
@pytest.mark.parametrize("cgroup", ["", ":::", "x", "0::/../..", "2:cpu:/a\x00b"])
def test_what_cannot_be_read_is_missing_not_zero(tmp_path: Path, stat: str, cgroup: str) -> None:
    seen = a_machine(tmp_path, stat, cgroup)

    assert (seen.total, seen.stolen, seen.withheld_s) == (None, None, ())
    assert machine.stolen_share(seen, seen) is machine.busy_share(seen, seen) is machine.throttled_share(seen, seen)
    assert machine.peak_memory_bytes(tmp_path) is None
    assert machine.descriptors_in_use(tmp_path) is None


def test_this_machine_can_be_looked_at() -> None:
    before = machine.look()
    until = time.perf_counter() + 0.05
    while time.perf_counter() < until:
        pass
    after = machine.look()

    assert 0 < (machine.busy_share(before, after) or 0) <= 1
    assert (machine.peak_memory_bytes() or 0) > 20e6  # numpy and pytest alone are more
    assert 0 < (machine.descriptors_in_use() or 0) < 1


# --- the watch ---------------------------------------------------------------------------------------------

WATCH = """
import locust, gevent, json, sys, time
from harness.load.health import Health
health = Health()
late = health.lateness_s.append  # whoever hands over arrivals may hold on to it
health.start()
"""
REPORT = """
health.stop()
readings = health.readings(drift_ns=-3_000, answers=200, kernel_stamped=150, worker="w1")
print(json.dumps({r["name"]: r for r in readings}))
"""


def watched(code: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(in_child(WATCH + code + REPORT))
    return found


@pytest.fixture(scope="module")
def busy() -> dict[str, dict[str, Any]]:
    """99 arrivals on time and one 0.7 s late, after a warm-up that was worse; and a hub that stood still for 0.3 s."""
    return watched("""
late(9.0)
gevent.sleep(0.1)
health.restart()
for _ in range(99): late(0.001)
late(0.7)
until = time.perf_counter() + 0.3
while time.perf_counter() < until: pass
gevent.sleep(0.1)
health.sessions = 12
""")


def test_every_reading_says_what_it_is_and_one_with_limits_what_to_do(busy: dict[str, dict[str, Any]]) -> None:
    for reading in busy.values():
        assert set(reading) == {
            "name", "value", "unit", "suspect", "invalid", "meaning", "advice", "absent", "worker"
        }  # fmt: skip
        assert reading["worker"] == "w1"
        assert reading["meaning"]
        assert bool(reading["advice"]) == (reading["invalid"] is not None)


def test_lateness_is_that_of_the_measured_phase(busy: dict[str, dict[str, Any]]) -> None:
    assert busy["lateness_p50"]["value"] == pytest.approx(0.001, rel=0.01)
    assert busy["lateness_p99"]["value"] == pytest.approx(0.001, rel=0.01)
    assert busy["lateness_max"]["value"] == pytest.approx(0.7)
    assert busy["lateness_max"]["value"] > busy["lateness_max"]["suspect"]


def test_a_hub_that_stands_still_is_seen(busy: dict[str, dict[str, Any]]) -> None:
    assert 0.25 < busy["hub_lag_max"]["value"] < 3
    assert 0.3 < busy["hub_held"]["value"] < 1  # 0.3 s of the 0.4 s


def test_a_freeze_that_lasts_to_the_end_is_seen() -> None:
    readings = watched("""
gevent.sleep(0.06)
until = time.perf_counter() + 0.6
while time.perf_counter() < until: pass
""")

    assert 0.5 < readings["hub_lag_max"]["value"] < 3


def test_counts_and_shares_are_those_given(busy: dict[str, dict[str, Any]]) -> None:
    assert busy["kernel_stamped"]["value"] == 0.75
    assert busy["clock_drift"]["value"] == 3e-6
    assert busy["sessions"]["value"] == 12
    assert 0 < busy["descriptors"]["value"] < 1
    assert 20e6 < busy["memory"]["value"] < 500e6


def test_in_a_closed_loop_lateness_is_absent_with_a_reason_and_the_first_stop_counts() -> None:
    # The second stop is after a drain: its idle waiting would thin out the CPU share of a phase that was all work.
    lateness = watched("""
gevent.sleep(0.06)
health.stop()
share = health._cpu_share
gevent.sleep(0.1)
health.stop()
assert health._cpu_share == share > 0
""")["lateness_p99"]

    assert lateness["value"] is None
    assert lateness["absent"] == "does not apply: a closed loop has no schedule"


def test_a_million_arrivals_take_no_more_memory_than_a_thousand() -> None:
    # What stays is asked of the allocator: an array of a million floats would be 4 MB.
    code = """
import tracemalloc
from array import array
second = array("f", [0.001] * 10_000)
tracemalloc.start()
def seconds(count):
    for _ in range(count):
        health.lateness_s.extend(second)
        health._count()
    return tracemalloc.get_traced_memory()[0]
few, many = seconds(5), seconds(100)
assert many - few < 100_000, (few, many)
assert health._late.n == 1_050_000
"""
    assert watched(code)["lateness_p99"]["value"] == pytest.approx(0.001, rel=0.01)


# --- a generator that is starved ---------------------------------------------------------------------------


def test_a_starved_generator_makes_its_run_invalid_and_says_so(tmp_path: Path) -> None:
    """100 arrivals a second for 2 s, and half a second of it the process may not run: a quarter of them are late."""
    with raw_server(misbehave) as server:
        process = start(Order(a_scenario(server.url, rate=100.0, duration_s=2.0), str(tmp_path), "run-1"))
        try:
            while not any(line["kind"] == "progress" and line["scheduled"] for line in process.events(0.5)):
                assert not process.over
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(0.5)
        finally:
            os.kill(process.pid, signal.SIGCONT)
        outcome = ran(process, tmp_path)

    health = judge([Reading(**reading) for reading in outcome.end["readings"]])

    assert health.state is HealthState.INVALID
    assert any(re.match(r"lateness_p99 is .*, beyond 50 ms .*: the generator was busy", r) for r in health.reasons)
    assert judge_run([], health, [], 200) == Judged(Verdict.INVALID, health.reasons)
    assert len(outcome.samples) == 200  # late, not lost
    late_s = (outcome.samples["done_ns"] - outcome.samples["scheduled_ns"]).max() / 1e9
    assert late_s > 0.3  # and the latency holds it
