"""What the harness takes from a machine it shares with the service: `harness run` at 100 requests a second.

    python bench/frugal.py [--rounds 1] [--seconds 15]

An instrumented FastAPI service exports its spans to the run. CPU of the load process, the span receiver and the
command line, from the first arrival to the last answer, in % of a core; start-up and analysis are printed beside it.
Standard error is a terminal, so the live bar is paid for, too.
"""

from __future__ import annotations

import json
import os
import pty
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from support import cores, servers, table
from support.meter import Meter

RATE = 100
MOST = 0.10
SCENARIO = """
scenario: frugal
target: {target}
requests:
  - name: small
    http: POST /
    json: {{document: "a small request, about as long as what a client sends to ask", page: 1}}
load: {{arrivals: poisson, rate: {rate}/s, warmup: 1s, duration: {seconds:g}s}}
spans: {{listen: {listen}}}
"""
PARTS = {"load": "harness.load.worker", "receiver": "harness.spans.receiver"}


def children(cli: subprocess.Popen[bytes]) -> dict[str, int]:
    """The pids of the run's own processes, once they are there."""
    until = time.monotonic() + 30
    while time.monotonic() < until and cli.poll() is None:
        found = {"command line": cli.pid}
        for child in psutil.Process(cli.pid).children(recursive=True):
            line = " ".join(child.cmdline())
            found |= {name: child.pid for name, module in PARTS.items() if module in line}
        if len(found) == 1 + len(PARTS):
            return found
        time.sleep(0.02)
    raise SystemExit("the run did not start its processes")


def terminal() -> tuple[int, int]:
    """The two ends of a pseudo-terminal; what is written to it is read and dropped."""
    near, far = pty.openpty()

    def drain() -> None:
        while True:
            try:
                os.read(near, 1 << 16)
            except OSError:
                return

    threading.Thread(target=drain, daemon=True).start()
    return near, far


def one_run(target: str, listen: str, seconds: float) -> dict[str, float]:
    """Name of a process -> CPU as a share of a core while the load was on; "start-up" and "analysis" in CPU seconds."""
    near, far = terminal()
    with tempfile.TemporaryDirectory(prefix="bench-frugal-") as folder:
        path = Path(folder) / "frugal.yaml"
        path.write_text(SCENARIO.format(target=target, rate=RATE, seconds=seconds, listen=listen))
        command = [sys.executable, "-m", "harness", "run", str(path), "--out", f"{folder}/runs"]
        cli = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=far, start_new_session=True)
        try:
            with Meter(children(cli)) as meter:
                cli.wait(seconds + 90)
        finally:
            cores.stop(cli)
            os.close(far)
            os.close(near)
        (run_json,) = Path(folder).glob("runs/*/run.json")
        record = json.loads(run_json.read_text())
        (summary_json,) = Path(folder).glob("runs/*/summary.json")
        counts = json.loads(summary_json.read_text())["counts"]
    assert counts["ok"] == counts["scheduled"] == counts["split"]["marks"], counts
    load = record["load"]
    begun, ended = load["started_ns"], load["ended_ns"]
    found = {name: meter.cpu_s(name, begun, ended) / ((ended - begun) / 1e9) for name in (*PARTS, "command line")}
    last = time.time_ns()
    found["start-up"] = sum(meter.total_s(name, until_ns=begun) for name in (*PARTS, "command line"))
    found["analysis"] = sum(meter.cpu_s(name, ended, last) for name in (*PARTS, "command line"))
    return found


def main() -> None:
    options = cores.options(__doc__, rounds=(1, 3), seconds=(15.0, 60.0))
    print(cores.headline())
    os.sched_setaffinity(0, {cores.GENERATOR})  # the run and its children inherit it
    listen = f"127.0.0.1:{servers.free_port()}"
    with servers.python("staged_app.py", env={"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{listen}"}) as server:
        runs = [one_run(server.url, listen, options.seconds) for _ in range(options.rounds)]
    middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    total = sum(middle[name] for name in (*PARTS, "command line"))
    print(f"{RATE} requests a second for {options.seconds:g} s, every one with its spans; medians of {len(runs)} runs")
    rows = [[name, f"{middle[name]:.2%}"] for name in (*PARTS, "command line")]
    table.show(["while the load was on", "of a core"], [*rows, ["together", f"{total:.2%}"]])
    print(f"beside it: {middle['start-up']:.1f} s of CPU to start, {middle['analysis']:.1f} s to analyse and report")
    sys.exit(not table.line(f"{total:.1%} of a core together (less than {MOST:.0%})", total < MOST))


if __name__ == "__main__":
    main()
