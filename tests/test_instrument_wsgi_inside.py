"""The application finds around it what it would find without us: its input, its tracing, its kind."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from instrument_support import RUN, app_of, attributes, memory_provider
from opentelemetry import trace as otel
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from wsgi_support import PARENT, Start, call, plain

from harness.instrument import instrument, pipeline
from harness.instrument.marks import innermost
from harness.instrument.middleware import Instrumented
from harness.instrument.wsgi import WsgiInstrumented

TWO_LINES = b"one\ntwo\n"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    provider, exporter = memory_provider()
    monkeypatch.setattr(pipeline, "provider", lambda: provider)
    return exporter


def test_the_input_is_iterated_entered_and_asked_like_the_one_it_stands_for(exporter: InMemorySpanExporter) -> None:
    seen: list[Any] = []

    def work(environ: dict[str, Any]) -> list[bytes]:
        with environ["wsgi.input"] as body:
            seen.extend([isinstance(body, io.IOBase), next(body), list(body), body.read()])
        seen.append(body.closed)
        return [b"ok"]

    call(plain(work), **{"wsgi.input": io.BytesIO(TWO_LINES), "CONTENT_LENGTH": "8"})[0].close()

    assert seen == [True, b"one\n", [b"two\n"], b"", True]


@pytest.mark.parametrize(
    ("length", "reads", "known"),
    [("8", [8], True), ("8", [4, 4], True), ("8", [4], False), (None, [100], False), (None, [100, 100], True)],
)
def test_the_root_says_when_the_body_was_read(
    exporter: InMemorySpanExporter, length: str | None, reads: list[int], known: bool
) -> None:
    def work(environ: dict[str, Any]) -> list[bytes]:
        for size in reads:
            environ["wsgi.input"].read(size)
        return [b"ok"]

    announced = {"HTTP_TRANSFER_ENCODING": "chunked"} if length is None else {"CONTENT_LENGTH": length}
    call(plain(work), **announced, **{"wsgi.input": io.BytesIO(TWO_LINES)})[0].close()
    root = exporter.get_finished_spans()[-1]

    assert ("harness.body_ns" in attributes(root)) is known
    if known:
        assert (root.start_time or 0) < attributes(root)["harness.body_ns"] <= (root.end_time or 0)


def test_a_span_that_is_open_across_chunks_stays_the_current_one(
    exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = pipeline.provider()
    assert provider is not None
    monkeypatch.setattr(pipeline, "global_provider", lambda: provider)
    tracer, seen, asked = provider.get_tracer("theirs"), [], []

    def body() -> Iterator[bytes]:
        with tracer.start_as_current_span("theirs") as span:
            for _ in range(3):
                seen.append(otel.get_current_span() is span)
                yield b"x"

    answer, _ = call(plain(lambda _: body()), HTTP_TRACEPARENT=PARENT[1].decode(), HTTP_X_MLHARNESS_RUN="1")
    for _ in answer:
        asked.append(innermost())
    answer.close()
    theirs = next(span for span in exporter.get_finished_spans() if span.name == "theirs")

    assert seen == [True] * 3
    assert theirs.context.trace_id == exporter.get_finished_spans()[-1].context.trace_id
    assert asked == [None] * 3  # between two chunks the thread belongs to the server
    assert not otel.get_current_span().get_span_context().is_valid


def test_what_takes_any_arguments_needs_a_word_about_its_kind() -> None:
    def hidden(*args: Any, **options: Any) -> Any:
        return None

    with pytest.raises(TypeError, match='kind="wsgi"'):
        instrument(hidden)
    with pytest.raises(TypeError, match="not 'http'"):
        instrument(hidden, kind="http")  # type: ignore[arg-type]

    assert type(instrument(hidden, kind="wsgi")) is WsgiInstrumented
    assert isinstance(instrument(hidden, kind="asgi"), Instrumented)
    assert instrument(instrument(hidden, kind="wsgi")) is not None
    assert isinstance(instrument(app_of(lambda: None)), Instrumented)


def test_a_kind_that_is_told_wins_over_the_number_of_arguments() -> None:
    def app(environ: dict[str, Any], start_response: Start, extra: object = RUN) -> list[bytes]:
        start_response("200 OK", [])
        return [b"ok"]

    assert type(instrument(app, kind="wsgi")) is WsgiInstrumented
