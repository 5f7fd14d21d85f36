"""Does the ledger say what was done? Known delays by FAULTS, whole runs of `harness`, in interleaved pairs.

For each stage, a plain service and one with FAULTS=<stage>:30ms run side by side; short runs alternate between them
(A B, B A, ...) with the same arrivals and a small payload, whose own stages take little time and vary by less than
what is to be seen. Printed is how far the mean of each stage moved.

    python bench/truth.py [--pairs 4] [--duration 6]
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.sample_server import start_sample_service  # noqa: E402 - the checkout is put on the path first

STAGES = ("transfer", "queue", "preprocess", "inference", "postprocess", "other")
DELAY_MS = 30
SCENARIO = """
scenario: truth
target: {target}
requests:
  - name: identify
    http: POST /v1/identify
    body: {root}/scenarios/payloads/files/orders.json
load: {{arrivals: constant, rate: 10/s, warmup: 1s, duration: {duration}s, seed: {seed}}}
spans: {{listen: {listen}}}
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def stage_means(target: str, listen: str, duration: int, seed: int) -> dict[str, float]:
    """Mean of each stage in one run, ms. Every request must have its server half, from spans."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "truth.yaml"
        path.write_text(SCENARIO.format(target=target, root=ROOT, duration=duration, seed=seed, listen=listen))
        command = [sys.executable, "-m", "harness", "run", str(path), "--json", "--out", folder]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        summary = json.loads(ended.stdout)
    assert summary["counts"]["ok"] == summary["counts"]["scheduled"] == summary["counts"]["split"]["marks"]
    return {stage: 1000 * summary["stages"][stage]["mean"]["value"] for stage in STAGES}


def moved(stage: str, pairs: int, duration: int) -> tuple[dict[str, float], dict[str, float]]:
    """How far each stage's mean moved, and what it was without the fault: means over pairs, ms."""
    listen = f"127.0.0.1:{free_port()}"
    environ = {"READER_THREADS": "2", "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{listen}"}
    fault = {**environ, "FAULTS": f"{stage}:{DELAY_MS}ms"}
    with start_sample_service(environ) as plain, start_sample_service(fault) as slowed:
        before: list[dict[str, float]] = []
        after: list[dict[str, float]] = []
        for pair in range(pairs):
            order = [(plain, before), (slowed, after)]
            for target, kept in order if pair % 2 == 0 else reversed(order):
                kept.append(stage_means(target, listen, duration, seed=pair + 1))
    base = {s: statistics.mean(b[s] for b in before) for s in STAGES}
    return {s: statistics.mean(a[s] - b[s] for a, b in zip(after, before, strict=True)) for s in STAGES}, base


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--duration", type=int, default=6, help="seconds measured per run")
    options = parser.parse_args()
    print(f"moved by FAULTS=<stage>:{DELAY_MS}ms, ms (without the fault in brackets), {options.pairs} pairs of runs")
    print(f"{'FAULTS on':<12}" + "".join(f"{stage:>20}" for stage in STAGES))
    held = True
    for faulty in ("preprocess", "inference", "postprocess"):
        delta, base = moved(faulty, options.pairs, options.duration)
        print(f"{faulty:<12}" + "".join(f"{f'{delta[s]:+.2f} ({base[s]:.2f})':>20}" for s in STAGES), flush=True)
        held &= abs(delta[faulty] - DELAY_MS) <= 2
        held &= all(abs(delta[s]) < max(2, 0.05 * base[s]) for s in STAGES if s != faulty)
    print("holds: the stage moved by 30 ± 2 ms, the others by less than 2 ms or 5%" if held else "DOES NOT HOLD")
    sys.exit(not held)


if __name__ == "__main__":
    main()
