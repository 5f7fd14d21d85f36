"""stage(): odd callables, greenlets, and requests that end where they should not."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from instrument_support import RUN, asgi_call, attributes, memory_provider, spans, stages_of
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from harness.instrument import instrument, pipeline, stage


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    provider, exporter = memory_provider()
    monkeypatch.setattr(pipeline, "provider", lambda: provider)
    return exporter


def test_a_generator_is_refused_with_what_to_write_instead() -> None:
    class Tokens:
        def __call__(self) -> Iterator[int]:
            yield 1

    def plain() -> Iterator[int]:
        yield 1

    async def concurrent() -> AsyncIterator[int]:
        yield 1

    for function in (plain, concurrent, Tokens()):
        with pytest.raises(TypeError, match="between its yields"):
            stage("inference")(function)


def test_whatever_returns_a_coroutine_is_measured_until_that_has_ended(exporter: InMemorySpanExporter) -> None:
    class Model:
        async def __call__(self) -> int:
            await asyncio.sleep(0.02)
            return 7

    model = Model()
    indirect = stage("inference", "indirect")(lambda: model())
    direct = stage("inference", "direct")(model)

    async def work() -> None:
        assert (await indirect(), await direct()) == (7, 7)

    found = spans(exporter, work)
    for name in ("indirect", "direct"):
        assert (found[name].end_time or 0) - (found[name].start_time or 0) >= 19_000_000


def test_a_request_that_the_garbage_collector_ends_leaves_the_running_one_alone() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/lost":
            await asyncio.get_running_loop().create_future()  # which nobody holds
        gc.collect()
        with stage("inference"):
            await asyncio.sleep(0.02)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def both() -> list[str]:
        measured = instrument(app)
        lost = asyncio.create_task(asgi_call(measured, "/lost"))
        await asyncio.sleep(0.01)
        del lost
        return (await asyncio.create_task(asgi_call(measured, headers=[RUN]))).timings()

    (timing,) = asyncio.run(both())

    assert stages_of(timing)["inference"] >= 19


def test_greenlets_share_a_thread_so_that_its_cpu_time_says_nothing(
    exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gevent.monkey", SimpleNamespace(saved={"time": {}}))

    def work() -> None:
        with stage("inference"):
            pass

    assert "harness.cpu_ns" not in attributes(spans(exporter, work)["inference"])
