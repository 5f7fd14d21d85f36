"""Marks of a finished request -> OpenTelemetry spans with explicit times.

The spans are built as `ReadableSpan` objects, after the answer has left: a tracer would cost the request three times
as much and would stamp wall-clock times that an NTP step bends.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind
from opentelemetry.trace.status import Status, StatusCode

from harness.instrument.host import host_key
from harness.instrument.marks import Mark, Record
from harness.instrument.pipeline import SAMPLED, new_span_id

SCOPE = InstrumentationScope("harness.instrument")
KNOWN_ATTRIBUTES = frozenset({"model", "resource", "batch_id", "batch_size", "device"})
_UNSET = Status(StatusCode.UNSET)
_INT64 = range(-(2**63), 2**63)

Value = str | bool | int | float


def spans_of(record: Record, scope: Mapping[str, Any], provider: TracerProvider) -> list[ReadableSpan]:
    """The children, then the root. Marks still open at the end of the window are cut there, later ones left out."""
    end = record.start if record.end is None else record.end
    kept = [mark for mark in record.all_marks() if mark.start < end]
    root_context = _context(record.trace_id, record.root_id)
    contexts = {id(mark): _context(record.trace_id, new_span_id()) for mark in kept}
    shift = record.epoch_ns - record.start
    spans: list[ReadableSpan] = []
    for mark in kept:
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
                attributes=_mark_attributes(mark),
                kind=SpanKind.INTERNAL,
                status=_UNSET if mark.error is None else Status(StatusCode.ERROR, mark.error),
                start_time=mark.start + shift,
                end_time=stop + shift,
                instrumentation_scope=SCOPE,
            )
        )
    spans.append(_root(record, scope, provider, root_context, end + shift, len(spans)))
    return spans


def text(value: str) -> str:
    """A string protobuf accepts: one lone surrogate would lose the whole batch."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def _root(
    record: Record,
    scope: Mapping[str, Any],
    provider: TracerProvider,
    context: SpanContext,
    end_ns: int,
    children: int,
) -> ReadableSpan:
    method = text(str(scope.get("method", "")))
    route = _route(scope)
    shift = record.epoch_ns - record.start
    optional: dict[str, Value | None] = {
        "http.route": route,
        "http.response.status_code": record.status,
        "harness.first_send_ns": None if record.first_send is None else record.first_send + shift,
        "harness.last_send_ns": None if record.last_send is None else record.last_send + shift,
        "harness.marks_dropped": record.dropped or None,
        "error.type": record.error,
    }
    attributes: dict[str, Value] = {
        "http.request.method": method,
        "url.path": text(str(scope.get("path", ""))),
        "harness.split": "marks",
        "harness.spans": children,
        "harness.host": host_key(),
    }
    attributes.update({key: value for key, value in optional.items() if value is not None})
    failed = record.error is not None or (record.status or 0) >= 500
    parent = None if record.parent_id is None else _context(record.trace_id, record.parent_id, is_remote=True)
    return ReadableSpan(
        name=f"{method} {_route_name(scope)}",
        context=context,
        parent=parent,
        resource=provider.resource,
        attributes=attributes,
        kind=SpanKind.SERVER,
        status=Status(StatusCode.ERROR, record.error) if failed else _UNSET,
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
    return text(path) if isinstance(path, str) else None


def _route_name(scope: Mapping[str, Any]) -> str:
    """The route's template; else the endpoint's name; else HTTP. Never the raw path, which has no bounds."""
    route = _route(scope)
    if route is not None:
        return route
    name = getattr(scope.get("endpoint"), "__qualname__", None)
    return text(name) if isinstance(name, str) else "HTTP"


def _mark_attributes(mark: Mark) -> dict[str, Value]:
    attributes: dict[str, Value] = {}
    if mark.stage is not None:
        attributes["harness.stage"] = mark.stage
    if mark.cpu_ns is not None:
        attributes["harness.cpu_ns"] = mark.cpu_ns
    if mark.error is not None:
        attributes["error.type"] = mark.error
    for key, value in (mark.attributes or {}).items():
        if value is not None:
            attributes[f"harness.{key}" if key in KNOWN_ATTRIBUTES else key] = _value(value)
    return attributes


def _value(value: object) -> Value:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bool | float):
        return value
    if isinstance(value, Integral) and int(value) in _INT64:
        return int(value)
    return text(str(value))
