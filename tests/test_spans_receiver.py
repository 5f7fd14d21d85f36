"""The receiver as a service sees it: a real child process on a real port, one for all tests that do not end it."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import socket
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pyarrow as pa
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

from harness.chunks import read_chunks
from harness.model import Span
from harness.spans import bodies
from harness.spans.listen import ReceiverProcess, ReceiverStatus, bind, start

PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Running:
    process: ReceiverProcess
    client: httpx.Client
    folder: Path

    def post(self, body: bytes, headers: dict[str, str], path: str = "/v1/traces") -> httpx.Response:
        return self.client.post(path, content=body, headers=headers)

    def status(self) -> ReceiverStatus:
        assert self.process.drained(quiet_s=0.1, deadline_s=10)
        status = self.process.poll()
        assert status is not None
        return status

    def stored(self) -> pa.Table:
        self.status()
        return read_chunks([self.folder / "spans.arrows"], Span)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("run")
    process = start(bind("127.0.0.1:0"), folder)
    with httpx.Client(base_url=process.endpoint, timeout=20) as client:
        yield Running(process, client, folder)
    assert process.stop().error is None
    assert (folder / "receiver.log").read_text() == ""


def a_body(name: str, count: int = 1, broken: int = 0) -> bytes:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number in range(count + broken):
        trace_id = os.urandom(16) if number < count else b""
        spans.add(trace_id=trace_id, span_id=os.urandom(8), name=name, start_time_unix_nano=1, end_time_unix_nano=2)
    body: bytes = request.SerializeToString()
    return body


def names_of(table: pa.Table) -> list[str]:
    found: list[str] = table.column("name").to_pylist()
    return found


def test_protobuf_is_stored_and_answered_in_protobuf(running: Running) -> None:
    answer = running.post(a_body("in protobuf", 3), PROTOBUF)

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-protobuf")
    assert not ExportTraceServiceResponse.FromString(answer.content).HasField("partial_success")
    assert names_of(running.stored()).count("in protobuf") == 3


def test_json_is_stored_and_answered_in_json(running: Running) -> None:
    span = {"traceId": "ab" * 16, "spanId": "cd" * 8, "name": "in json", "kind": 2}
    span |= {"startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000000000001"}
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()

    answer = running.post(body, {"content-type": "application/json; charset=utf-8"})

    assert (answer.status_code, answer.headers["content-type"], answer.json()) == (200, "application/json", {})
    (row,) = (row for row in running.stored().to_pylist() if row["name"] == "in json")
    assert (row["trace_id"], row["kind"], row["end_ns"]) == ("ab" * 16, "server", 1_700_000_000_000_000_001)


def test_a_gzipped_body_is_inflated(running: Running) -> None:
    answer = running.post(gzip.compress(a_body("in gzip", 2)), {**PROTOBUF, "content-encoding": "gzip"})

    assert answer.status_code == 200
    assert names_of(running.stored()).count("in gzip") == 2


def test_invalid_spans_are_reported_back_and_counted(running: Running) -> None:
    before = running.status().rejected

    answer = running.post(a_body("half", count=2, broken=3), PROTOBUF)

    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, partial.rejected_spans) == (200, 3)
    assert partial.error_message == "spans with invalid ids or times"
    assert names_of(running.stored()).count("half") == 2
    assert running.status().rejected == before + 3


def test_logs_are_taken_and_dropped(running: Running) -> None:
    before = running.status()

    assert running.post(b"anything" * 100_000, PROTOBUF, "/v1/logs").status_code == 200
    assert running.post(b"{}", JSON, "/v1/logs").json() == {}
    assert running.status() == before


def test_healthz_says_ok(running: Running) -> None:
    assert running.client.get("/healthz").text == "ok\n"
    assert running.client.head("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        ("GET", "/", 404, "this is a span receiver: POST OTLP to /v1/traces"),
        ("POST", "/v1/trace", 404, "this is a span receiver: POST OTLP to /v1/traces"),
        ("POST", "/healthz", 404, "this is a span receiver: POST OTLP to /v1/traces"),
        ("GET", "/v1/traces", 405, "/v1/traces takes POST"),
    ],
)
def test_other_requests_are_told_what_this_is(
    running: Running, method: str, path: str, status: int, sentence: str
) -> None:
    answer = running.client.request(method, path)

    assert answer.status_code == status
    assert answer.text.startswith(sentence)


@pytest.mark.parametrize(
    ("headers", "status", "sentence"),
    [
        ({}, 415, "the Content-Type must be application/x-protobuf or application/json"),
        ({"content-type": "text/plain"}, 415, "the Content-Type must be application/x-protobuf or application/json"),
        ({**JSON, "content-encoding": "br"}, 415, "the Content-Encoding must be gzip or absent"),
        ({**JSON, "content-encoding": "deflate"}, 415, "the Content-Encoding must be gzip or absent"),
        ({**JSON, "content-encoding": "gzip, gzip"}, 415, "the Content-Encoding must be gzip or absent"),
        ({**JSON, "content-encoding": "gzip"}, 400, "the body is not gzip, as its Content-Encoding says"),
        (JSON, 400, "the body is not JSON"),
        (PROTOBUF, 400, "the body is not an OTLP trace request in protobuf"),
        ({**JSON, "origin": "http://evil.example"}, 403, "requests from web pages are not accepted"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_with_the_reason(
    running: Running, headers: dict[str, str], status: int, sentence: str
) -> None:
    answer = running.post(b"\x07 what is this", headers)

    assert answer.status_code == status
    assert sentence in answer.text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (gzip.compress(b"{}")[:-4], "the gzip body is cut off"),
        (gzip.compress(b"{}") + b"more", "something follows the gzip body"),
        (gzip.compress(b"{}") * 2, "something follows the gzip body"),
        (b"", "the gzip body is cut off"),
    ],
    ids=["torn", "padded", "twice", "empty"],  # the bodies hold the time of day: as names they would differ by worker
)
def test_a_torn_or_padded_gzip_body_is_refused(running: Running, body: bytes, reason: str) -> None:
    answer = running.post(body, {**JSON, "content-encoding": "gzip"})

    assert (answer.status_code, answer.json()) == (400, {"message": reason})


def test_a_body_over_the_limit_is_refused_whether_it_says_its_length_or_not(running: Running) -> None:
    block = bytes(MIB)

    declared = running.post(bytes(65 * MIB), JSON)
    chunked = running.client.post("/v1/traces", content=(block for _ in range(65)), headers=JSON)

    assert (declared.status_code, chunked.status_code) == (413, 413)
    assert declared.json() == chunked.json() == {"message": "the body is larger than 64 MiB"}


def test_a_gzip_bomb_is_refused_without_being_inflated(running: Running) -> None:
    # Raw deflate blocks may be repeated: 256 blocks of 4 MiB make 1 GiB from about one megabyte.
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = deflate.compress(bytes(4 * MIB)) + deflate.flush(zlib.Z_FULL_FLUSH)
    bomb = gzip.compress(b"")[:10] + block * 256

    answer = running.post(bomb, {**PROTOBUF, "content-encoding": "gzip"})

    assert answer.status_code == 413
    assert b"the inflated body is larger than 64 MiB" in answer.content
    peak_kib = int(Path(f"/proc/{running.process.pid}/status").read_text().split("VmHWM:")[1].split()[0])
    assert peak_kib < 500 * 1024


def test_posts_at_the_same_time_lose_nothing(running: Running) -> None:
    failures: list[int] = []

    def send() -> None:
        for _ in range(10):
            status = running.post(a_body("together", 50), PROTOBUF).status_code
            if status != 200:
                failures.append(status)

    senders = [threading.Thread(target=send) for _ in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()

    assert failures == []
    together = [row["trace_id"] for row in running.stored().to_pylist() if row["name"] == "together"]
    assert len(together) == len(set(together)) == 8 * 10 * 50


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_spans_of_the_opentelemetry_sdk_arrive_whole(running: Running, compression: Compression) -> None:
    service = f"sdk {compression.value}"
    provider = TracerProvider(resource=Resource({"service.name": service, "process.pid": 77}))
    exporter = OTLPSpanExporter(f"{running.process.endpoint}/v1/traces", compression=compression)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("test")

    with tracer.start_as_current_span("root", kind=SpanKind.SERVER) as root:
        for number in range(600):
            with tracer.start_as_current_span("child", attributes={"harness.stage": "inference", "number": number}):
                pass
    provider.shutdown()

    rows = [row for row in running.stored().to_pylist() if row["service"] == service]
    (top,) = (row for row in rows if row["name"] == "root")
    children = [row for row in rows if row["name"] == "child"]
    assert (top["kind"], top["pid"], top["parent_id"], top["attributes"]) == (
        "server",
        77,
        None,
        '{"otel.scope.name":"test"}',
    )
    assert top["trace_id"] == f"{root.get_span_context().trace_id:032x}"
    assert {row["parent_id"] for row in children} == {top["span_id"]}
    assert sorted(json.loads(row["attributes"])["number"] for row in children) == list(range(600))
    assert {row["stage"] for row in children} == {"inference"}
    assert all(top["start_ns"] <= row["start_ns"] <= row["end_ns"] <= top["end_ns"] for row in children)


def test_a_client_that_leaves_in_the_middle_of_its_body_is_forgotten(running: Running) -> None:
    before = running.status()
    address = urlsplit(running.process.endpoint)
    with socket.create_connection((address.hostname or "", address.port or 0)) as leaver:
        leaver.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n")
        leaver.sendall(b"content-length: 1000\r\n\r\n{")

    assert running.client.get("/healthz").status_code == 200
    assert running.status() == before


def test_garbage_instead_of_http_ends_only_that_connection(running: Running) -> None:
    address = urlsplit(running.process.endpoint)
    with socket.create_connection((address.hostname or "", address.port or 0)) as caller:
        caller.settimeout(10)
        caller.sendall(b"\x16\x03\x01 this is TLS\r\n\r\n")
        assert caller.recv(100).startswith(b"HTTP/1.1 400")

    assert running.client.get("/healthz").status_code == 200


@pytest.mark.parametrize(("pause_s", "silence_s", "whole_s"), [(9.0, 0.1, 9.0), (0.02, 0.5, 0.2)])
def test_a_body_that_makes_no_progress_is_refused_and_its_memory_given_back(
    pause_s: float, silence_s: float, whole_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_SILENCE_S", silence_s)
    monkeypatch.setattr(bodies, "_BODY_S", whole_s)
    held, pieces = bodies.Held(), iter([bytes(MIB)])

    async def receive() -> dict[str, object]:
        piece = next(pieces, None)
        if piece is None:
            await asyncio.sleep(pause_s)
        return {"type": "http.request", "body": piece or b"x", "more_body": True}

    with pytest.raises(bodies.Refusal) as caught:
        asyncio.run(bodies.read_body(receive, None, held))

    assert (caught.value.status, held.bytes) == (408, 0)


def test_large_bodies_that_stand_still_do_not_shut_out_others(running: Running) -> None:
    address = urlsplit(running.process.endpoint)
    head = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: %d\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            caller = stack.enter_context(socket.create_connection((address.hostname or "", address.port or 0)))
            caller.sendall(head % (64 * MIB) + bytes(64 * MIB - 1))

        assert running.post(a_body("beside"), PROTOBUF).status_code == 200
        caller.settimeout(20)
        assert caller.recv(100).startswith(b"HTTP/1.1 408")
