"""The window of one request: opened from its headers, closed when its answer has left, whatever serves it.

ASGI and WSGI middleware share this: `record = open_record(headers)`, the work below `Mark(record, None, None, ...)` as
root, `close(record, scope)` at the end. The value of its `Server-Timing` header is `server_timing.header_value`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import Token
from time import perf_counter_ns
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace

from harness.instrument import pipeline
from harness.instrument.ids import new_span_id, new_trace_id
from harness.instrument.marks import Record
from harness.instrument.quiet import LOG
from harness.instrument.spans import SAMPLED, finished
from harness.instrument.traceparent import TraceParent, parse
from harness.timebase import Timebase

RUN_HEADER = b"x-mlharness-run"

_timebase = Timebase()


def open_record(headers: Iterable[tuple[bytes, bytes]]) -> Record:
    """The record of a request that begins now; names of `headers` are in lower case.

    `timing_wanted` says whether the caller asked for the split on the answer, `provider` whether spans are recorded.
    """
    start = perf_counter_ns()
    caller, wanted = _read_headers(headers)
    trace_id = new_trace_id() if caller is None else caller.trace_id
    record = Record(start, _timebase.at(start), trace_id, new_span_id(), None if caller is None else caller.span_id)
    record.timing_wanted = wanted
    provider = pipeline.provider()
    if provider is not None and pipeline.samples(provider, caller, trace_id):
        record.provider = provider
    return record


def close(record: Record, scope: Mapping[str, Any], end: int | None = None) -> None:
    """End the server window and hand its spans over. Never raises; a second call does nothing.

    Of `scope` the root span takes `method`, `path`, `route` (a template, or an object with its `path`) and `endpoint`.
    """
    if record.closed:
        return
    record.end = perf_counter_ns() if end is None else end
    record.closed = True
    try:
        if record.provider is not None:
            pipeline.hand_over(finished(record, scope))
        _timebase.reanchor()
    except Exception:
        LOG.warning("the spans of a request are lost", exc_info=True)
    record.forget()


def attach(record: Record) -> Token[otel_context.Context] | None:
    """Make our root the parent of the service's own plain OpenTelemetry spans; None where it has no provider."""
    if pipeline.global_provider() is None:
        return None
    flags = SAMPLED if record.provider is not None else trace.TraceFlags(trace.TraceFlags.DEFAULT)
    root = trace.SpanContext(record.trace_id, record.root_id, is_remote=False, trace_flags=flags)
    return otel_context.attach(trace.set_span_in_context(trace.NonRecordingSpan(root)))


def detach(attached: Token[otel_context.Context] | None) -> None:
    if attached is not None:
        otel_context.detach(attached)


def _read_headers(headers: Iterable[tuple[bytes, bytes]]) -> tuple[TraceParent | None, bool]:
    """The caller's ids, and whether this request belongs to a run. Two traceparents are as good as none."""
    found: list[bytes] = []
    wanted = False
    for name, value in headers:
        if name == b"traceparent":
            found.append(value)
        elif name == RUN_HEADER:
            wanted = True
    return (parse(found[0]) if len(found) == 1 else None), wanted
