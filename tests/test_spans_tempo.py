"""What Tempo's query APIs answer, read into spans and ids."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model import Span, columns
from harness.spans.otlp import Decoded, MalformedBody
from harness.spans.tempo import V1, V2, read_ids
from tests.span_builders import JSON, PARENT, SPAN, START, TRACE, a_json, a_protobuf

PROTOBUF = "application/protobuf"
LONG = "POST /v1/read/every/receipt"  # so that the length of the trace takes two digits


def b64(digits: str) -> str:
    return base64.b64encode(bytes.fromhex(digits)).decode()


def a_jsonpb() -> Any:
    """The trace as protobuf's own JSON mapping writes it."""
    body = a_json(traceId=b64(TRACE), spanId=b64(SPAN), parentSpanId=b64(PARENT), kind="SPAN_KIND_SERVER")
    return json.loads(body)["resourceSpans"]


def only(decoded: Decoded) -> dict[str, Any]:
    assert (len(decoded.rows), decoded.rejected) == (1, 0)
    return dict(zip(columns(Span), decoded.rows[0], strict=True))


def wrapped(trace: bytes) -> bytes:
    """TraceByIDResponse: the trace (1), metrics (2), a status (3), and fields of later versions."""
    assert 128 <= len(trace) < 2**14
    length = bytes([len(trace) & 0x7F | 0x80, len(trace) >> 7])
    return b"\x0a" + length + trace + b"\x12\x02\x08\x05\x18\x01" + b"\x21" + b"x" * 8 + b"\x2d" + b"x" * 4


@pytest.mark.parametrize(("api", "content"), [(V2, {"trace": {"resourceSpans": 0}}), (V1, {"batches": 0})])
def test_ids_in_base64_are_read(api: Any, content: dict[str, Any]) -> None:
    body = json.dumps(content).replace("0", json.dumps(a_jsonpb())).encode()
    row = only(api.read(body, JSON))

    assert (row["trace_id"], row["span_id"], row["parent_id"]) == (TRACE, SPAN, PARENT)
    assert (row["kind"], row["start_ns"], row["service"]) == ("server", START, "reader")


def test_ids_in_hexadecimal_are_read_too() -> None:
    assert only(V2.read(b'{"trace":' + a_json() + b"}", JSON))["span_id"] == SPAN


def test_spans_below_their_old_name_are_read() -> None:
    body = json.dumps({"batches": a_jsonpb()}).replace("scopeSpans", "instrumentationLibrarySpans").encode()

    assert only(V1.read(body, JSON))["trace_id"] == TRACE


def test_protobuf_is_taken_out_of_its_envelope() -> None:
    assert only(V2.read(wrapped(a_protobuf(name=LONG)), PROTOBUF))["trace_id"] == TRACE
    assert only(V1.read(a_protobuf(), PROTOBUF))["trace_id"] == TRACE


@pytest.mark.parametrize("body", [b'{"trace":{}}', b'{"trace":null}', b"{}", b""])
def test_no_trace_is_empty(body: bytes) -> None:
    assert V2.read(body, JSON) == Decoded([], 0)


@pytest.mark.parametrize("body", [b'{"trace":[1]}', b'{"batches":1}', b"trace not found", b"[]"])
def test_what_is_no_trace_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        V2.read(body, JSON)


@pytest.mark.parametrize("cut", [1, 2, 50, 130])
def test_protobuf_that_is_cut_off_is_refused(cut: int) -> None:
    with pytest.raises(MalformedBody):
        V2.read(wrapped(a_protobuf(name=LONG))[:cut], PROTOBUF)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for api in (V1, V2):
        for content_type in (PROTOBUF, JSON):
            try:
                assert api.read(body, content_type).rejected >= 0
            except MalformedBody:
                continue


def test_a_search_gives_ids_padded() -> None:
    body = json.dumps({"traces": [{"traceID": "2f3e"}, {"traceID": TRACE}, {}], "metrics": {}}).encode()

    assert read_ids(body) == [f"{0x2F3E:032x}", TRACE]
    assert read_ids(b'{"metrics":{}}') == []


def test_a_search_that_finds_something_else_is_refused() -> None:
    with pytest.raises(MalformedBody):
        read_ids(b'{"traces": 3}')


def test_the_window_of_a_search_is_widened_to_whole_seconds() -> None:
    assert V2.ids_between is not None
    _, params = V2.ids_between(1_500_000_000, 2_000_000_001, 9)

    assert (params["start"], params["end"], params["limit"]) == ("1", "3", "9")
