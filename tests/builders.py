"""Rows made by hand, for tests: times are milliseconds after T0."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import pyarrow as pa

from harness.chunks import schema_of
from harness.model import Sample, Span

T0 = 1_790_000_000_000_000_000
MS = 1_000_000


def at(ms: float) -> int:
    return T0 + round(ms * MS)


def trace(number: int) -> str:
    return f"{number + 1:032x}"


def a_sample(number: int = 0, **changes: Any) -> Sample:
    """A request scheduled at 0 ms, taken at 1, connected and written at 3, answered at 100."""
    known: dict[str, Any] = {
        "request_id": number,
        "trace_id": trace(number),
        "span_id": f"{number + 1:016x}",
        "name": "read",
        "phase": "measure",
        "step": 0,
        "worker": "0",
        "scheduled_ns": at(0),
        "start_ns": at(1),
        "resolved_ns": at(1),
        "tcp_ns": at(2),
        "connected_ns": at(2),
        "send_ns": at(3),
        "sent_ns": at(4),
        "first_byte_ns": at(98),
        "done_ns": at(100),
        "done_user_ns": at(100),
        "done_source": "kernel",
        "status": 200,
        "error": None,
        "failed_checks": None,
        "bytes_sent": 100,
        "bytes_received": 200,
        "attempts": 1,
        "server_timing": None,
        "censored": False,
    }
    return Sample(**{**known, **changes})


def a_span(name: str, start_ms: float, end_ms: float, **changes: Any) -> Span:
    """A span of request `number` (0); `attributes` may be given as a dict, `stage` is set as the mapping would."""
    attributes = changes.pop("attributes", None)
    known: dict[str, Any] = {
        "trace_id": trace(changes.pop("number", 0)),
        "span_id": f"{abs(hash((name, start_ms, end_ms))) % 2**64:016x}",
        "parent_id": "a000000000000000",
        "name": name,
        "kind": "internal",
        "service": "sample",
        "pid": 1,
        "start_ns": at(start_ms),
        "end_ns": at(end_ms),
        "stage": None,
        "attributes": json.dumps(attributes) if attributes else None,
    }
    return Span(**{**known, **changes})


def a_root(start_ms: float = 10, end_ms: float = 90, number: int = 0, **changes: Any) -> Span:
    """The server span of request `number`, child of the client's span."""
    known = {
        "trace_id": trace(number),
        "span_id": "a000000000000000",
        "parent_id": f"{number + 1:016x}",
        "kind": "server",
        "attributes": {"harness.split": "marks"},
    }
    return a_span("POST /v1/read", start_ms, end_ms, **{**known, **changes})


def table(rows: Sequence[Any], row_type: type) -> pa.Table:
    names = [f.name for f in fields(row_type)]
    columns = {name: [getattr(row, name) for row in rows] for name in names}
    return pa.table(columns, schema=schema_of(row_type))


def samples_table(*rows: Sample) -> pa.Table:
    return table(rows, Sample)


def spans_table(*rows: Span) -> pa.Table:
    return table(rows, Span)
