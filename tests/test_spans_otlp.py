from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from harness.model import Span, columns
from harness.spans.otlp import MalformedBody, SpanRow, decode, encode_answer, encode_refusal

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


@pytest.mark.parametrize(("body", "content_type"), [(a_protobuf(), PROTOBUF), (a_json(), JSON)])
def test_a_span_becomes_a_row_in_the_order_of_the_model(body: bytes, content_type: str) -> None:
    (row,) = decode(body, content_type).rows

    assert row == (TRACE, SPAN, PARENT, "POST /v1/read", "server", "reader", 42, START, END, None, None)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", " application/json "])
def test_the_content_type_is_read_without_its_parameters_and_case(content_type: str) -> None:
    assert the_span(a_json(), content_type)["trace_id"] == TRACE


def test_a_content_type_that_is_no_otlp_is_malformed() -> None:
    with pytest.raises(MalformedBody, match="content type"):
        decode(a_json(), "text/plain")


def test_ids_in_json_are_hex_in_either_case_not_base64() -> None:
    span = the_span(a_json(traceId=TRACE.upper(), spanId=SPAN.upper()), JSON)

    assert (span["trace_id"], span["span_id"]) == (TRACE, SPAN)


def test_json_numbers_may_be_strings_or_numbers_and_unknown_fields_are_skipped() -> None:
    span = the_span(a_json(startTimeUnixNano=START, flags=257, someday={"x": [1]}), JSON)

    assert span["start_ns"] == START


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (0, "unspecified"),
        (1, "internal"),
        (2, "server"),
        (3, "client"),
        (4, "producer"),
        (5, "consumer"),
        (9, "unspecified"),
    ],
)
def test_kinds_are_named(kind: int, name: str) -> None:
    assert the_span(a_protobuf(kind=kind))["kind"] == name
    assert the_span(a_json(kind=kind), JSON)["kind"] == name


def test_a_root_has_no_parent() -> None:
    assert the_span(a_protobuf(parent_span_id=b""))["parent_id"] is None
    assert the_span(a_protobuf(parent_span_id=bytes(8)))["parent_id"] is None
    assert the_span(a_json(parentSpanId=""), JSON)["parent_id"] is None


def test_a_resource_without_attributes_leaves_service_and_pid_unknown() -> None:
    request = ExportTraceServiceRequest.FromString(a_protobuf())
    request.resource_spans[0].ClearField("resource")

    span = the_span(request.SerializeToString())

    assert (span["service"], span["pid"]) == (None, None)


def test_a_body_without_spans_is_valid() -> None:
    assert decode(b"", PROTOBUF).rows == []
    assert decode(b"{}", JSON).rows == []
    assert decode(b'{"resourceSpans": null}', JSON).rows == []


@pytest.mark.parametrize(
    "span",
    [
        {"trace_id": bytes(16)},
        {"trace_id": b"short"},
        {"trace_id": b""},
        {"span_id": bytes(8)},
        {"span_id": b"\x01" * 9},
        {"parent_span_id": b"\x01" * 7},
        {"end_time_unix_nano": START - 1},
        {"end_time_unix_nano": 0},
        {"start_time_unix_nano": 0},
        {"end_time_unix_nano": 2**63},
    ],
    ids=str,
)
def test_a_span_that_cannot_be_used_is_counted_not_fatal(span: dict[str, Any]) -> None:
    both = ExportTraceServiceRequest.FromString(a_protobuf(**span))
    both.MergeFromString(a_protobuf())

    decoded = decode(both.SerializeToString(), PROTOBUF)

    assert (len(decoded.rows), decoded.rejected) == (1, 1)


@pytest.mark.parametrize(
    "span",
    [{"traceId": "not hex"}, {"traceId": 5}, {"spanId": "b7 ad6b71692033"}, {"spanId": None}, {"traceId": TRACE[:-1]}],
    ids=str,
)
def test_a_json_span_with_a_broken_id_is_counted(span: dict[str, Any]) -> None:
    assert decode(a_json(**span), JSON).rejected == 1


def test_an_instant_of_no_length_is_a_span() -> None:
    assert the_span(a_protobuf(end_time_unix_nano=START))["end_ns"] == START


def test_plain_attributes_become_compact_json() -> None:
    pairs = [
        KeyValue(key="harness.stage", value=AnyValue(string_value="inference")),
        KeyValue(key="batch", value=AnyValue(int_value=4)),
        KeyValue(key="share", value=AnyValue(double_value=0.5)),
        KeyValue(key="cached", value=AnyValue(bool_value=False)),
    ]

    text = the_span(a_protobuf(attributes=pairs))["attributes"]

    assert text == '{"harness.stage":"inference","batch":4,"share":0.5,"cached":false}'


def test_protobuf_and_json_attributes_come_out_alike() -> None:
    values = [
        {"key": "s", "value": {"stringValue": "x"}},
        {"key": "i", "value": {"intValue": "-7"}},
        {"key": "d", "value": {"doubleValue": 1.5}},
        {"key": "n", "value": {"doubleValue": "NaN"}},
        {"key": "b", "value": {"boolValue": True}},
        {"key": "y", "value": {"bytesValue": "AP8="}},
        {"key": "a", "value": {"arrayValue": {"values": [{"intValue": 1}, {"stringValue": "z"}]}}},
        {"key": "k", "value": {"kvlistValue": {"values": [{"key": "in", "value": {"boolValue": False}}]}}},
        {"key": "e", "value": {}},
    ]
    expected = {
        "s": "x", "i": -7, "d": 1.5, "n": "NaN", "b": True, "y": "AP8=", "a": [1, "z"], "k": {"in": False}, "e": None,
    }  # fmt: skip

    assert json.loads(the_span(a_json(attributes=values), JSON)["attributes"]) == expected
    assert (
        attributes_of(
            ("s", AnyValue(string_value="x")),
            ("i", AnyValue(int_value=-7)),
            ("d", AnyValue(double_value=1.5)),
            ("n", AnyValue(double_value=math.nan)),
            ("b", AnyValue(bool_value=True)),
            ("y", AnyValue(bytes_value=b"\x00\xff")),
            ("a", AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1), AnyValue(string_value="z")]))),
            ("k", AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="in", value=AnyValue(bool_value=False))]))),
            ("e", AnyValue()),
        )
        == expected
    )


def test_infinities_are_text_because_json_has_none() -> None:
    found = attributes_of(("up", AnyValue(double_value=math.inf)), ("down", AnyValue(double_value=-math.inf)))

    assert found == {"up": "Infinity", "down": "-Infinity"}


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


def test_an_answer_tells_how_many_spans_were_rejected() -> None:
    assert encode_answer("protobuf") == b""
    assert encode_answer("json") == b"{}"
    partial = ExportTraceServiceResponse.FromString(encode_answer("protobuf", 3, "no ids")).partial_success
    assert (partial.rejected_spans, partial.error_message) == (3, "no ids")
    assert json.loads(encode_answer("json", 3, "no ids")) == {
        "partialSuccess": {"rejectedSpans": "3", "errorMessage": "no ids"}
    }


def test_a_refusal_is_a_status_with_the_reason_as_its_message() -> None:
    # google.rpc.Status: field 2 (tag 0x12), its length, the text.
    assert encode_refusal("protobuf", "no") == b"\x12\x02no"
    assert encode_refusal("json", "no") == b'{"message":"no"}'


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
