"""A stored run of a million requests with six spans each, as `harness run` leaves one:
`python -m tests.million_run FOLDER [REQUESTS]` makes it below FOLDER and prints its path.

Three load steps of a service with four workers: a wait for one, decoding, two models, a way back. One request in twenty
is five times as heavy; one in three hundred fails. Concluding it takes half a minute and 2 GB.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import TypeAdapter

from harness.chunks import schema_of
from harness.model import Arrivals, LoadProfile, RequestSpec, Sample, Scenario, Span, SpanSpec, Step, Vital
from harness.run_folder import SCHEMA_VERSION, RunFolder
from tests import simulated_queues as queues

REQUESTS = 1_000_000
LOADS = (0.4, 0.6, 0.8)
WORKERS = 4
SERVERS = (4101, 4102)
"""Process ids of the service."""
BATCH = 1 << 14
"""Rows of a chunk: a second or so of a busy run."""
WARMUP_S = 30.0
READINGS = (
    ("lateness_p50", 0.0001, "s", None, None), ("lateness_p99", 0.002, "s", 0.005, 0.05),
    ("lateness_max", 0.03, "s", 0.5, 2.0), ("hub_lag_p99", 0.003, "s", 0.02, 0.1), ("cpu", 0.41, "ratio", 0.8, 0.95),
    ("kernel_stamped", 1.0, "ratio", None, None),
)  # fmt: skip
Ints = NDArray[np.int64]


def store(parent: Path, requests: int = REQUESTS, name: str = "20261122T080000Z-million", seed: int = 0) -> Path:
    """The run, not concluded yet. Its tables are written as chunks and sealed, as at the end of a run."""
    folder = RunFolder(parent / name)
    folder.path.mkdir(parents=True)
    simulated, steps = _simulated(requests, seed)
    warmup_s = min(WARMUP_S, float(simulated.scheduled_s[requests // 30]))
    random = np.random.default_rng(seed)
    traces, parents = _hex(random, requests, 16), _hex(random, requests, 8)
    fails = random.random(requests) < 1 / 300
    lost = fails & (random.random(requests) < 0.2)  # a timeout: nobody answered, and no span says why
    order = np.argsort(simulated.scheduled_s + simulated.latency_s, kind="stable")  # rows come as requests end
    warm = simulated.scheduled_s < warmup_s
    samples = _samples(simulated, steps, warm, traces, parents, fails, lost).take(pa.array(order))
    _write(folder, "samples", samples, Sample)
    spans = _spans(simulated, traces, parents, fails, random)
    there = np.tile(~lost, 6)
    by_end = np.argsort(spans.column("end_ns").to_numpy(), kind="stable")
    _write(folder, "spans", spans.take(pa.array(by_end[there[by_end]])), Span)
    del spans, samples
    _write(folder, "vitals", _vitals(simulated, random), Vital)
    folder.write_json("run.json", _record(folder.path.name, simulated, steps, warmup_s))
    for table, row_type in (("samples", Sample), ("spans", Span), ("vitals", Vital)):
        folder.seal(row_type, table)
    return folder.path


def _simulated(requests: int, seed: int) -> tuple[queues.Simulated, Ints]:
    """The requests of all steps, and the step of each."""
    each = [requests // 3, requests // 3, requests - 2 * (requests // 3)]
    parts, offset = [], 0.0
    for number, (load, many) in enumerate(zip(LOADS, each, strict=True)):
        part = queues.simulate(
            many,
            load,
            seed + number,
            servers=WORKERS,
            large=0.05,
            means_s=(0.002, 0.012, 0.001),
            settle=min(2_000, requests),
        )
        parts.append(queues.later(part, offset))
        offset = float(parts[-1].scheduled_s[-1]) + 0.01
    return queues.joined(parts), np.repeat(np.arange(len(LOADS)), each)


def _ns(seconds: queues.Floats) -> Ints:
    return queues.T0 + np.rint(seconds * 1e9).astype(np.int64)


def _hex(random: np.random.Generator, n: int, size: int) -> pa.Array:
    """`n` random texts of `2 * size` hexadecimal digits."""
    digits = pa.py_buffer(random.bytes(n * size).hex().encode())
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * 2 * size)
    return pa.StringArray.from_buffers(n, offsets.buffers()[1], digits)


def _samples(
    simulated: queues.Simulated,
    steps: Ints,
    warm: NDArray[np.bool_],
    traces: pa.Array,
    spans: pa.Array,
    fails: NDArray[np.bool_],
    lost: NDArray[np.bool_],
) -> pa.Table:
    n = len(steps)
    sent, done = _ns(simulated.scheduled_s), _ns(simulated.scheduled_s + simulated.latency_s)
    done = np.where(lost, sent + 2_000_000_000, done)
    phase = np.where(warm, "warmup", "measure")
    large = np.array(simulated.names, object) == "large"
    columns: dict[str, Any] = {
        "request_id": np.arange(n), "trace_id": traces, "span_id": spans,
        "name": np.where(large, "receipt-12-lines", np.where(np.arange(n) % 3 == 0, "identify", "receipt-2-lines")),
        "phase": phase, "step": steps, "worker": np.where(np.arange(n) % 2 == 0, "0", "1"),
        "scheduled_ns": sent, "start_ns": sent + 60_000, "send_ns": sent + 90_000, "sent_ns": sent + 140_000,
        "first_byte_ns": pa.array(done - 2_000, mask=lost), "done_ns": done, "done_user_ns": done + 40_000,
        "done_source": np.where(lost, "user", "kernel"),
        "status": pa.array(np.where(fails, 503, 200), mask=lost),
        "error": pa.array(np.full(n, "timeout", object), mask=~lost),
        "failed_checks": pa.array(np.full(n, "status", object), mask=~fails | lost),
        "bytes_sent": np.where(large, 28_499, 6_504), "bytes_received": np.where(lost, 0, 598),
        "attempts": np.ones(n, np.int64), "censored": np.zeros(n, bool),
    }  # fmt: skip
    return _table(columns, n, Sample)


def _spans(
    simulated: queues.Simulated, traces: pa.Array, parents: pa.Array, fails: NDArray[np.bool_], random: Any
) -> pa.Table:
    """A root from the arrival in the queue to the end of the work, the wait in it, and four parts of the work."""
    n = len(traces)
    work = simulated.stages_s
    parts = np.column_stack([work[:, 0], 0.35 * work[:, 1], 0.65 * work[:, 1], work[:, 2]])
    edges = np.column_stack(
        [simulated.arrive_s, simulated.start_s, simulated.start_s[:, None] + np.cumsum(parts, axis=1)]
    )
    roots = _hex(random, n, 8)
    starts, ends = np.concatenate([edges[:, 0], *edges[:, :5].T]), np.concatenate([edges[:, 5], *edges[:, 1:].T])
    stages = ("queue", "preprocess", "inference", "inference", "postprocess")
    columns: dict[str, Any] = {
        "trace_id": pa.concat_arrays([traces] * 6),
        "span_id": pa.concat_arrays([roots, _hex(random, 5 * n, 8)]),
        "parent_id": pa.concat_arrays([parents, *[roots] * 5]),
        "name": _repeated(("POST /v1/read", "queue", "decode", "detect", "recognise", "layout"), n),
        "kind": _repeated(("server", *["internal"] * 5), n),
        "service": pa.repeat("reader", 6 * n), "pid": np.tile(np.array(SERVERS)[np.arange(n) % 2], 6),
        "start_ns": _ns(starts), "end_ns": _ns(ends), "stage": _repeated((None, *stages), n),
        "attributes": pa.concat_arrays(list(_attributes(n, edges, fails, random))),
    }  # fmt: skip
    return _table(columns, 6 * n, Span)


def _attributes(
    n: int, edges: queues.Floats, fails: NDArray[np.bool_], random: np.random.Generator
) -> Iterator[pa.Array]:
    first_send = pc.cast(pa.array(_ns(edges[:, 5])), pa.string())
    status = pc.if_else(pa.array(fails), "503", "200")
    yield pc.binary_join_element_wise(
        '{"http.request.method":"POST","http.route":"/v1/read","http.response.status_code":', status,
        ',"harness.split":"marks","harness.spans":5,"harness.host":"011c6b32b373","harness.first_send_ns":', first_send,
        "}", "",
    )  # fmt: skip
    yield pa.repeat(json.dumps({"harness.stage": "queue", "harness.resource": "threadpool"}), n)
    sizes = [json.dumps({"harness.stage": "preprocess", "image.width": w, "image.pages": 1}) for w in range(400, 1600)]
    yield pa.array(sizes).take(pa.array(random.integers(0, len(sizes), n)))
    for model in ("detector", "recogniser"):
        calls = [
            json.dumps(
                {"harness.stage": "inference", "harness.model": model, "harness.batch_size": size, "boxes": many}
            )
            for size in (1, 2, 4)
            for many in range(40)
        ]
        yield pa.array(calls).take(pa.array(random.integers(0, len(calls), n)))
    yield pa.repeat(json.dumps({"harness.stage": "postprocess"}), n)


def _repeated(each: Sequence[str | None], n: int) -> pa.Array:
    return pa.concat_arrays([pa.repeat(pa.scalar(one, pa.string()), n) for one in each])


def _vitals(simulated: queues.Simulated, random: np.random.Generator) -> pa.Table:
    """A point a second of each figure of each process."""
    seconds = np.arange(0.0, float(simulated.scheduled_s[-1]) + 1.0)
    busy = np.interp(seconds, [0.0, seconds[-1]], [0.4, 0.85])
    figures = {
        "process.cpu.utilization": ("1", 2.0 * busy), "process.memory.usage": ("By", 3e8 + 2e4 * seconds),
        "harness.event_loop.lag": ("s", 0.002 * (1 + busy)), "harness.threadpool.size": ("1", 0 * busy + 2),
        "harness.threadpool.in_use": ("1", np.rint(2 * busy)), "harness.threadpool.waiting": ("1", np.rint(4 * busy)),
        "harness.requests.in_flight": ("1", np.rint(6 * busy)), "harness.gc.pause": ("s", 0.0004 * busy),
        "harness.spans.lost": ("1", 0 * busy),
    }  # fmt: skip
    each = len(seconds)
    noise = random.normal(1.0, 0.05, (len(SERVERS), len(figures), each))
    values = [
        v * (1.0 if u == "1" and v.max() in (0.0, 2.0) else noise[p, k])
        for p in range(len(SERVERS))
        for k, (u, v) in enumerate(figures.values())
    ]
    rows = each * len(values)
    names, units = [*figures] * len(SERVERS), [u for u, _ in figures.values()] * len(SERVERS)
    columns: dict[str, Any] = {
        "at_ns": np.tile(_ns(seconds), len(values)), "service": pa.repeat("reader", rows),
        "pid": np.repeat(np.array(SERVERS), each * len(figures)), "name": _repeated(names, each),
        "value": np.concatenate(values), "unit": _repeated(units, each),
    }  # fmt: skip
    return _table(columns, rows, Vital)


def _record(run_id: str, simulated: queues.Simulated, steps: Ints, warmup_s: float) -> dict[str, Any]:
    begins = [0.0, *(float(simulated.scheduled_s[steps == k][0]) for k in (1, 2)), float(simulated.scheduled_s[-1])]
    lengths = np.diff(begins) - np.array([warmup_s, 0.0, 0.0])
    counts = np.bincount(steps[simulated.scheduled_s >= warmup_s], minlength=3)
    load = LoadProfile(
        Arrivals.POISSON,
        tuple(Step(round(float(c / s), 1), round(float(s), 1)) for c, s in zip(counts, lengths, strict=True)),
        warmup_s, 10.0, 7,
    )  # fmt: skip
    kinds = (
        ("receipt-2-lines", "/v1/read", 13.0),
        ("identify", "/v1/identify", 6.0),
        ("receipt-12-lines", "/v1/read", 1.0),
    )
    requests = tuple(RequestSpec(name, "POST", path, weight) for name, path, weight in kinds)
    slo = ("p95(latency) < 200ms", "p99(inference) < 100ms", "error_rate < 1%")
    scenario = Scenario(
        run_id.partition("-")[2], "http://127.0.0.1:8000", requests, None, load, SpanSpec(source="otlp"), slo
    )
    readings = [
        {"name": name, "value": value, "unit": unit, "suspect": suspect, "invalid": invalid, "meaning": name}
        for name, value, unit, suspect, invalid in READINGS
    ]
    ended = _ns(simulated.scheduled_s[-1:])[0]
    return {
        "schema_version": SCHEMA_VERSION, "run_id": run_id, "status": "finished", "started_ns": queues.T0,
        "loopback": True, "plan": TypeAdapter(Scenario).dump_python(scenario, mode="json"), "source": "",
        "environment": {"python": "3.11.7", "machine": "x86_64", "cpu": "made up", "cores": "2 usable of 2"},
        "warnings": [],
        "load": {
            "readings": readings, "measured_from_ns": queues.T0 + int(warmup_s * 1e9), "measured_until_ns": int(ended),
            "scheduled": len(steps), "sent": len(steps),
        },
    }  # fmt: skip


def _table(columns: dict[str, Any], n: int, row_type: type) -> pa.Table:
    schema = schema_of(row_type)
    arrays = [
        pa.nulls(n, f.type) if (c := columns.get(f.name)) is None
        else c if isinstance(c, pa.Array) and c.type == f.type
        else c.cast(f.type) if isinstance(c, pa.Array)
        else pa.array(c, f.type)
        for f in schema
    ]  # fmt: skip
    return pa.Table.from_arrays(arrays, schema=schema)


def _write(folder: RunFolder, name: str, table: pa.Table, row_type: type) -> None:
    with pa.OSFile(str(folder.path / f"{name}-0.arrows"), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
        out.write_table(table, max_chunksize=BATCH)


def conclude(path: Path) -> None:
    """Everything that `harness run` writes when its load has ended, in a process of its own."""
    subprocess.run([sys.executable, "-m", "tests.million_run", "--conclude", str(path)], check=True)


def _conclude(path: Path) -> None:
    from harness.conclude import conclude
    from harness.record import validated
    from harness.report.files import FORMATS, write_reports

    folder = RunFolder(path)
    record = validated(folder.read_json("run.json"), folder.run_json)
    scenario = TypeAdapter(Scenario).validate_python(record["plan"])
    concluded = conclude(folder, scenario, record)
    ledger = concluded.ledger
    for name, frame in (("ledger", ledger.rows), ("model_calls", ledger.model_calls), ("waits", ledger.waits)):
        folder.write_table(name, pa.Table.from_pandas(frame, preserve_index=False))
    write_reports(concluded.summary, concluded.rows, tuple(FORMATS), path)


if __name__ == "__main__":
    if sys.argv[1] == "--conclude":
        _conclude(Path(sys.argv[2]))
    else:
        stored = store(Path(sys.argv[1]), *(int(word) for word in sys.argv[2:]))
        conclude(stored)
        sys.stdout.write(f"{stored}\n")
