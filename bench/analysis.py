"""What it takes to explain a run of a million requests: `python bench/analysis.py [REQUESTS]`.

The ledger is made up (requests through a pool of two workers at 70 %, one in twenty five times as heavy, three load
steps); then everything is found out about it that a report shows, with its intervals: quantiles, steady state, tail
attribution, queue blame, contrasts, growth, causes, the verdict in words. A process of its own does it; the memory is
its peak, with the ledger in it.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from harness import ledger  # noqa: E402 - the checkout is put on the path first
from harness.chunks import schema_of  # noqa: E402
from harness.conclude import observed, summarised  # noqa: E402
from harness.join import Halves, Joined, Stray  # noqa: E402
from harness.model import Arrivals, LoadProfile, Sample, Scenario, SpanSpec, Step, Vital  # noqa: E402
from tests import simulated_queues as queues  # noqa: E402

REQUESTS = 1_000_000
LONGEST_S = 30.0
MOST_GIB = 2.0
LOADS = (0.35, 0.5, 0.7)
HOST = "abcabcabcabc"
CORES = 2


def whole_run(n: int) -> tuple[queues.Simulated, np.ndarray]:
    """Three load steps one after the other, and the step of each request."""
    each = [n // 3, n // 3, n - 2 * (n // 3)]
    parts, offset = [], 0.0
    for number, (load, many) in enumerate(zip(LOADS, each, strict=True)):
        part = queues.simulate(many, load, number, servers=CORES, large=0.05)
        parts.append(queues.later(part, offset))
        offset = float(parts[-1].scheduled_s[-1]) + 0.01
    return queues.joined(parts), np.repeat(np.arange(len(LOADS)), each)


def samples_of(run: queues.Simulated, step: np.ndarray) -> pa.Table:
    """The requests as the client saw them, by their scheduled instants."""
    n = len(step)
    scheduled = queues.T0 + np.rint(run.scheduled_s * 1e9).astype(np.int64)
    done = scheduled + np.rint(run.latency_s * 1e9).astype(np.int64)
    zero = np.zeros(n, np.int64)
    large = np.array(run.names, object) == "large"
    columns = {
        "request_id": np.arange(n), "trace_id": [f"{i:032x}" for i in range(1, n + 1)],
        "span_id": pa.repeat("1" * 16, n), "name": list(run.names), "phase": pa.repeat("measure", n),
        "step": step, "worker": pa.repeat("1", n),
        "scheduled_ns": scheduled, "start_ns": scheduled, "send_ns": scheduled, "sent_ns": scheduled + 1_000,
        "first_byte_ns": done - 1_000, "done_ns": done, "done_user_ns": done, "done_source": pa.repeat("kernel", n),
        "status": zero + 200, "bytes_sent": np.where(large, 900_000, 90_000), "bytes_received": zero + 300,
        "attempts": zero + 1, "censored": np.zeros(n, bool),
    }  # fmt: skip
    schema = schema_of(Sample)
    arrays = [
        pa.nulls(n, field.type) if (column := columns.get(field.name)) is None
        else column.cast(field.type) if isinstance(column, pa.Array) else pa.array(column, field.type)
        for field in schema
    ]  # fmt: skip
    return pa.Table.from_arrays(arrays, schema=schema).sort_by("scheduled_ns")


def nothing_strange(halves: Halves) -> Joined:
    return Joined(
        halves=halves, stray=Stray(np.zeros(0, np.int32), np.zeros(0, np.int64)), several_roots=0, trailing=0,
        streamed=0, incomplete=0, rootless=0, orphans=0, duplicates=0, foreign=0, spans=5 * len(halves.channel),
    )  # fmt: skip


def explain(n: int) -> None:
    """The measured child. Prints seconds, CPU seconds, peak memory (GiB), number of sentences."""
    run, step = whole_run(n)
    samples = samples_of(run, step)
    joined = nothing_strange(queues.halves(run, HOST))
    split = ledger.build(samples, joined, HOST, loopback=True)
    rows = split.rows.assign(scheduled_ns=samples.column("scheduled_ns").to_numpy())
    load = LoadProfile(Arrivals.POISSON, tuple(Step(n / 300, 100.0) for _ in LOADS), 0.0, 1.0, 1)
    scenario = Scenario("made up", "http://127.0.0.1:1", (), None, load, SpanSpec(), ("p99(latency) < 1s",))
    record = {"run_id": "made-up", "status": "finished", "started_ns": queues.T0}
    vitals = pa.Table.from_pylist([], schema_of(Vital))
    began, began_cpu = time.perf_counter(), time.process_time()
    seen = observed(scenario, record, samples, rows, split, joined, vitals)
    summary = summarised(seen, scenario, record, ledger.measured(rows))
    wall, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    print(wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, len(summary.sentences))
    for sentence in summary.sentences:
        print(f"  {sentence.text}", file=sys.stderr)


def main() -> int:
    if sys.argv[1:2] == ["--explain"]:
        explain(int(sys.argv[2]))
        return 0
    most = int(sys.argv[1].replace(",", "").replace("_", "")) if len(sys.argv) > 1 else REQUESTS
    print(f"{'requests':>10} {'seconds':>8} {'CPU s':>7} {'GiB':>5}")
    for requests in (most // 10, most):
        said = subprocess.run([sys.executable, __file__, "--explain", str(requests)], capture_output=True, text=True)
        if said.returncode:
            print(said.stderr, file=sys.stderr)
            return 1
        wall, cpu, gib, sentences = (float(word) for word in said.stdout.split())
        print(f"{requests:10,} {wall:8.1f} {cpu:7.1f} {gib:5.2f}")
    print(said.stderr, end="")
    held = wall <= LONGEST_S and gib <= MOST_GIB and sentences > 0
    print(
        f"{'holds' if held else 'DOES NOT HOLD'}: {wall:.1f} s of at most {LONGEST_S:g}, {gib:.2f} GiB of {MOST_GIB:g}"
    )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
