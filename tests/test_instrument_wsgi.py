"""WSGI applications behind a threaded server with real sockets: their windows, stages, headers and manners."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import flask
import pytest
from instrument_support import RUN, TRACE, answer_of, attributes, head, id_of, memory_provider, parent_of, stages_of
from instrument_support import traceparent as parent_header
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from harness.instrument import instrument, pipeline, stage
from harness.instrument.host import host_key
from harness.instrument.marks import innermost

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


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    provider, exporter = memory_provider()
    monkeypatch.setattr(pipeline, "provider", lambda: provider)
    return exporter


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


def test_a_request_leaves_a_root_under_its_caller_and_its_stages(exporter: InMemorySpanExporter) -> None:
    def work(_: dict[str, Any]) -> list[bytes]:
        with stage("preprocess"):
            time.sleep(0.003)
            with stage("queue", resource="lock"):
                time.sleep(0.002)
        return [b"ok"]

    with served(plain(work), exporter) as client:
        assert client.get("/caf%C3%A9", PARENT).content == b"ok"  # type: ignore[attr-defined]
        found = named(client.spans())
    queue, preprocess, root = found["queue"], found["preprocess"], found["GET HTTP"]

    assert parent_of(root) == 0xBBBBBBBBBBBBBBBB
    assert attributes(root).items() >= {
        "http.response.status_code": 200, "url.path": "/café", "harness.split": "marks", "harness.host": host_key(),
    }.items()  # fmt: skip
    assert (parent_of(preprocess), parent_of(queue)) == (id_of(root), id_of(preprocess))
    assert attributes(preprocess)["harness.cpu_ns"] >= 0
    assert (root.start_time or 0) < attributes(root)["harness.first_send_ns"] <= (root.end_time or 0)


def test_a_run_gets_the_split_on_the_answer_and_others_do_not(exporter: InMemorySpanExporter) -> None:
    def work(_: dict[str, Any]) -> list[bytes]:
        with stage("inference"):
            time.sleep(0.004)
        return [b"ok"]

    with served(plain(work, ("Server-Timing", "db;dur=1")), exporter) as client:
        without = client.get("/", PARENT).headers.get_all("server-timing")
        foreign, ours = client.get("/", PARENT, RUN).headers.get_all("server-timing") or []

    assert without == [foreign] == ["db;dur=1"]
    assert ours.startswith(f'mlharness;desc="1 {TRACE} ')
    assert f' {host_key()}", total;dur=' in ours  # a list of one piece is complete: not streamed
    assert 4 <= stages_of(ours)["inference"] <= stages_of(ours)["total"]


def test_a_body_that_comes_in_two_halves_shows_as_upload(exporter: InMemorySpanExporter) -> None:
    def work(environ: dict[str, Any]) -> list[bytes]:
        with stage("preprocess"):
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        return [str(len(body)).encode()]

    with served(plain(work), exporter) as client, client.connect() as connection:
        connection.sendall(head("POST", "/", RUN, (b"content-length", b"20")) + b"x" * 10)
        time.sleep(0.15)
        connection.sendall(b"x" * 10)
        answer = answer_of(connection)
        found = client.spans()
    timings = stages_of(answer.getheader("server-timing") or "")
    (upload,) = [span for span in found if span.name == "upload"]

    assert answer.content == b"20"  # type: ignore[attr-defined]
    assert ms(upload) >= 100
    assert parent_of(upload) == id_of(next(span for span in found if span.name == "preprocess"))
    assert timings["upload"] >= 100 > timings["preprocess"]


@pytest.mark.parametrize(
    "read",
    [
        lambda stream: b"".join(stream.read(3) for _ in range(4)),
        lambda stream: stream.readline() + stream.readline() + stream.readline(),
        lambda stream: b"".join(stream.readlines()),
        lambda stream: b"".join(stream),
        lambda stream: (buffer := bytearray(12), stream.readinto(buffer))[0],
        lambda stream: stream.read1(12),
    ],
    ids=["read", "readline", "readlines", "iteration", "readinto", "read1"],
)
def test_a_body_is_read_in_every_way_as_before(read: Callable[[Any], bytes]) -> None:
    class Slow(io.BytesIO):
        def seek_to_start(self) -> None:
            self.seek(0)

    environ: dict[str, Any] = {"CONTENT_LENGTH": "12", "wsgi.input": Slow(b"one\ntwo\nsix\n")}
    setup_testing_defaults(environ)

    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response("200 OK", [])
        environ["wsgi.input"].seek_to_start()  # what only this server's stream has is still there
        return [bytes(read(environ["wsgi.input"]))]

    assert list(instrument(app)(environ, lambda *_: None)) == [b"one\ntwo\nsix\n"]


def test_a_slow_reader_shows_as_download_and_work_between_chunks_does_not(exporter: InMemorySpanExporter) -> None:
    def work(_: dict[str, Any]) -> Iterator[bytes]:
        def chunks() -> Iterator[bytes]:
            with stage("postprocess"):
                for _ in range(3):
                    time.sleep(0.02)
                    yield b"x" * 4_000_000

        return chunks()

    with served(plain(work, ("Content-Length", "12000000")), exporter) as client, client.connect() as connection:
        connection.sendall(head("GET", "/", PARENT))
        time.sleep(0.25)
        assert len(answer_of(connection).content) == 12_000_000  # type: ignore[attr-defined]
        found = client.spans()
    root = found[-1]
    downloads = [span for span in found if span.name == "download"]
    work_span = next(span for span in found if span.name == "postprocess")

    assert 120 <= stage_ms(found, "download") <= ms(root)
    assert ms(work_span) >= 60
    assert {parent_of(span) for span in downloads[:2]} == {id_of(work_span)}  # the stage stayed open over the chunks


def test_the_header_of_a_generator_says_that_it_left_early(exporter: InMemorySpanExporter) -> None:
    def late(environ: dict[str, Any], start_response: Start) -> Iterator[bytes]:
        with stage("inference"):
            time.sleep(0.003)
        start_response("200 OK", [("Content-Type", "text/plain")])  # runs when the first chunk is asked for
        yield b"o"
        yield b"k"

    with served(instrument(late), exporter) as client:
        answer = client.get("/", RUN)
        found = client.spans()
    timing = answer.getheader("server-timing") or ""

    assert answer.content == b"ok"  # type: ignore[attr-defined]
    assert f' {host_key()} streamed", total' in timing
    assert stages_of(timing)["inference"] >= 3
    assert stage_ms(found, "inference") >= 3


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_answer_with_a_known_end_is_not_called_streamed(exporter: InMemorySpanExporter, method: str) -> None:
    headers = () if method == "HEAD" else (("Content-Length", "2"),)

    with served(plain(lambda _: iter([b"ok"][: method == "GET"]), *headers), exporter) as client:
        assert "streamed" not in (client.get("/", RUN, method=method).getheader("server-timing") or "streamed")


def test_a_single_chunk_still_gets_its_length_from_the_server(exporter: InMemorySpanExporter) -> None:
    with served(plain(lambda _: [b"hello"]), exporter) as client:
        assert client.get("/").getheader("content-length") == "5"
        assert client.get("/", RUN).getheader("content-length") == "5"


def test_what_is_written_is_sent_and_counts_as_download(exporter: InMemorySpanExporter) -> None:
    def pushing(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        for _ in range(4):
            write(b"x" * 2_000_000)
        return [b"end"]

    with served(instrument(pushing), exporter) as client, client.connect() as connection:
        connection.sendall(head("GET", "/", RUN))
        time.sleep(0.15)
        answer = answer_of(connection)
        found = client.spans()

    assert len(answer.content) == 8_000_003  # type: ignore[attr-defined]
    assert " streamed" in (answer.getheader("server-timing") or "")
    assert stage_ms(found, "download") >= 60


def test_a_second_head_with_exc_info_replaces_the_first(exporter: InMemorySpanExporter) -> None:
    def failing(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            raise ValueError("no model")
        except ValueError:
            start_response("503 Service Unavailable", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"sorry"]

    with served(instrument(failing), exporter) as client:
        answers = [client.get("/"), client.get("/", RUN)]
        found = client.spans(roots=2)

    assert [(a.status, a.content) for a in answers] == [(503, b"sorry")] * 2  # type: ignore[attr-defined]
    assert len(answers[1].headers.get_all("server-timing") or []) == 1
    statuses = [attributes(span)["http.response.status_code"] for span in found if span.kind is otel.SpanKind.SERVER]
    assert statuses == [503, 503]


class Body:
    """A body that counts how often it is closed and may fail on the way."""

    def __init__(self, fails: bool = False) -> None:
        self.closed = 0
        self.fails = fails

    def __iter__(self) -> Iterator[bytes]:
        yield b"o"
        if self.fails:
            raise ValueError("halfway")
        yield b"k"

    def close(self) -> None:
        self.closed += 1
        assert innermost() is not None  # it still runs for the request
        time.sleep(0.05)


def test_the_body_is_closed_once_and_that_is_not_part_of_the_answer(exporter: InMemorySpanExporter) -> None:
    body = Body()
    with served(plain(lambda _: body), exporter) as client:
        client.get("/", PARENT)
        (root,) = (span for span in client.spans() if span.kind is otel.SpanKind.SERVER)

    assert body.closed == 1
    assert ms(root) < 50


def call(app: Any, **extra: Any) -> tuple[Any, list[Any]]:
    """What an application returns, and the heads it started, without a server."""
    environ: dict[str, Any] = dict(extra)
    setup_testing_defaults(environ)
    started: list[Any] = []
    return app(environ, lambda *args: started.append(args)), started


def test_an_application_that_raises_leaves_an_error_root(exporter: InMemorySpanExporter) -> None:
    def work(_: dict[str, Any]) -> list[bytes]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        call(plain(work))
    (root,) = exporter.get_finished_spans()

    assert (root.status.is_ok, attributes(root)["error.type"]) == (False, "ValueError")
    assert innermost() is None


def test_a_body_that_breaks_halfway_leaves_an_error_root(exporter: InMemorySpanExporter) -> None:
    body = Body(fails=True)
    answer, _ = call(plain(lambda _: body))
    with pytest.raises(ValueError, match="halfway"):
        list(answer)
    answer.close()
    answer.close()
    root = exporter.get_finished_spans()[-1]

    assert (body.closed, attributes(root)["error.type"]) == (1, "ValueError")


def test_a_client_that_goes_away_closes_the_window(exporter: InMemorySpanExporter) -> None:
    answer, _ = call(plain(lambda _: iter([b"x"] * 1000)))
    assert [next(answer), next(answer)] == [b"x", b"x"]
    answer.close()

    assert exporter.get_finished_spans()[-1].kind is otel.SpanKind.SERVER


def test_a_server_that_never_closes_still_leaves_spans(exporter: InMemorySpanExporter) -> None:
    answer, _ = call(plain(lambda _: iter([b"x"])))
    assert list(answer) == [b"x"]
    del answer

    assert exporter.get_finished_spans()[-1].kind is otel.SpanKind.SERVER


def test_a_file_goes_to_the_server_as_the_object_it_knows(exporter: InMemorySpanExporter) -> None:
    file = FileWrapper(io.BytesIO(b"page"))
    answer, _ = call(plain(lambda _: file), **{"wsgi.file_wrapper": FileWrapper})

    assert answer is file
    assert len(exporter.get_finished_spans()) == 1


def test_the_protocol_checker_is_content_on_both_sides(exporter: InMemorySpanExporter) -> None:
    def work(environ: dict[str, Any]) -> list[bytes]:
        return [environ["wsgi.input"].read(4)]

    app = validator(plain(validator_inside(work)))
    with served(app, exporter) as client, client.connect() as connection:
        connection.sendall(head("POST", "/", RUN, (b"content-length", b"4")) + b"body")
        assert answer_of(connection).content == b"body"  # type: ignore[attr-defined]


def validator_inside(work: Callable[[dict[str, Any]], list[bytes]]) -> Callable[[dict[str, Any]], Iterable[bytes]]:
    """`work` as the innermost application, checked against the environ that ours hands down."""

    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return work(environ)

    checked = validator(app)

    def through(environ: dict[str, Any]) -> list[bytes]:
        body = checked(environ, lambda *_: lambda chunk: None)
        try:
            return list(body)
        finally:
            body.close()  # type: ignore[attr-defined]

    return through


def test_an_instrumented_application_inside_another_is_measured_once(exporter: InMemorySpanExporter) -> None:
    inner = plain(lambda _: [b"ok"])

    def outer(environ: dict[str, Any], start_response: Start) -> Any:
        return inner(environ, start_response)

    answer, _ = call(instrument(instrument(outer)))
    answer.close()

    assert len(exporter.get_finished_spans()) == 1


@pytest.fixture
def flask_app() -> flask.Flask:
    app = flask.Flask("reader")

    @app.get("/items/<int:number>")
    def item(number: int) -> dict[str, int]:
        with stage("inference", model="det", batch_size=2):
            time.sleep(0.003)
        return {"number": number}

    @app.post("/upload")
    def upload() -> str:
        return str(len(flask.request.files["image"].read()))

    @app.get("/stream")
    def stream() -> flask.Response:
        @flask.stream_with_context
        def chunks() -> Iterator[str]:
            for _ in range(3):
                with stage("postprocess"):
                    time.sleep(0.002)
                yield flask.request.path

        return flask.Response(chunks())

    assert instrument(app) is app
    return app


def test_flask_is_wrapped_in_place_and_names_its_route(exporter: InMemorySpanExporter, flask_app: flask.Flask) -> None:
    instrument(flask_app)
    with served(flask_app, exporter) as client:
        answer = client.get("/items/7", PARENT, RUN)
        found = named(client.spans())
    inference, root = found["inference"], found["GET /items/<int:number>"]

    assert answer.content == b'{"number":7}\n'  # type: ignore[attr-defined]
    assert attributes(root)["http.route"] == "/items/<int:number>"
    assert (attributes(inference)["harness.model"], parent_of(inference)) == ("det", id_of(root))
    assert f' {host_key()}", total' in (answer.getheader("server-timing") or "")


def test_an_upload_to_flask_arrives_whole(exporter: InMemorySpanExporter, flask_app: flask.Flask) -> None:
    image = bytes(range(256)) * 400
    body = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + image + b"\r\n--b--\r\n"
    kind = (b"content-type", b"multipart/form-data; boundary=b")
    with served(flask_app, exporter) as client, client.connect() as connection:
        connection.sendall(head("POST", "/upload", kind, (b"content-length", b"%d" % len(body))))
        time.sleep(0.05)
        connection.sendall(body)
        assert answer_of(connection).content == b"102400"  # type: ignore[attr-defined]
        found = client.spans()

    assert stage_ms(found, "upload") >= 30


def test_a_stream_of_flask_keeps_its_context_and_its_stages(
    exporter: InMemorySpanExporter, flask_app: flask.Flask
) -> None:
    with served(flask_app, exporter) as client:
        answer = client.get("/stream", PARENT, RUN)
        found = client.spans()

    assert answer.content == b"/stream" * 3  # type: ignore[attr-defined]
    assert " streamed" in (answer.getheader("server-timing") or "")
    assert sum(span.name == "postprocess" for span in found) == 3


def test_flasks_own_test_client_works_as_before(exporter: InMemorySpanExporter, flask_app: flask.Flask) -> None:
    with flask_app.test_client() as client:
        assert client.get("/items/3").json == {"number": 3}
        assert flask.request.path == "/items/3"  # the context it preserves
        assert client.get("/stream").data == b"/stream" * 3


def test_requests_side_by_side_keep_their_stages_apart(exporter: InMemorySpanExporter, flask_app: flask.Flask) -> None:
    with served(flask_app, exporter) as client:
        threads = [
            threading.Thread(target=client.get, args=(f"/items/{n}", parent_header(f"{n:032x}"))) for n in range(1, 9)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = client.spans(roots=8)

    by_trace: dict[int, list[str]] = {}
    for span in found:
        if span.name != "download":  # which a slow moment may leave
            by_trace.setdefault(span.context.trace_id, []).append(span.name)
    assert by_trace == {n: ["inference", "GET /items/<int:number>"] for n in range(1, 9)}
