"""What a service gives as names and values: it must neither break a request nor make it slow."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from instrument_support import asgi_call, attributes, memory_provider, spans
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from harness.instrument import instrument, pipeline, stage, values


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    provider, exporter = memory_provider()
    monkeypatch.setattr(pipeline, "provider", lambda: provider)
    return exporter


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("the session is closed")


def test_an_attribute_that_cannot_be_printed_costs_itself_alone(exporter: InMemorySpanExporter) -> None:
    def work() -> None:
        with stage("inference", model=Unprintable(), batch_size=3, digits=10**5000):
            pass
        with stage("inference", Unprintable()):  # type: ignore[arg-type]
            pass

    found = spans(exporter, work)

    told = attributes(found["inference"])
    assert (told["harness.model"], told["harness.batch_size"]) == ("<unprintable>", 3)
    assert told["digits"] == "<int of 16610 bits>"
    assert "<unprintable>" in found


def test_large_values_are_cut_before_they_are_written_out(exporter: InMemorySpanExporter) -> None:
    floats = [0.1] * 1_000_000
    large = {"floats": floats, "inside": [floats, 1], "text": "x" * 10_000_000, "bytes": b"x" * 10_000_000}

    def work() -> None:
        with stage("inference", "n" * 1_000_000, **large):
            pass

    began = time.thread_time()
    found = spans(exporter, work)
    spent_s = time.thread_time() - began

    told = attributes(found["n" * 255])
    assert (told["floats"], told["bytes"]) == ("<list of 1000000>", "<bytes of 10000000>")
    assert told["inside"] == "[<list of 1000000>, 1]"
    assert told["text"] == "x" * 4096
    assert spent_s < 0.1  # writing them out takes half a second


@given(st.recursive(st.none() | st.text() | st.binary() | st.floats() | st.integers(), lambda some: st.lists(some)))
def test_every_value_becomes_a_small_one(value: Any) -> None:
    small = values.small(value)

    assert isinstance(small, str | bool | int | float)
    assert not isinstance(small, str) or len(small) <= values.LONGEST
    assert values.are_small([small])


def test_the_environment_may_allow_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10")
    assert values.longest() == 10
    for odd in ("", "-1", "many", "9" * 30):
        monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", odd)
        assert values.longest() == 4096


def test_a_log_that_raises_breaks_no_request() -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("the log is gone")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with stage("a name that nobody has mentioned so far"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    log, broken = logging.getLogger("harness.instrument"), Broken()
    filters, log.filters = log.filters, []  # so that it speaks for certain
    log.addHandler(broken)
    try:
        assert asyncio.run(asgi_call(instrument(app))).status == 200
    finally:
        log.removeHandler(broken)
        log.filters = filters


def test_a_stage_that_is_no_name_is_refused_where_it_is_written() -> None:
    with pytest.raises(TypeError, match="of type list"):
        stage(["inference"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a function"):
        stage(print)  # type: ignore[arg-type]
