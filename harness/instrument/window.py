"""The window of one request: opened from its headers, closed when its answer has left, whatever serves it.

ASGI and WSGI middleware share this: `record = open_record(headers)`, the work below `Mark(record, None, None, ...)` as
root, `close(record, scope)` at the end. The value of its `Server-Timing` header is `server_timing.header_value`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextvars import Token
from time import perf_counter_ns
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import TracerProvider

from harness.instrument import pipeline
from harness.instrument.ids import new_span_id, new_trace_id
from harness.instrument.marks import Record
from harness.instrument.quiet import LOG
from harness.instrument.spans import finished
from harness.instrument.traceparent import TraceParent, parse
from harness.timebase import Timebase

RUN_HEADER = b"x-mlharness-run"

_EXTRACTORS = frozenset({f"opentelemetry.instrumentation.{kind}" for kind in ("asgi", "wsgi", "django", "tornado")})
"""Those that the instrumentations of all other frameworks are built on; imported means in use."""

_timebase = Timebase()


def open_record(headers: Iterable[tuple[bytes, bytes]], scope: Mapping[str, Any] | None = None) -> Record:
    """The record of a request that begins now; names of `headers` are in lower case.

    `timing_wanted` says whether the caller asked for the split on the answer, `provider` whether spans are recorded.
    Of `scope` the service's sampler is told `method` and `path`.
    """
    start = perf_counter_ns()
    _timebase.reanchor()  # before and not after a request: the clock may have been set while nothing was asked
    if not isinstance(headers, list | tuple):
        headers = list(headers)
    caller, wanted = _read_headers(headers)
    trace_id = new_trace_id() if caller is None else caller.trace_id
    record = Record(start, _timebase.at(start), trace_id, new_span_id(), None if caller is None else caller.span_id)
    record.timing_wanted = wanted
    provider = pipeline.provider()
    if provider is None:
        return record
    if provider is pipeline.global_provider():
        _among_others(record, provider, caller, headers, scope or {})
    elif pipeline.samples(provider, caller, trace_id):
        record.provider = provider
    return record


def _among_others(
    record: Record,
    provider: TracerProvider,
    caller: TraceParent | None,
    headers: Iterable[tuple[bytes, bytes]],
    scope: Mapping[str, Any],
) -> None:
    """Our root beside the spans that the service makes itself: it never becomes the parent of one.

    A span that is current already belongs to a layer of the service around us. Our root goes below it unless both have
    the same caller: then they stand side by side, as they do when that layer is inside.
    """
    around = trace.get_current_span().get_span_context()
    if around.is_valid:
        if around.trace_id != record.trace_id:
            record.trace_id, record.parent_id = around.trace_id, around.span_id
            record.parent_is_here = not around.is_remote
        if around.trace_flags.sampled:
            record.provider = provider
        return
    if pipeline.samples(provider, caller, record.trace_id, scope):
        record.provider = provider
    if record.timing_wanted and caller is not None and _EXTRACTORS.isdisjoint(sys.modules):
        record.joined = propagate.extract(_carrier(headers))


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
    except Exception:
        LOG.warning("the spans of a request are lost", exc_info=True)
    record.forget()


def attach(record: Record) -> Token[otel_context.Context] | None:
    """Let plain OpenTelemetry spans of a service without server instrumentation join the trace of a run's request.

    They get the parent that such an instrumentation would have given them. Nothing else is changed: whoever reads the
    caller's headers by itself takes a span that is current for one of its own and makes an inner span of its request.
    """
    return None if record.joined is None else otel_context.attach(record.joined)


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


def _carrier(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers as propagators read them; several of one name are one list."""
    carrier: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        carrier[key] = f"{carrier[key]},{text}" if key in carrier else text
    return carrier
