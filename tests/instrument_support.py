"""What the tests of the instrumentation share: an ASGI call without a server, an OTLP sink, a uvicorn process."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from harness.instrument import instrument

TESTS = Path(__file__).parent
TRACE = "a" * 32
Work = Callable[[], Any]
RUN = (b"x-mlharness-run", b"run-1")


def traceparent(trace_id: str, span_id: str = "b" * 16, flags: str = "01") -> tuple[bytes, bytes]:
    return b"traceparent", f"00-{trace_id}-{span_id}-{flags}".encode()


@dataclass
class Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def timings(self) -> list[str]:
        return [value.decode() for name, value in self.headers if name == b"server-timing"]


async def asgi_call(
    app: Any,
    path: str = "/",
    headers: Sequence[tuple[bytes, bytes]] = (),
    body: Sequence[bytes] = (b"",),
    method: str = "GET",
    scope: MutableMapping[str, Any] | None = None,
) -> Answer:
    """One request straight into the application, as a server would make it."""
    pieces, sent = list(body), []
    full = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": list(headers), "scheme": "http", "http_version": "1.1", "server": ("testserver", 80),
        "client": ("client", 1), "asgi": {"version": "3.0", "spec_version": "2.3"}, "root_path": "", **(scope or {}),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        if not pieces:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(full, receive, send)
    starts = [m for m in sent if m["type"] == "http.response.start"]
    content = b"".join(m.get("body", b"") for m in sent if m["type"] == "http.response.body")
    return Answer(starts[0]["status"], list(starts[0]["headers"]), content)


def memory_provider() -> tuple[TracerProvider, InMemorySpanExporter]:
    """A provider that keeps its spans."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def app_of(work: Work) -> Any:
    """A bare ASGI application whose answer comes after `work`."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        made = work()
        if asyncio.iscoroutine(made):
            await made
        await send({"type": "http.response.start", "status": 200, "headers": [(b"server-timing", b"db;dur=1")]})
        await send({"type": "http.response.body", "body": b"ok"})

    return instrument(app)


def spans(exporter: InMemorySpanExporter, work: Work) -> dict[str, ReadableSpan]:
    """Spans by name of one request that does `work`; "root" is the request."""
    asyncio.run(asgi_call(app_of(work), headers=[traceparent(TRACE)]))
    found = exporter.get_finished_spans()
    return {span.name: span for span in found[:-1]} | {"root": found[-1]}


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def id_of(span: ReadableSpan) -> int:
    return span.context.span_id


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def stages_of(timing: str) -> dict[str, float]:
    """Milliseconds by name of one Server-Timing value of ours."""
    return {name: float(ms) for name, ms in re.findall(r"(\w+);dur=([0-9.]+)", timing)}


@dataclass
class SinkSpan:
    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    error: bool
    attributes: dict[str, Any]
    pid: int | None
    service: str | None

    @property
    def ms(self) -> float:
        return (self.end_ns - self.start_ns) / 1e6


@dataclass
class Sink:
    """A collector in a thread: keeps every span it was sent, and the bodies with metrics."""

    url: str = ""
    metrics: list[bytes] = field(default_factory=list)
    spans: list[SinkSpan] = field(default_factory=list)

    def trace(self, trace_id: str, timeout_s: float = 8.0) -> tuple[SinkSpan, list[SinkSpan]]:
        """The root and all children of a trace, once they are complete."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = [s for s in list(self.spans) if s.trace_id == trace_id]
            for root in found:
                if root.kind == 2 and len(found) - 1 == root.attributes["harness.spans"]:
                    return root, [s for s in found if s is not root]
            time.sleep(0.02)
        raise AssertionError(f"trace {trace_id} did not arrive: {[s.name for s in found]}")


@contextlib.contextmanager
def a_sink(answer: Callable[[], None] = lambda: None) -> Iterator[Sink]:
    sink = Sink()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(length := int(self.headers["content-length"]))
            if len(body) < length:
                return  # whoever sent it is gone
            if self.path == "/v1/metrics":
                sink.metrics.append(body)
            else:
                answer()
                sink.spans.extend(_decoded(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sink.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield sink
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _decoded(body: bytes) -> Iterator[SinkSpan]:
    message = ExportTraceServiceRequest.FromString(body)
    for resource_spans in message.resource_spans:
        resource = _plain(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield SinkSpan(
                    span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), span.name, span.kind,
                    span.start_time_unix_nano, span.end_time_unix_nano, span.status.code == 2,
                    _plain(span.attributes), resource.get("process.pid"), resource.get("service.name"),
                )  # fmt: skip


def _plain(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@dataclass
class Service:
    port: int
    child: subprocess.Popen[str]
    log: list[str]

    def connect(self, receive_buffer: int | None = None) -> socket.socket:
        connection = socket.socket()
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(15)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def get(self, path: str, *headers: tuple[bytes, bytes]) -> http.client.HTTPResponse:
        with self.connect() as connection:
            connection.sendall(head("GET", path, *headers))
            return answer_of(connection)


def head(method: str, path: str, *headers: tuple[bytes, bytes]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1".encode(), b"host: x", *(b"%s: %s" % pair for pair in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def answer_of(connection: socket.socket) -> http.client.HTTPResponse:
    """The next answer on a connection, read to its end; its body is in `.content`."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    response.content = response.read()  # type: ignore[attr-defined]
    response.close()
    return response


@contextlib.contextmanager
def a_service(
    endpoint: str | None, *options: str, app: str = "instrument_plain", workers: int = 1, **environment: str
) -> Iterator[Service]:
    """An application of this folder on a real uvicorn process, or on several that share a port."""
    options += ("--workers", str(workers)) if workers > 1 else ()
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    environ |= {"OTEL_BSP_SCHEDULE_DELAY": "50", "PYTHONPATH": str(TESTS.parent), **environment}
    if endpoint is not None:
        environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(TESTS), "--port", "0", *options, f"{app}:app"]
    child = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert child.stderr is not None
    log: list[str] = []
    ready = threading.Event()

    def read() -> None:
        for line in child.stderr or ():
            log.append(line.rstrip())
            if any("running on" in said for said in log) and sum("startup complete" in said for said in log) >= workers:
                ready.set()
        ready.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        ready.wait(20)
        ports = [int(found[1]) for line in log if (found := re.search(r"http://127\.0\.0\.1:(\d+)", line))]
        assert ports, log
        yield Service(ports[0], child, log)
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        reader.join()
        child.stderr.close()
