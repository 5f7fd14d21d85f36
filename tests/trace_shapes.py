"""Spans in the shapes that Jaeger, Tempo and a collector's file exporter give them.

Written down from the servers' own code and snapshots, not from what the harness reads.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.instrument_support import SinkSpan

T0 = 1_700_000_000_000_000_000
MS = 1_000_000
_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
ENUMS = [f"SPAN_KIND_{kind.upper()}" for kind in _KINDS]


def a_trace(number: int, children: int = 1, service: str = "reader", **root: Any) -> list[SinkSpan]:
    """A request's server span, 10 to 90 ms, and its stages, 20 to 30 ms, after T0 + `number` ms; times in ns."""
    trace_id = f"{0xABCD0000 << 96 | number + 1:032x}"
    start = T0 + number * MS
    attributes = {"harness.split": "marks", "harness.spans": children, "harness.host": "h", **root}
    top = SinkSpan(trace_id, f"{1:016x}", f"{number + 1:016x}", "POST /v1/read", 2, start + 10 * MS + 123,
                   start + 90 * MS + 456, False, attributes, 42, service)  # fmt: skip
    stages = [
        SinkSpan(trace_id, f"{child + 2:016x}", top.span_id, "infer", 1, start + 20 * MS, start + 30 * MS, False,
                 {"harness.stage": "inference", "harness.model": "det"}, 42, service)
        for child in range(children)
    ]  # fmt: skip
    return [*stages, top]


def as_legacy(trace: list[SinkSpan]) -> dict[str, Any]:
    tags = [{"key": "process.pid", "type": "int64", "value": trace[0].pid}]
    return {
        "traceID": trace[0].trace_id,
        "spans": [_legacy_span(span) for span in trace],
        "processes": {"p1": {"serviceName": trace[0].service, "tags": tags}},
        "warnings": None,
    }


def _legacy_span(span: SinkSpan) -> dict[str, Any]:
    tags = [_tag(key, value) for key, value in span.attributes.items()]
    tags.append({"key": "otel.scope.name", "type": "string", "value": "harness.instrument"})
    tags.append({"key": "span.kind", "type": "string", "value": _KINDS[span.kind]})
    return {
        "traceID": span.trace_id,
        "spanID": span.span_id,
        "operationName": span.name,
        "references": [{"refType": "CHILD_OF", "traceID": span.trace_id, "spanID": span.parent_id}],
        "startTime": span.start_ns // 1_000,
        "duration": (span.end_ns - span.start_ns) // 1_000,
        "tags": tags,
        "logs": [],
        "processID": "p1",
        "warnings": None,
    }


def _tag(key: str, value: object) -> dict[str, Any]:
    if isinstance(value, int):
        return {"key": key, "type": "int64", "value": value if value < 2**53 else str(value)}
    return {"key": key, "type": "string", "value": value}


def as_protobuf(trace: Iterable[SinkSpan]) -> bytes:
    message = ExportTraceServiceRequest()
    for span in trace:
        resource_spans = message.resource_spans.add()
        resource_spans.resource.attributes.add(key="service.name").value.string_value = span.service or ""
        resource_spans.resource.attributes.add(key="process.pid").value.int_value = span.pid or 0
        made = resource_spans.scope_spans.add().spans.add(
            trace_id=bytes.fromhex(span.trace_id), span_id=bytes.fromhex(span.span_id),
            parent_span_id=bytes.fromhex(span.parent_id), name=span.name, kind=span.kind,
            start_time_unix_nano=span.start_ns, end_time_unix_nano=span.end_ns,
        )  # fmt: skip
        for key, value in span.attributes.items():
            kept = made.attributes.add(key=key).value
            if isinstance(value, int):
                kept.int_value = value
            else:
                kept.string_value = value
    body: bytes = message.SerializeToString()
    return body


def as_hex(digits: str) -> str:
    return digits


def as_base64(digits: str) -> str:
    return base64.b64encode(bytes.fromhex(digits)).decode()


def as_otlp(traces: list[list[SinkSpan]], ids: Callable[[str], str], kind: Callable[[int], object]) -> list[Any]:
    """One resourceSpans per trace."""
    return [
        {
            "resource": {"attributes": [
                {"key": "service.name", "value": {"stringValue": trace[0].service}},
                {"key": "process.pid", "value": {"intValue": str(trace[0].pid)}},
            ]},
            "scopeSpans": [{"scope": {}, "spans": [_otlp_span(span, ids, kind) for span in trace]}],
        }
        for trace in traces
    ]  # fmt: skip


def _otlp_span(span: SinkSpan, ids: Callable[[str], str], kind: Callable[[int], object]) -> dict[str, Any]:
    return {
        "traceId": ids(span.trace_id),
        "spanId": ids(span.span_id),
        "parentSpanId": ids(span.parent_id),
        "name": span.name,
        "kind": kind(span.kind),
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": [
            {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
            for key, value in span.attributes.items()
        ],
        "status": {},
    }


def file_line(trace: list[SinkSpan]) -> bytes:
    """A line of a collector's file exporter."""
    return json.dumps({"resourceSpans": as_otlp([trace], as_hex, int)}, separators=(",", ":")).encode() + b"\n"
