"""What the tests of WSGI share: a threaded server with real sockets, its client, applications in three lines."""

from __future__ import annotations

import contextlib
import http.client
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.util import setup_testing_defaults

from instrument_support import TRACE, answer_of, attributes, head
from instrument_support import traceparent as parent_header
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from harness.instrument import instrument

Start = Callable[..., Any]
PARENT = parent_header(TRACE)


class Threaded(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = False  # joined by server_close()


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Client:
    def __init__(self, port: int, exporter: InMemorySpanExporter) -> None:
        self.port = port
        self.exporter = exporter

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=15)

    def get(self, path: str = "/", *headers: tuple[bytes, bytes], method: str = "GET") -> http.client.HTTPResponse:
        with self.connect() as connection:
            connection.sendall(head(method, path, *headers))
            return answer_of(connection)

    def spans(self, roots: int = 1) -> list[ReadableSpan]:
        """All spans, once that many requests are over; their roots come last of each."""
        deadline = time.monotonic() + 8
        while time.monotonic() < deadline:
            found = list(self.exporter.get_finished_spans())
            if sum(span.kind is otel.SpanKind.SERVER for span in found) >= roots:
                return found
            time.sleep(0.005)
        raise AssertionError("the request left no spans")


def ms(span: ReadableSpan) -> float:
    return ((span.end_time or 0) - (span.start_time or 0)) / 1e6


def stage_ms(found: list[ReadableSpan], name: str) -> float:
    return sum(ms(span) for span in found if attributes(span).get("harness.stage") == name)


def named(found: list[ReadableSpan]) -> dict[str, ReadableSpan]:
    return {span.name: span for span in found}


@contextlib.contextmanager
def served(app: Any, exporter: InMemorySpanExporter) -> Iterator[Client]:
    server = make_server("127.0.0.1", 0, app, server_class=Threaded, handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Client(server.server_address[1], exporter)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def plain(work: Callable[[dict[str, Any]], Iterable[bytes]], *headers: tuple[str, str]) -> Any:
    """A bare WSGI application that answers with what `work` returns."""

    def app(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        body = work(environ)
        start_response("200 OK", [("Content-Type", "text/plain"), *headers])
        return body

    return instrument(app)


def call(app: Any, **extra: Any) -> tuple[Any, list[Any]]:
    """What an application returns, and the heads it started, without a server."""
    environ: dict[str, Any] = dict(extra)
    setup_testing_defaults(environ)
    started: list[Any] = []
    return app(environ, lambda *args: started.append(args)), started
