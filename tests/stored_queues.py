"""Runs as they lie on disk, of requests through a simulated queue: with changes as asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from harness.chunks import schema_of
from harness.model import Sample, Span
from harness.run_folder import RunFolder
from tests import simulated_queues as queues

MACHINE = {
    "harness": "0.1.0", "python": "3.11.7", "system": "Linux 6.1", "machine": "x86_64", "cpu": "AMD EPYC",
    "cores": "2 usable of 2", "memory": "23.5 GiB", "load average": "0.10 when the run began",
}  # fmt: skip
CPU = {"name": "cpu", "value": 0.1, "unit": "ratio", "suspect": 0.8, "invalid": 0.95, "meaning": "busy"}
LOAD = {"arrivals": "poisson", "steps": [{"level": 50.0, "duration_s": 20.0, "to": None}], "warmup_s": 0.0,
        "drain_s": 1.0, "seed": 1}  # fmt: skip


def store(
    path: Path,
    simulated: queues.Simulated,
    *,
    halves: bool = True,
    failed: int = 0,
    size: int = 1_000,
    load: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
    cpu: float = 0.1,
    **changes: Any,
) -> Path:
    """`failed`: so many of the first requests were refused; `size`: bytes of each payload."""
    n = len(simulated.scheduled_s)
    traces = [f"{i:032x}" for i in range(1, n + 1)]
    path.mkdir(parents=True)
    folder = RunFolder(path)
    folder.write_table("samples", _samples(simulated, traces, failed, size))
    if halves:
        folder.write_table("spans", _spans(simulated, traces))
    plan: dict[str, Any] = {
        "name": "queue", "target": "http://127.0.0.1:8000", "requests": [], "users": None,
        "load": {**LOAD, **(load or {})}, "spans": {"source": "otlp"}, "slo": [],
    }  # fmt: skip
    record = {
        "schema_version": 1, "run_id": path.name, "status": "finished", "started_ns": queues.T0, "loopback": True,
        "plan": plan, "source": "", "environment": {**MACHINE, **(environment or {})}, "warnings": [],
        "load": {"readings": [{**CPU, "value": cpu}]},
    }  # fmt: skip
    folder.write_json("run.json", {**record, **changes})
    return path


def first(simulated: queues.Simulated, n: int) -> queues.Simulated:
    """The first `n` requests alone."""
    columns = ("scheduled_s", "upload_s", "arrive_s", "start_s", "stages_s", "download_s", "names")
    return queues.Simulated(**{name: getattr(simulated, name)[:n] for name in columns})


def ns(seconds: np.ndarray) -> np.ndarray:
    return queues.T0 + np.rint(seconds * 1e9).astype(np.int64)


def _samples(simulated: queues.Simulated, traces: list[str], failed: int, size: int) -> pa.Table:
    n, sent = len(traces), ns(simulated.scheduled_s)
    done = ns(simulated.start_s + simulated.hold_s + simulated.download_s)
    columns: dict[str, Any] = {
        "request_id": np.arange(n), "trace_id": traces, "span_id": [f"{i:016x}" for i in range(1, n + 1)],
        "name": simulated.names, "phase": ["measure"] * n, "step": np.zeros(n, np.int64), "worker": ["0"] * n,
        "scheduled_ns": sent, "start_ns": sent, "send_ns": sent, "sent_ns": sent, "first_byte_ns": done,
        "done_ns": done, "done_user_ns": done, "done_source": ["kernel"] * n,
        "status": [None] * failed + [200] * (n - failed),
        "error": ["connection refused"] * failed + [None] * (n - failed),
        "bytes_sent": np.full(n, size), "bytes_received": np.full(n, 9), "attempts": np.ones(n, np.int64),
        "censored": np.zeros(n, bool),
    }  # fmt: skip
    return _table(columns, n, Sample)


def _spans(simulated: queues.Simulated, traces: list[str]) -> pa.Table:
    """A root from the arrival in the queue to the end of the work, the wait in it, and three stages."""
    n = len(traces)
    edges = np.column_stack(
        [simulated.arrive_s, simulated.start_s, simulated.start_s[:, None] + np.cumsum(simulated.stages_s, axis=1)]
    )
    stages = ("queue", *queues.WORK)
    attributes = [json.dumps({"harness.split": "marks"})] + [json.dumps({"harness.stage": s}) for s in stages]
    attributes[1] = json.dumps({"harness.stage": "queue", "harness.resource": "threadpool"})
    attributes[3] = json.dumps({"harness.stage": "inference", "harness.model": "reader"})
    starts, ends = [edges[:, 0], *edges[:, :4].T], [edges[:, 4], *edges[:, 1:].T]
    columns: dict[str, Any] = {
        "trace_id": pa.concat_arrays([pa.array(traces)] * 5),
        "span_id": [f"{part + 1:x}{i:015x}" for part in range(5) for i in range(1, n + 1)],
        "parent_id": [f"{i:016x}" for i in range(1, n + 1)] + [f"1{i:015x}" for i in range(1, n + 1)] * 4,
        "name": np.repeat(["POST /read", *stages], n), "kind": np.repeat(["server", *["internal"] * 4], n),
        "service": ["reader"] * 5 * n, "pid": np.full(5 * n, 7), "start_ns": ns(np.concatenate(starts)),
        "end_ns": ns(np.concatenate(ends)), "stage": np.repeat(np.array([None, *stages], object), n),
        "attributes": np.repeat(np.array(attributes, object), n),
    }  # fmt: skip
    return _table(columns, 5 * n, Span)


def _table(columns: dict[str, Any], n: int, row_type: type) -> pa.Table:
    schema = schema_of(row_type)
    arrays = [pa.array(columns[f.name], type=f.type) if f.name in columns else pa.nulls(n, f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema)
