"""A generator that does not get its time must not give a verdict."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import psutil

from harness.load import null_server
from tests.cli import begin, end

SCENARIO = """
scenario: starved
target: {target}
requests: [{{name: small, http: GET /}}]
load: {{arrivals: constant, rate: 50/s, warmup: 0s, duration: 2s, drain: 2s}}
spans: {{source: none}}
slo: ["p50(latency) < 10s"]
"""


def load_process_of(command: int) -> psutil.Process:
    """The load process of a run, as soon as it is there."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        for child in psutil.Process(command).children(recursive=True):
            if "harness.load.worker" in " ".join(child.cmdline()):
                return child
        time.sleep(0.02)
    raise AssertionError("the run has no load process")


def starve(load: psutil.Process, over: threading.Event) -> None:
    """Stop it for 0.3 s of each second, until it is gone."""
    try:
        while not over.wait(0.7):
            os.kill(load.pid, signal.SIGSTOP)
            time.sleep(0.3)
            os.kill(load.pid, signal.SIGCONT)
    except ProcessLookupError:
        return


def test_a_run_whose_generator_is_starved_is_invalid_although_its_slo_holds(tmp_path: Path) -> None:
    with null_server.running() as server:
        path = tmp_path / "starved.yaml"
        path.write_text(SCENARIO.format(target=server.url))
        command = begin("run", path, "--json", "--out", tmp_path / "runs", cwd=tmp_path)
        over = threading.Event()
        starving = threading.Thread(target=starve, args=(load_process_of(command.pid), over))
        starving.start()
        try:
            ended = end(command)
        finally:
            over.set()
            starving.join()

    summary = json.loads(ended.stdout)
    assert ended.code == 3, ended.stderr
    assert summary["verdict"] == "invalid"
    assert summary["health"]["state"] == "invalid"
    assert any("lateness_p99" in reason for reason in summary["health"]["reasons"])
    assert summary["counts"]["ok"] == summary["counts"]["scheduled"] == 100
