"""Our own encoding says what the SDK's would say of the same requests, and the exporter's settings are obeyed."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from harness.instrument import encode
from harness.instrument.exporter import Entry, Sender, Sent, _packed, _preamble, sender
from harness.instrument.marks import STAGES, Mark, Record, add_mark
from harness.instrument.spans import Finished, finished, spans_of

PROVIDER = TracerProvider(resource=Resource({"service.name": "läser", "process.pid": 7}), shutdown_on_exit=False)
EPOCH = 1_790_000_000_000_000_000


class Device(StrEnum):
    CPU = "cpu"


def same_ids(number: int) -> list[bytes]:
    return [hashlib.sha256(at.to_bytes(4, "big")).digest()[:8] for at in range(number)]


def decoded(bodies: list[bytes]) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    for body in bodies:
        request.MergeFromString(body)
    return request


def ours(done: Finished) -> ExportTraceServiceRequest:
    return decoded([encode.request(_preamble(PROVIDER.resource), [encode.encoded(done, same_ids)])])


texts = st.text(st.characters(exclude_categories=()), max_size=200)  # lone surrogates, too
values = (
    texts
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from([None, b"\xff", [1, "a"], Device.CPU, 2**63, -(2**63), 2**63 - 1])
)
keys = st.sampled_from(["model", "batch_size", "own", "harness.model", "harness.stage", "error.type"]) | st.text(
    max_size=9
)
offsets = st.integers(0, 2**40)


@st.composite
def requests(draw: st.DrawFn) -> Finished:
    """A closed request with some nested, open, failed and late marks."""
    parent_id = draw(st.none() | st.integers(1, 2**64 - 1))
    start = draw(st.integers(0, 2**50))
    record = Record(start, EPOCH, draw(st.integers(1, 2**128 - 1)), draw(st.integers(1, 2**64 - 1)), parent_id)
    marks = [Mark(record, None, None, "request", None, start)]
    for _ in range(draw(st.integers(0, 6))):
        parent, stage = draw(st.sampled_from(marks)), draw(st.sampled_from([*STAGES, None]))
        begin = start + draw(offsets)
        attributes = draw(st.none() | st.dictionaries(keys, values, max_size=3))
        mark = add_mark(parent, stage, draw(texts), begin, begin + draw(offsets), attributes)
        mark.error, mark.cpu_ns = draw(st.none() | texts), draw(st.none() | offsets)
        if draw(st.booleans()):
            mark.end = None
        marks.append(mark)
    record.end, record.closed = start + draw(offsets), True
    record.status, record.error = draw(st.none() | st.integers(100, 599)), draw(st.none() | texts)
    record.body_end, record.first_send = draw(st.none() | offsets), draw(st.none() | offsets)
    record.dropped = draw(st.integers(0, 3))
    scope = {"method": draw(texts), "path": draw(texts), "route": draw(st.none() | texts)}
    return finished(record, scope)


@given(requests())
def test_what_we_encode_is_what_the_sdk_would_encode(done: Finished) -> None:
    assert ours(done) == encode_spans(spans_of(done, PROVIDER, same_ids))


def test_equal_values_of_different_types_are_not_taken_for_each_other() -> None:
    record = Record(0, EPOCH, 1, 2, None)
    root = Mark(record, None, None, "request", None, 0)
    for at, value in enumerate([1, True, 1.0, "1", 0, False, -0.0]):
        add_mark(root, None, "same", at, at + 1, {"own": value})
    record.end = 10
    *children, _ = ours(finished(record, {})).resource_spans[0].scope_spans[0].spans

    kinds = [child.attributes[0].value.WhichOneof("value") for child in children]
    assert kinds == [
        "int_value",
        "bool_value",
        "double_value",
        "string_value",
        "int_value",
        "bool_value",
        "double_value",
    ]


def test_many_odd_names_do_not_fill_the_memory() -> None:
    record = Record(0, EPOCH, 1, 2, None)
    root = Mark(record, None, None, "request", None, 0)
    for at in range(9_000):
        add_mark(root, "inference", f"call {at}", at, at + 1, {"batch_id": f"batch {at}"})
    record.end = 10_000
    spans = ours(finished(record, {})).resource_spans[0].scope_spans[0].spans

    assert len(encode._kept) <= encode.MAX_KEPT
    assert [span.name for span in spans[:9_000]] == [f"call {at}" for at in range(9_000)]


def a_request(path: str = "/") -> Finished:
    record = Record(0, EPOCH, 1, 2, None)
    record.end = 10
    return finished(record, {"method": "GET", "path": path})


def large_request() -> Finished:
    return a_request()._replace(
        marks=[Mark(a_request().record, None, None, "x" * 4_000, None, at) for at in range(100)]
    )


def test_a_large_batch_is_packed_in_pieces() -> None:
    parcels = list(_packed([large_request() for _ in range(7)]))  # 100 x 4 kB each

    assert [(one.spans, one.failure) for one in parcels] == [(303, None), (303, None), (101, None)]
    assert max(one.size for one in parcels) < 1_300_000


def test_a_request_that_cannot_be_encoded_is_the_only_one_lost() -> None:
    broken = a_request()._replace(path=object())  # type: ignore[arg-type]
    parcels = list(_packed([a_request(), broken, a_request()]))

    assert [(one.spans, one.failure is None) for one in parcels] == [(1, False), (2, True)]


def test_long_names_and_values_are_cut_and_not_kept() -> None:
    record = Record(0, EPOCH, 1, 2, None)
    root = Mark(record, None, None, "request", None, 0)
    attributes = {"prompt": "ä" * 9_000, "y" * 70: 1, "digits": 10**5_000}
    add_mark(root, None, "n" * 5_000, 0, 1, attributes)
    record.end = 10
    encode.cut_values_at(5_000)
    longer = ours(finished(record, {})).resource_spans[0].scope_spans[0].spans[0]
    encode.cut_values_at(encode.LONGEST_TEXT)
    cut = ours(finished(record, {})).resource_spans[0].scope_spans[0].spans[0]

    assert len(longer.attributes[0].value.string_value) == 5_000
    assert [len(a.value.string_value) for a in cut.attributes] == [4_096, 0, len("<int of 16610 bits>")]
    assert cut.name == "n" * 255
    assert max(len(part) for key in encode._kept for part in key if isinstance(part, str)) <= 64


def through(send: Sender, entries: list[Entry]) -> Sent:
    return send.post(list(send.pack(entries)))


def test_an_exporter_without_the_private_client_gets_spans() -> None:
    memory = InMemorySpanExporter()
    send = sender(memory, PROVIDER)

    assert through(send, [a_request(), a_request("/two")]) == (0, None)
    assert [(span.attributes or {})["url.path"] for span in memory.get_finished_spans()] == ["/", "/two"]
    memory.shutdown()
    assert through(send, [a_request()]) == (1, "the exporter gave up")


QUOTA = ExportTraceServiceResponse(partial_success={"rejected_spans": 2, "error_message": "quota"}).SerializeToString()
PROTOBUF, JSON = "application/x-protobuf", "application/json"


@pytest.mark.parametrize(
    ("status", "kind", "answer", "sent"),
    [
        (200, PROTOBUF, b"", (0, None)),
        (202, PROTOBUF, QUOTA, (2, "quota")),
        (200, JSON, b'{"partialSuccess": {"rejectedSpans": "1"}}', (1, "the collector refused some")),
        (200, JSON, b'{"partialSuccess": {"rejectedSpans": 99, "errorMessage": "no"}}', (3, "no")),
        (200, JSON, b"{}", (0, None)),
        (200, PROTOBUF, b"\xff\xfe" * 9, (3, "the answer is not one of a collector")),
        (200, "text/html; charset=utf-8", b"<html>log in", (3, "a web page answered, not a collector")),
        (200, "text/plain", b"ok", (0, None)),
        (302, PROTOBUF, b"", (3, "302 Found")),
        (400, PROTOBUF, b"", (3, "Bad Request")),
    ],
)
def test_what_a_collector_did_not_take_is_lost(status: int, kind: str, answer: bytes, sent: tuple[int, object]) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        exporter = OTLPSpanExporter(f"http://127.0.0.1:{server.server_address[1]}/v1/traces")
        found = through(sender(exporter, PROVIDER), [a_request(), a_request(), a_request()])
        exporter.shutdown()
        thread.join()

    assert found == sent


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Any]]]:
    """An endpoint, and what was posted: path, headers, body."""
    posted: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append((self.path, self.headers, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", posted
        server.shutdown()
        thread.join()


def test_the_environment_of_the_exporter_is_obeyed(
    collector: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, posted = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{url}/mine")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=abc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    exporter = OTLPSpanExporter()
    sent = through(sender(exporter, PROVIDER), [a_request("/seen")])
    exporter.shutdown()
    ((path, headers, body),) = posted

    assert sent == (0, None)
    assert (path, headers["x-token"], headers["content-encoding"]) == ("/mine", "abc", "gzip")
    assert b"/seen" in gzip.decompress(body)


def test_made_spans_travel_beside_ours(collector: tuple[str, list[Any]]) -> None:
    memory = InMemorySpanExporter()
    own = TracerProvider(shutdown_on_exit=False)
    own.add_span_processor(SimpleSpanProcessor(memory))
    own.get_tracer("test").start_span("batch").end()
    exporter = OTLPSpanExporter(f"{collector[0]}/v1/traces")
    sent = through(sender(exporter, PROVIDER), [*memory.get_finished_spans(), a_request()])
    exporter.shutdown()
    (body,) = (body for _, _, body in collector[1])
    names = [resource.scope_spans[0].spans[0].name for resource in decoded([body]).resource_spans]

    assert sent == (0, None)
    assert names == ["GET HTTP", "batch"]
