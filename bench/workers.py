"""Do two load processes give the same percentiles as one? `harness run --processes 2` against `--processes 1`.

    python bench/workers.py [--rounds 2] [--seconds 15]

The same total rate to a service that takes 5 ms and an exponential time of 10 ms, in pairs that change their order.
Percentiles agree when their intervals overlap; a pair with an invalid run is left out. The load processes of a pair
share one core, the service has the other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from support import cores, servers, table

RATE = 300
SERVICE = "0.005+0.01"
NAMES = ("p50", "p90", "p95", "p99")
SCENARIO = """
scenario: workers
target: {target}
requests:
  - name: small
    http: POST /
    json: {{document: "a small request, about as long as what a client sends to ask", page: 1}}
load: {{arrivals: poisson, rate: {rate}/s, warmup: 1s, duration: {seconds:g}s, seed: {seed}}}
spans: {{source: none}}
"""


def one_run(target: str, processes: int, seconds: float, seed: int) -> dict[str, Any]:
    """summary.json of one run; every arrival was answered."""
    with tempfile.TemporaryDirectory(prefix="bench-workers-") as folder:
        path = Path(folder) / "workers.yaml"
        path.write_text(SCENARIO.format(target=target, rate=RATE, seconds=seconds, seed=seed))
        command = [sys.executable, "-m", "harness", "run", str(path), "--json", "--out", f"{folder}/runs"]
        command += ["--processes", str(processes)] if processes > 1 else []
        ended = subprocess.run(cores.pinned(command, cores.GENERATOR), capture_output=True, text=True)
    if ended.returncode not in (0, 3):  # 3: what the machine did to the generator is said in the table
        sys.exit(f"`harness run --processes {processes}` failed: {ended.stderr[-2000:]}")
    summary: dict[str, Any] = json.loads(ended.stdout)
    assert summary["counts"]["ok"] == summary["counts"]["scheduled"], summary["counts"]
    return summary


def cells(summary: dict[str, Any]) -> list[str]:
    found = []
    for name in NAMES:
        estimate = summary["latency"][name]
        if estimate["value"] is None:
            found.append("not enough data")
            continue
        found.append(" .. ".join(f"{estimate[key] * 1e3:.2f}" if estimate[key] is not None else "?"
                                 for key in ("low", "value", "high")))  # fmt: skip
    return found


def overlap(one: dict[str, Any], two: dict[str, Any]) -> bool:
    """Whether all percentiles known of both agree within their intervals."""
    for name in NAMES:
        a, b = one["latency"][name], two["latency"][name]
        bounds = [a["low"], a["high"], b["low"], b["high"]]
        if None not in bounds and (a["low"] > b["high"] or b["low"] > a["high"]):
            return False
    return True


def main() -> None:
    options = cores.options(__doc__, rounds=(2, 5), seconds=(15.0, 60.0))
    print(cores.headline())
    os.sched_setaffinity(0, {cores.GENERATOR, cores.SERVER})
    rows, doubts, valid, agree = [], [], 0, 0
    with servers.python("slow_server.py", SERVICE) as server:
        for number in range(options.rounds):
            pair = {}
            for processes in (1, 2) if number % 2 == 0 else (2, 1):
                pair[processes] = one_run(server.url, processes, options.seconds, seed=number + 1)
            doubts += [f"{n} of seed {number + 1}: {reason}" for n in (1, 2) for reason in pair[n]["health"]["reasons"]]
            if all(summary["health"]["state"] != "invalid" for summary in pair.values()):
                valid += 1
                agree += overlap(pair[1], pair[2])
            rows += [[f"{n} process{'es' * (n > 1)}, seed {number + 1}", pair[n]["health"]["state"], *cells(pair[n])]
                     for n in (1, 2)]  # fmt: skip
    print(f"{RATE}/s in all for {options.seconds:g} s; low .. value .. high of the 95 % interval, ms")
    table.show(["", "health", *NAMES], rows)
    print("".join(f"{doubt}\n" for doubt in doubts), end="")
    promise = f"the intervals of p50, p90, p95 and p99 overlap in {agree} of {valid} valid pairs (more than half)"
    sys.exit(not table.line(promise, agree > valid / 2))


if __name__ == "__main__":
    main()
