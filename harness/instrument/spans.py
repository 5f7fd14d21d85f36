"""Marks of a finished request -> OpenTelemetry spans with explicit times.

The spans are built as `ReadableSpan` objects, after the answer has left: a tracer would cost the request three times
as much and would stamp wall-clock times that an NTP step bends. Instants are exported as they were read. Where one
stage begins in the microsecond in which another ended, some trace viewers lose one of the two on their critical path;
spans moved apart for them would no longer add up to what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from harness.instrument.host import host_key
from harness.instrument.ids import new_span_ids
from harness.instrument.marks import Mark, Record
from harness.instrument.values import INT64 as INT64
from harness.instrument.values import LONGEST, LONGEST_NAME, are_small, small
from harness.instrument.values import Value as Value
from harness.instrument.values import name as short_name
from harness.instrument.values import text as text

SCOPE = InstrumentationScope("harness.instrument")
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
KNOWN_ATTRIBUTES = frozenset({"model", "resource", "batch_id", "batch_size", "device"})
_UNSET = Status(StatusCode.UNSET)


class Finished(NamedTuple):
    """A closed record, what of it becomes child spans, and what its root span says about the request."""

    record: Record
    marks: list[Mark]
    method: str
    path: str
    route: str | None
    name: str

    @property
    def spans(self) -> int:
        return len(self.marks) + 1


def finished(record: Record, scope: Mapping[str, Any]) -> Finished:
    """What is worth keeping of a closed record. Later marks are left out.

    What is not small and plain becomes so here and now: it may change, and what is large must not stay in memory.
    """
    end = record.start if record.end is None else record.end
    marks = [mark for mark in record.all_marks() if mark.start < end]
    for mark in marks:
        if type(mark.name) is not str or len(mark.name) > LONGEST_NAME:
            mark.name = short_name(mark.name)
        if mark.attributes and not are_small(mark.attributes.values()):
            mark.attributes = {
                key: value if type(value) is str else small(value)
                for key, value in mark.attributes.items()
                if value is not None
            }
    method, route = str(scope.get("method", "")), _route(scope)
    path = str(scope.get("path", ""))[:LONGEST]
    return Finished(record, marks, method, path, route, f"{method} {_route_name(scope, route)}")


def spans_of(
    done: Finished, provider: TracerProvider, ids: Callable[[int], list[bytes]] = new_span_ids
) -> list[ReadableSpan]:
    """The children, then the root. Marks still open at the end of the window are cut there."""
    record = done.record
    end = record.start if record.end is None else record.end
    root_context = _context(record.trace_id, record.root_id)
    contexts = {
        id(mark): _context(record.trace_id, int.from_bytes(span_id, "big"))
        for mark, span_id in zip(done.marks, ids(len(done.marks)), strict=True)
    }
    shift = record.epoch_ns - record.start
    spans: list[ReadableSpan] = []
    for mark in done.marks:
        parent = mark.parent
        while parent is not None and id(parent) not in contexts:
            parent = parent.parent
        stop = end if mark.end is None or mark.end > end else mark.end
        spans.append(
            ReadableSpan(
                name=text(mark.name),
                context=contexts[id(mark)],
                parent=root_context if parent is None else contexts[id(parent)],
                resource=provider.resource,
                attributes=mark_attributes(mark),
                kind=SpanKind.INTERNAL,
                status=_UNSET if mark.error is None else Status(StatusCode.ERROR, text(mark.error)),
                start_time=mark.start + shift,
                end_time=stop + shift,
                instrumentation_scope=SCOPE,
            )
        )
    spans.append(_root(done, provider, root_context, end + shift))
    return spans


def root_failed(record: Record) -> bool:
    return record.error is not None or (record.status or 0) >= 500


def root_attributes(done: Finished) -> dict[str, Value | None]:
    """What the root span says; None is not sent."""
    record = done.record
    shift = record.epoch_ns - record.start
    return {
        "http.request.method": done.method,
        "http.route": done.route,
        "url.path": done.path,
        "http.response.status_code": record.status,
        "harness.split": "marks",
        "harness.spans": len(done.marks),
        "harness.host": host_key(),
        "harness.body_ns": None if record.body_end is None else record.body_end + shift,
        "harness.first_send_ns": None if record.first_send is None else record.first_send + shift,
        "harness.last_send_ns": None if record.last_send is None else record.last_send + shift,
        "harness.streamed": record.streamed or None,
        "harness.marks_dropped": record.dropped or None,
        "error.type": record.error,
    }


def _root(done: Finished, provider: TracerProvider, context: SpanContext, end_ns: int) -> ReadableSpan:
    record = done.record
    description = None if record.error is None else text(record.error)
    attributes = {key: small(value) for key, value in root_attributes(done).items() if value is not None}
    return ReadableSpan(
        name=text(done.name),
        context=context,
        parent=None
        if record.parent_id is None
        else _context(record.trace_id, record.parent_id, is_remote=not record.parent_is_here),
        resource=provider.resource,
        attributes=attributes,
        kind=SpanKind.SERVER,
        status=Status(StatusCode.ERROR, description) if root_failed(record) else _UNSET,
        start_time=record.epoch_ns,
        end_time=end_ns,
        instrumentation_scope=SCOPE,
    )


def _context(trace_id: int, span_id: int, *, is_remote: bool = False) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=is_remote, trace_flags=SAMPLED)


def _route(scope: Mapping[str, Any]) -> str | None:
    """The route's template, given as such or as an object with its `path`."""
    route = scope.get("route")
    path = route if isinstance(route, str) else getattr(route, "path", None)
    return path if isinstance(path, str) else None


def _route_name(scope: Mapping[str, Any], route: str | None) -> str:
    """The route's template; else the endpoint's name; else HTTP. Never the raw path, which has no bounds."""
    if route is not None:
        return route
    name = getattr(scope.get("endpoint"), "__qualname__", None)
    return name if isinstance(name, str) else "HTTP"


def mark_attributes(mark: Mark) -> dict[str, Value]:
    attributes: dict[str, Value] = {}
    if mark.stage is not None:
        attributes["harness.stage"] = mark.stage
    if mark.cpu_ns is not None:
        attributes["harness.cpu_ns"] = mark.cpu_ns
    if mark.error is not None:
        attributes["error.type"] = text(mark.error)
    for key, value in (mark.attributes or {}).items():
        if value is not None:
            attributes[text(f"harness.{key}" if key in KNOWN_ATTRIBUTES else key)] = small(value)
    return attributes
