"""OTLP bodies that are wrong, damaged or meant to do harm."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from span_builders import JSON, PROTOBUF, a_json, a_protobuf, attributes_of, the_span

from harness.model import Span, columns
from harness.spans import otlp_metrics
from harness.spans.otlp import MalformedBody, SpanRow, decode


def test_a_deep_attribute_is_cut_not_followed() -> None:
    deep = AnyValue(string_value="bottom")
    for _ in range(28):
        deep = AnyValue(array_value=ArrayValue(values=[deep]))

    text = json.dumps(attributes_of(("deep", deep)))

    assert "bottom" not in text
    assert text.count("[") == 24


def test_a_body_nested_beyond_reason_is_malformed() -> None:
    with pytest.raises(MalformedBody):
        decode(b'{"resourceSpans":' + b"[" * 200_000, JSON)
    deep: dict[str, Any] = {"stringValue": "bottom"}
    for _ in range(150):
        deep = {"kvlistValue": {"values": [{"key": "k", "value": deep}]}}
    body = a_json(attributes=[{"key": "deep", "value": deep}])
    assert "bottom" not in the_span(body, JSON)["attributes"]


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a\x00b", "'; DROP TABLE spans", "日本 🧾", ""])
def test_a_name_stays_text_whatever_it_says(name: str) -> None:
    assert the_span(a_protobuf(name=name))["name"] == name
    assert the_span(a_json(name=name), JSON)["name"] == name


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    body = a_json(name="NAME").replace(b"NAME", rb"a\ud800b")

    assert the_span(body, JSON)["name"] == "a?b"


def test_a_long_service_name_does_not_multiply_into_every_row() -> None:
    request = ExportTraceServiceRequest.FromString(a_protobuf())
    request.resource_spans[0].resource.attributes[0].value.string_value = "s" * 1_000_000

    assert the_span(request.SerializeToString())["service"] == "s" * 255


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"\xff\xfe\x00", "the body is not JSON"),
        (b"9" * 10_000, "the body is not JSON"),
        (b"[]", "the body is not a JSON object"),
        (b"7", "the body is not a JSON object"),
        (b'{"resourceSpans": {}}', "resourceSpans is not an array of objects"),
        (b'{"resourceSpans": [3]}', "resourceSpans is not an array of objects"),
        (b'{"resourceSpans": [{"resource": []}]}', "resource is not an object"),
        (a_json(name=7), "name is not a string"),
        (a_json(startTimeUnixNano="soon"), "startTimeUnixNano is not an integer"),
        (a_json(startTimeUnixNano=True), "startTimeUnixNano is not an integer"),
        (a_json(startTimeUnixNano=math.inf), "startTimeUnixNano is not an integer"),
        (a_json(startTimeUnixNano="9" * 5000), "startTimeUnixNano is not an integer"),
        (a_json(attributes=[{"key": "a", "value": {"doubleValue": []}}]), "doubleValue is not a number"),
        (a_json(attributes=[{"key": "a", "value": {"intValue": 2**63}}]), "intValue does not fit into 64 bits"),
        (a_json(events=[{"timeUnixNano": "soon"}]), "timeUnixNano is not an integer"),
        (a_json(links=7), "links is not an array of objects"),
        (a_json(attributes=[{"key": 3}]), "key is not a string"),
        (a_json(attributes=[{"key": "a", "value": {"kvlistValue": 3}}]), "kvlistValue is not an object"),
    ],
)
def test_malformed_json_is_refused_with_a_short_reason(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedBody) as caught:
        decode(body, JSON)
    assert str(caught.value) == reason


def test_malformed_protobuf_is_refused_with_a_short_reason() -> None:
    for body in (b"\x07", a_protobuf()[:-3], a_json()):
        with pytest.raises(MalformedBody, match="not an OTLP trace request in protobuf"):
            decode(body, PROTOBUF)


def holding(content: bytes) -> bytes:
    """A field 1 in protobuf; its length is spelled in four bytes."""
    size = len(content)
    return b"\x0a" + bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14 & 127 | 128, size >> 21]) + content


@pytest.mark.parametrize("signal", ["traces", "metrics"])
def test_a_body_of_countless_empty_parts_is_refused_before_they_are_looked_at(signal: str) -> None:
    parts = b"\x12\x00" * 999_999  # spans of a scope of a resource: with these two, one too many
    scope = b"\x12" + holding(parts)[1:]

    with pytest.raises(MalformedBody, match="more than 1,000,000 parts"):
        otlp_metrics.decode(holding(scope), "protobuf") if signal == "metrics" else decode(holding(scope), PROTOBUF)


WHOLE = {
    PROTOBUF: a_protobuf(
        attributes=[
            KeyValue(key="list", value=AnyValue(array_value=ArrayValue(values=[AnyValue(double_value=math.nan)]))),
            KeyValue(key="text", value=AnyValue(string_value="x")),
        ]
    ),
    JSON: a_json(attributes=[{"key": "a", "value": {"arrayValue": {"values": [{"intValue": "1"}]}}}]),
}


def rows_or_reason(body: bytes, content_type: str) -> list[SpanRow]:
    """The rows; none when the body was refused, with a short reason. Anything else that is raised fails the test."""
    try:
        return decode(body, content_type).rows
    except MalformedBody as error:
        reason = str(error)
    assert 0 < len(reason) < 100
    return []


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(sorted(WHOLE)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=5),
    st.floats(0.5, 1),
)
def test_a_damaged_body_gives_rows_or_a_reason_and_nothing_else(
    content_type: str, changes: list[tuple[float, int]], kept: float
) -> None:
    body = bytearray(WHOLE[content_type])
    for where, value in changes:
        body[int(where * len(body))] = value
    for row in rows_or_reason(bytes(body[: math.ceil(kept * len(body))]), content_type):
        span = dict(zip(columns(Span), row, strict=True))
        assert len(span["trace_id"]) == 32
        assert 0 < span["start_ns"] <= span["end_ns"] < 2**63
        span["name"].encode()
        if span["attributes"] is not None:
            json.loads(span["attributes"], parse_constant=pytest.fail)


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["resourceSpans", "resource", "scopeSpans", "spans", "attributes", "key", "value", "traceId", "arrayValue",
             "values", "doubleValue", "intValue", "kvlistValue", "kind", "name", "bytesValue", "boolValue"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=30,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(any_json)
def test_json_of_any_shape_gives_rows_or_a_reason(content: object) -> None:
    body = json.dumps({"resourceSpans": [content, {"scopeSpans": [{"spans": [content]}]}]})

    assert rows_or_reason(body.encode(), JSON) == []  # such ids are never valid
