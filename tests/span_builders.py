"""OTLP bodies and a running receiver, for the tests of spans."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from harness.chunks import read_chunks
from harness.model import Span, columns
from harness.spans.listen import ReceiverProcess
from harness.spans.otlp import decode

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
PARENT = "00f067aa0ba902b7"
START, END = 1_700_000_000_000_000_000, 1_700_000_000_250_000_000


def a_protobuf(**span: Any) -> bytes:
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.extend(
        [
            KeyValue(key="service.name", value=AnyValue(string_value="reader")),
            KeyValue(key="process.pid", value=AnyValue(int_value=42)),
        ]
    )
    defaults = {
        "trace_id": bytes.fromhex(TRACE),
        "span_id": bytes.fromhex(SPAN),
        "parent_span_id": bytes.fromhex(PARENT),
        "name": "POST /v1/read",
        "kind": 2,
        "start_time_unix_nano": START,
        "end_time_unix_nano": END,
    }
    resource_spans.scope_spans.add().spans.add(**{**defaults, **span})
    body: bytes = request.SerializeToString()
    return body


def a_metric(name: str = "process.cpu.utilization", **point: Any) -> bytes:
    """A gauge of one point, in protobuf."""
    request = ExportMetricsServiceRequest()
    resource_metrics = request.resource_metrics.add()
    resource_metrics.resource.attributes.extend(
        [
            KeyValue(key="service.name", value=AnyValue(string_value="reader")),
            KeyValue(key="process.pid", value=AnyValue(int_value=42)),
        ]
    )
    metric = resource_metrics.scope_metrics.add().metrics.add(name=name, unit="1")
    metric.gauge.data_points.add(**{"time_unix_nano": START, "as_double": 0.5, **point})
    body: bytes = request.SerializeToString()
    return body


def a_json(**span: Any) -> bytes:
    defaults = {
        "traceId": TRACE,
        "spanId": SPAN,
        "parentSpanId": PARENT,
        "name": "POST /v1/read",
        "kind": 2,
        "startTimeUnixNano": str(START),
        "endTimeUnixNano": str(END),
    }
    spans = [{**defaults, **span}]
    resource = {
        "attributes": [
            {"key": "service.name", "value": {"stringValue": "reader"}},
            {"key": "process.pid", "value": {"intValue": "42"}},
        ]
    }
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}).encode()


def the_span(body: bytes, content_type: str = PROTOBUF) -> dict[str, Any]:
    decoded = decode(body, content_type)
    assert (len(decoded.rows), decoded.rejected) == (1, 0)
    return dict(zip(columns(Span), decoded.rows[0], strict=True))


def attributes_of(*pairs: tuple[str, AnyValue]) -> Any:
    body = a_protobuf(attributes=[KeyValue(key=key, value=value) for key, value in pairs])
    return json.loads(the_span(body)["attributes"])


def a_body(count: int) -> bytes:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for _ in range(count):
        spans.add(trace_id=os.urandom(16), span_id=os.urandom(8), start_time_unix_nano=1, end_time_unix_nano=2)
    body: bytes = request.SerializeToString()
    return body


def post(process: ReceiverProcess, count: int) -> bytes:
    status, answer = send(process.endpoint, a_body(count))
    assert status == 200
    return answer


def send(endpoint: str, body: bytes) -> tuple[int, bytes]:
    with contextlib.closing(HTTPConnection(endpoint.removeprefix("http://"), timeout=20)) as connection:
        connection.request("POST", "/v1/traces", body, {"content-type": PROTOBUF})
        answer = connection.getresponse()
        return answer.status, answer.read()


def until(condition: Callable[[], object], deadline_s: float = 10) -> None:
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def counted(process: ReceiverProcess) -> int:
    assert process.drained(quiet_s=0.0, deadline_s=10)
    status = process.poll()
    assert status is not None
    return status.spans


def stored(folder: Path) -> int:
    rows: int = read_chunks([folder / "spans.arrows"], Span).num_rows
    return rows
