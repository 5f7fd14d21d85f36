"""Metrics that services send: number points become vitals."""

from __future__ import annotations

import json
import math
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from span_builders import JSON, PROTOBUF, START, a_metric, post, stored, until

from harness.chunks import read_chunks
from harness.model import Vital
from harness.spans import intake
from harness.spans.intake import Intake
from harness.spans.listen import ReceiverProcess, bind, start
from harness.spans.otlp_metrics import decode
from harness.spans.otlp_values import MalformedBody


def in_json(kind: str = "gauge", **point: Any) -> bytes:
    points = {"dataPoints": [{"timeUnixNano": str(START), **point}]}
    metric = {"name": "process.cpu.utilization", "unit": "1", kind: points}
    owner = [{"key": "service.name", "value": {"stringValue": "reader"}}]
    content = {"resource": {"attributes": owner}, "scopeMetrics": [{"metrics": [metric]}]}
    return json.dumps({"resourceMetrics": [content]}).encode()


def test_a_point_becomes_a_row_in_the_order_of_the_model() -> None:
    body = a_metric(attributes=[KeyValue(key="state", value=AnyValue(string_value="user"))])

    assert decode(body, "protobuf").rows == [
        (START, "reader", 42, "process.cpu.utilization", 0.5, "1", '{"state":"user"}')
    ]


@pytest.mark.parametrize("kind", ["gauge", "sum"])
@pytest.mark.parametrize(("point", "value"), [({"asDouble": 0.5}, 0.5), ({"asInt": "7"}, 7.0), ({"asInt": 7}, 7.0)])
def test_gauges_and_sums_in_json_are_kept(kind: str, point: dict[str, Any], value: float) -> None:
    assert decode(in_json(kind, **point), "json").rows == [
        (START, "reader", None, "process.cpu.utilization", value, "1", None)
    ]


def test_histograms_and_points_without_a_value_are_passed_over() -> None:
    request = ExportMetricsServiceRequest.FromString(a_metric(flags=1))
    metrics = request.resource_metrics[0].scope_metrics[0].metrics
    metrics.add(name="h").histogram.data_points.add(time_unix_nano=START, count=3)
    metrics.add(name="none").gauge.data_points.add(time_unix_nano=START)
    metrics.add(name="a count").sum.data_points.add(time_unix_nano=START, as_int=3)

    found = decode(request.SerializeToString(), "protobuf")

    assert ([row[3:5] for row in found.rows], found.rejected) == ([("a count", 3.0)], 0)
    assert decode(in_json("histogram", count=3), "json").rows == []


@pytest.mark.parametrize(
    "body",
    [
        a_metric(time_unix_nano=0),
        a_metric(time_unix_nano=2**63),
        a_metric(as_double=math.nan),
        a_metric(as_double=math.inf),
        a_metric("n" * 256),
        a_metric(""),
        a_metric(attributes=[KeyValue(key="long", value=AnyValue(string_value="x" * 5000))]),
    ],
)
def test_points_that_cannot_be_used_are_counted(body: bytes) -> None:
    found = decode(body, "protobuf")

    assert (found.rows, found.rejected) == ([], 1)


@pytest.mark.parametrize("body", [b"{", b"[]", in_json(asInt="seven"), in_json(asDouble=[]), in_json(flags="x")])
def test_json_that_is_no_metrics_request_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        decode(body, "json")


def test_no_more_points_than_the_limit_are_kept_and_the_rest_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MOST_POINTS", 2)
    said: list[Any] = []
    taking = Intake(tmp_path / "spans.arrows", said.append)

    answers = [taking.take("metrics", a_metric(), "protobuf", gzipped=False) for _ in range(4)]
    taking.close()

    partial = ExportMetricsServiceResponse.FromString(answers[-1]).partial_success
    assert [bool(answer) for answer in answers] == [False, False, True, True]
    assert partial.error_message == "no more than 2 points of one run are kept"
    assert (said[-1]["points"], said[-1]["points_rejected"]) == (2, 2)
    assert vitals(tmp_path) == [0.5, 0.5]


# --- through the receiver ----------------------------------------------------------------------------------


def vitals(folder: Path) -> list[float]:
    found: list[float] = read_chunks([folder / "vitals.arrows"], Vital).column("value").to_pylist()
    return found


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ReceiverProcess]:
    running = start(bind("127.0.0.1:0"), tmp_path)
    yield running
    running.stop()


def sent(process: ReceiverProcess, body: bytes, content_type: str = PROTOBUF) -> httpx.Response:
    return httpx.post(f"{process.endpoint}/v1/metrics", content=body, headers={"content-type": content_type})


def test_points_are_stored_beside_the_spans_and_counted_apart(process: ReceiverProcess, tmp_path: Path) -> None:
    post(process, 3)
    assert not (tmp_path / "vitals.arrows").exists()

    assert sent(process, a_metric()).content == b""
    rejected = sent(process, in_json(timeUnixNano=0, asInt=1), JSON).json()

    status = process.stop()
    assert rejected["partialSuccess"]["rejectedDataPoints"] == "1"
    assert (status.points, status.points_rejected) == (1, 1)
    assert (status.spans, status.rejected, status.requests) == (3, 0, 1)
    assert (vitals(tmp_path), stored(tmp_path)) == ([0.5], 3)


def test_a_broken_metrics_body_is_refused_with_the_reason(process: ReceiverProcess) -> None:
    answer = sent(process, b"\x07")

    assert answer.status_code == 400
    assert b"the body is not an OTLP metrics request in protobuf" in answer.content


def test_a_full_disk_is_said_of_points_and_then_of_spans(process: ReceiverProcess, tmp_path: Path) -> None:
    sent(process, a_metric())
    until(lambda: (status := process.poll()) and status.points)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, ((tmp_path / "vitals.arrows").stat().st_size + 8,) * 2)

    sent(process, a_metric())
    until(lambda: (status := process.poll()) and status.error)
    first = process.poll()
    assert first is not None
    post(process, 50)

    status = process.stop()
    assert (first.error or "").startswith(f"points can no longer be stored in {tmp_path / 'vitals.arrows'}: ")
    assert (status.error or "").startswith(f"spans can no longer be stored in {tmp_path / 'spans.arrows'}: ")
    assert (status.points, vitals(tmp_path)) == (1, [0.5])
