"""A small real trace store: takes OTLP over HTTP, answers as Jaeger and Tempo do, with their weaknesses."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.instrument_support import SinkSpan, _decoded
from tests.trace_shapes import ENUMS, as_base64, as_hex, as_legacy, as_otlp, as_protobuf

Reply = tuple[int, str, bytes]
PAGE: Reply = (200, "text/html; charset=utf-8", b"<!doctype html><title>Jaeger UI</title>")


@dataclass
class TraceStore:
    """What is stored, and how it answers. `shape` is jaeger-v3, jaeger-legacy, tempo-v2, tempo-v1 or tempo-protobuf.

    A span with a place in `late` shows that many seconds after the first question. `first` answers the first
    questions, whatever they are; `search_limit` is the most traces a search gives.
    """

    shape: str
    url: str = ""
    spans: list[SinkSpan] = field(default_factory=list)
    late: dict[tuple[str, str], float] = field(default_factory=dict)
    token: str | None = None
    first: list[Reply] = field(default_factory=list)
    pause_s: float = 0.0
    search_limit: int = 10_000
    broken: str = ""  # a path that answers 500
    asked: list[str] = field(default_factory=list)
    began: float | None = None

    def keep(self, *traces: list[SinkSpan]) -> TraceStore:
        self.spans += [span for trace in traces for span in trace]
        return self

    @property
    def trace_ids(self) -> list[str]:
        return list(dict.fromkeys(span.trace_id for span in self.spans))

    def visible(self) -> dict[str, list[SinkSpan]]:
        found: dict[str, list[SinkSpan]] = defaultdict(list)
        waited = time.monotonic() - (self.began or 0.0)
        for span in self.spans:
            if waited >= self.late.get((span.trace_id, span.span_id), 0.0):
                found[span.trace_id].append(span)
        return found

    def reply(self, target: str, authorization: str | None) -> Reply:
        url = urlsplit(target)
        params = {key: values[-1] for key, values in parse_qs(url.query).items()}
        self.asked.append(target)
        self.began = self.began or time.monotonic()
        time.sleep(self.pause_s)
        if self.token is not None and authorization != f"Bearer {self.token}":
            return 401, "text/plain", b"who are you?"
        if self.first:
            return self.first.pop(0)
        if url.path == self.broken:
            return 500, "text/plain", b"internal error"
        return _SHAPES[self.shape](self, url.path, params)

    def paths(self) -> list[str]:
        return [urlsplit(target).path for target in self.asked]


def _json(content: object, status: int = 200) -> Reply:
    return status, "application/json", json.dumps(content).encode()


def _found_between(store: TraceStore, service: str, low_ns: int, high_ns: int, limit: int) -> list[list[SinkSpan]]:
    """Newest first, as stores do: a trace belongs to a service and a time when one of its spans does."""
    limit = min(limit, store.search_limit)
    fits = [
        trace
        for trace in store.visible().values()
        if any(span.service == service and low_ns <= span.start_ns <= high_ns for span in trace)
    ]
    return sorted(fits, key=lambda trace: -trace[0].start_ns)[:limit]


# --- Jaeger ------------------------------------------------------------------------------------------------


def _jaeger_v3(store: TraceStore, path: str, params: dict[str, str]) -> Reply:
    if not path.startswith("/api/v3/"):
        return PAGE  # the query service answers unknown paths with its web page
    none = _json({"error": {"httpCode": 404, "message": "No traces found"}}, 404)
    if path != "/api/v3/traces":
        trace = store.visible().get(path.removeprefix("/api/v3/traces/"))
        return none if trace is None else _json({"result": {"resourceSpans": as_otlp([trace], as_hex, int)}})
    low, high = (_instant(params[f"query.start_time_{end}"]) for end in ("min", "max"))
    traces = _found_between(store, params["query.service_name"], low, high, int(params["query.num_traces"]))
    return none if not traces else _json({"result": {"resourceSpans": as_otlp(traces, as_hex, int)}})


def _instant(text: str) -> int:
    whole, fraction = text.removesuffix("Z").split(".")
    assert len(fraction) == 9
    return int(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * 1_000_000_000 + int(fraction)


def _jaeger_legacy(store: TraceStore, path: str, params: dict[str, str]) -> Reply:
    if path.startswith("/api/v3/") or not path.startswith("/api/traces"):
        return PAGE
    if path != "/api/traces":
        trace = store.visible().get(path.removeprefix("/api/traces/"))
        if trace is None:
            return _json({"data": None, "errors": [{"code": 404, "msg": "trace not found"}]}, 404)
        return _json({"data": [as_legacy(trace)], "total": 0, "errors": None})
    low, high = int(params["start"]) * 1_000, int(params["end"]) * 1_000
    traces = _found_between(store, params["service"], low, high, int(params["limit"]))
    return _json({"data": [as_legacy(trace) for trace in traces], "total": 0, "errors": None})


# --- Tempo -------------------------------------------------------------------------------------------------


def _tempo_v2(store: TraceStore, path: str, params: dict[str, str]) -> Reply:
    if path == "/api/search":
        return _tempo_search(store, params)
    trace = store.visible().get(path.removeprefix("/api/v2/traces/"))
    if not path.startswith("/api/v2/traces/") or trace is None:
        return 404, "text/plain", b"trace not found"
    content = {"resourceSpans": as_otlp([trace], as_base64, ENUMS.__getitem__)}
    return _json({"trace": content, "metrics": {"inspectedBytes": "1"}})


def _tempo_v1(store: TraceStore, path: str, params: dict[str, str]) -> Reply:
    trace = store.visible().get(path.removeprefix("/api/traces/"))
    if not path.startswith("/api/traces/") or trace is None:
        return 404, "text/plain", b"404 page not found"
    return _json({"batches": as_otlp([trace], as_base64, ENUMS.__getitem__)})


def _tempo_protobuf(store: TraceStore, path: str, params: dict[str, str]) -> Reply:
    trace = store.visible().get(path.removeprefix("/api/v2/traces/"))
    if not path.startswith("/api/v2/traces/") or trace is None:
        return 404, "text/plain", b"trace not found"
    inner = as_protobuf(trace)
    size = b"".join(bytes([size]) for size in (len(inner) & 0x7F | 0x80, len(inner) >> 7))
    assert 128 <= len(inner) < 16_384  # two digits of a varint
    return 200, "application/protobuf", b"\x0a" + size + inner + b"\x12\x02\x08\x05" + b"\x18\x01"


def _tempo_search(store: TraceStore, params: dict[str, str]) -> Reply:
    assert params["q"] == "{ kind = server }"
    low, high = (int(params[end]) * 1_000_000_000 for end in ("start", "end"))
    limit = min(int(params["limit"]), store.search_limit)
    traces = [
        {"traceID": trace[0].trace_id.lstrip("0"), "rootTraceName": trace[0].name, "durationMs": 80}
        for trace in store.visible().values()
        if any(span.kind == 2 and low <= span.start_ns <= high for span in trace)
    ]
    return _json({"traces": traces[:limit], "metrics": {"totalBlocks": 1}})


_SHAPES: dict[str, Callable[[TraceStore, str, dict[str, str]], Reply]] = {
    "jaeger-v3": _jaeger_v3,
    "jaeger-legacy": _jaeger_legacy,
    "tempo-v2": _tempo_v2,
    "tempo-v1": _tempo_v1,
    "tempo-protobuf": _tempo_protobuf,
    "page": lambda store, path, params: PAGE,
}


# --- the server --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def a_store(shape: str, **options: Any) -> Iterator[TraceStore]:
    """A store of one shape on a free port."""
    store = TraceStore(shape, **options)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65_536  # head and body in one packet

        def do_GET(self) -> None:
            self._answer(*store.reply(self.path, self.headers["authorization"]))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/v1/traces":
                store.spans.extend(_decoded(body))
            self._answer(200, "application/x-protobuf", b"")

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    store.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
