from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from span_builders import END, JSON, PARENT, PROTOBUF, SPAN, START, TRACE, a_json, a_protobuf, attributes_of, the_span

from harness.spans.otlp import MalformedBody, decode, encode_answer, encode_refusal


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


# --- stage, scope, events, links ---------------------------------------------------------------------------


def with_scope(body: bytes, name: str) -> bytes:
    request = ExportTraceServiceRequest.FromString(body)
    request.resource_spans[0].scope_spans[0].scope.name = name
    encoded: bytes = request.SerializeToString()
    return encoded


@pytest.mark.parametrize("stage", ["upload", "queue", "preprocess", "inference", "postprocess", "download"])
def test_the_stage_is_filled_from_its_attribute(stage: str) -> None:
    pairs = [KeyValue(key="harness.stage", value=AnyValue(string_value=stage))]

    assert the_span(a_protobuf(attributes=pairs))["stage"] == stage
    assert the_span(a_json(attributes=[{"key": "harness.stage", "value": {"stringValue": stage}}]), JSON)["stage"] == (
        stage
    )


@pytest.mark.parametrize("value", [{"stringValue": "coffee"}, {"intValue": 3}, {"stringValue": ""}, {}])
def test_what_names_no_stage_fills_none(value: dict[str, Any]) -> None:
    body = a_json(attributes=[{"key": "harness.stage", "value": value}])
    pairs = [KeyValue(key="harness.stage", value=AnyValue(string_value="coffee"))]

    assert the_span(body, JSON)["stage"] is None
    assert the_span(a_protobuf(attributes=pairs))["stage"] is None


def test_of_two_attributes_with_one_key_the_last_counts() -> None:
    pairs = [KeyValue(key="harness.stage", value=AnyValue(string_value=s)) for s in ("queue", "inference")]

    span = the_span(a_protobuf(attributes=pairs))

    assert (span["stage"], span["attributes"]) == ("inference", '{"harness.stage":"inference"}')


def test_events_and_links_are_kept_beside_the_attributes() -> None:
    event = {"name": "first token", "time_unix_nano": START + 5}
    link = {"trace_id": b"\xab" * 16, "span_id": b"\xcd" * 8}
    expected = {"otel.events": [["first token", START + 5]], "otel.links": [["ab" * 16, "cd" * 8]]}

    span = the_span(a_protobuf(events=[event], links=[link, {"trace_id": b"short"}]))
    in_json = the_span(
        a_json(
            events=[{"name": "first token", "timeUnixNano": str(START + 5)}],
            links=[{"traceId": "AB" * 16, "spanId": "CD" * 8}, {"traceId": "zz"}],
        ),
        JSON,
    )

    assert json.loads(span["attributes"]) == json.loads(in_json["attributes"]) == expected


def test_only_the_first_events_and_links_are_kept_and_long_names_are_cut() -> None:
    events = [{"name": "e" * 500, "time_unix_nano": START + n} for n in range(100)]
    links = [{"trace_id": b"\xab" * 16, "span_id": b"\xcd" * 8}] * 200

    kept = json.loads(the_span(a_protobuf(events=events, links=links))["attributes"])

    assert kept["otel.events"] == [["e" * 128, START + n] for n in range(64)]
    assert len(kept["otel.links"]) == 128


@pytest.mark.parametrize(("name", "kept"), [("", None), ("harness.instrument", None), ("fastapi", "fastapi")])
def test_the_scope_is_kept_unless_it_is_ours(name: str, kept: str | None) -> None:
    attributes = the_span(with_scope(a_protobuf(), name))["attributes"]

    assert (json.loads(attributes)["otel.scope.name"] if attributes else None) == kept


@pytest.mark.parametrize("key", ["otel.events", "otel.links", "otel.scope.name"])
def test_an_attribute_under_a_key_of_ours_is_left_out(key: str) -> None:
    pairs = [KeyValue(key=key, value=AnyValue(string_value="theirs"))]

    assert the_span(a_protobuf(attributes=pairs))["attributes"] is None
    assert the_span(a_json(attributes=[{"key": key, "value": {"intValue": 1}}]), JSON)["attributes"] is None


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=300) | st.integers(-(2**63), 2**63 - 1), max_size=5))
def test_attributes_come_out_of_protobuf_as_they_went_in(attributes: dict[str, str | int]) -> None:
    values = {
        key: AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value)
        for key, value in attributes.items()
    }
    for _ in range(2):  # read, then looked up
        found = the_span(a_protobuf(attributes=[KeyValue(key=k, value=v) for k, v in values.items()]))["attributes"]
        assert (json.loads(found) if found else {}) == attributes
