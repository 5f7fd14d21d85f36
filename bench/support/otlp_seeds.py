"""OTLP bodies as services send them, with a bit of everything the protocol knows."""

from __future__ import annotations

import json
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

NOW = 1_795_000_000_000_000_000


def seeds_of(signal: str) -> tuple[list[bytes], list[bytes]]:
    """Bodies of a signal as services send them: (protobuf, JSON)."""
    if signal == "metrics":
        return [_metrics(1), _metrics(4)], [json.dumps(_metrics_json(n)).encode() for n in (1, 3)]
    return [_traces(1), _traces(6)], [json.dumps(_traces_json(n)).encode() for n in (1, 4)]


def _attributes(number: int) -> list[KeyValue]:
    deep = AnyValue(string_value="bottom")
    for _ in range(number * 7):
        deep = AnyValue(array_value=ArrayValue(values=[deep]))
    inner = KeyValueList(values=[KeyValue(key="in", value=AnyValue(bool_value=True))])
    values = {
        "harness.stage": AnyValue(string_value="inference"), "batch.size": AnyValue(int_value=number),
        "share": AnyValue(double_value=0.25), "raw": AnyValue(bytes_value=b"\x00\xff"), "deep": deep,
        "map": AnyValue(kvlist_value=inner), "none": AnyValue(),
    }  # fmt: skip
    return [KeyValue(key=key, value=value) for key, value in values.items()]


def _traces(count: int) -> bytes:
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.add(key="service.name", value=AnyValue(string_value="reader"))
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = "fastapi"
    for number in range(count):
        span = scope_spans.spans.add(
            trace_id=b"\x0a" * 16, span_id=bytes([number + 1]) * 8, parent_span_id=b"\x07" * 8, name=f"stage {number}",
            kind=1 + number % 5, start_time_unix_nano=NOW, end_time_unix_nano=NOW + number,
            attributes=_attributes(number),
        )  # fmt: skip
        span.events.add(name="first token", time_unix_nano=NOW)
        span.links.add(trace_id=b"\x0b" * 16, span_id=b"\x0c" * 8)
    content: bytes = request.SerializeToString()
    return content


def _metrics(count: int) -> bytes:
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    for number in range(count):
        metric = metrics.add(name=f"process.{number}", unit="1")
        metric.gauge.data_points.add(time_unix_nano=NOW, as_double=0.5, attributes=_attributes(number))
        metrics.add(name="sum").sum.data_points.add(time_unix_nano=NOW, as_int=number)
        metrics.add(name="spread").histogram.data_points.add(time_unix_nano=NOW, count=number)
    content: bytes = request.SerializeToString()
    return content


def _json_attributes() -> list[dict[str, Any]]:
    return [
        {"key": "harness.stage", "value": {"stringValue": "queue"}},
        {"key": "batch.size", "value": {"intValue": "4"}},
        {"key": "share", "value": {"doubleValue": 0.25}},
        {"key": "list", "value": {"arrayValue": {"values": [{"boolValue": True}, {"bytesValue": "AP8="}]}}},
        {"key": "map", "value": {"kvlistValue": {"values": [{"key": "in", "value": {"intValue": 1}}]}}},
    ]


def _traces_json(count: int) -> Any:
    spans = [
        {
            "traceId": "0a" * 16, "spanId": f"{number + 1:016x}", "parentSpanId": "07" * 8, "name": f"stage {number}",
            "kind": "SPAN_KIND_SERVER", "startTimeUnixNano": str(NOW), "endTimeUnixNano": NOW + number,
            "attributes": _json_attributes(), "events": [{"name": "token", "timeUnixNano": str(NOW)}],
            "links": [{"traceId": "0b" * 16, "spanId": "0c" * 8}],
        }
        for number in range(count)
    ]  # fmt: skip
    scope_spans = {"scope": {"name": "express"}, "spans": spans}
    return {"resourceSpans": [{"resource": {"attributes": _json_attributes()}, "scopeSpans": [scope_spans]}]}


def _metrics_json(count: int) -> Any:
    points = [
        {"timeUnixNano": str(NOW), "asInt": "5", "attributes": _json_attributes()},
        {"timeUnixNano": NOW, "asDouble": 1},
    ]
    metrics = [{"name": f"process.{number}", "unit": "1", "gauge": {"dataPoints": points}} for number in range(count)]
    return {
        "resourceMetrics": [{"resource": {"attributes": _json_attributes()}, "scopeMetrics": [{"metrics": metrics}]}]
    }
