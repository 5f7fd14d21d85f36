"""What WSGI promises to both sides is kept: write(), exc_info, close(), files, errors, and the protocol checker."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest
from instrument_support import RUN, answer_of, attributes, head, memory_provider
from opentelemetry import trace as otel
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from wsgi_support import PARENT, Start, call, ms, plain, served, stage_ms

from harness.instrument import instrument, pipeline
from harness.instrument.marks import innermost


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    provider, exporter = memory_provider()
    monkeypatch.setattr(pipeline, "provider", lambda: provider)
    return exporter


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


def test_an_application_that_raises_leaves_an_error_root(exporter: InMemorySpanExporter) -> None:
    def work(_: dict[str, Any]) -> list[bytes]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        call(plain(work))
    (root,) = exporter.get_finished_spans()

    assert (root.status.is_ok, attributes(root)["error.type"]) == (False, "ValueError")
    assert innermost() is None


def test_a_head_the_server_refuses_closes_the_body_and_the_window(exporter: InMemorySpanExporter) -> None:
    body = Body()

    def refuses(*_: object) -> None:
        raise AssertionError("no such header")

    environ: dict[str, Any] = {"HTTP_X_MLHARNESS_RUN": "1"}
    setup_testing_defaults(environ)
    with pytest.raises(AssertionError, match="no such header"):
        plain(lambda _: body)(environ, refuses)

    assert body.closed == 1
    assert attributes(exporter.get_finished_spans()[-1])["error.type"] == "AssertionError"


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
