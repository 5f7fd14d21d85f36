"""instrument(): what is wrapped, measured and left alone, in one process, without a server."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import anyio.to_thread
import pytest
from fastapi import FastAPI
from instrument_support import (
    RUN,
    app_of,
    asgi_call,
    attributes,
    memory_provider,
    parent_of,
    spans,
    stages_of,
    traceparent,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.concurrency import run_in_threadpool

from harness.instrument import instrument, pipeline, stage


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    provider, exporter = memory_provider()
    monkeypatch.setattr(pipeline, "provider", lambda: provider)
    return exporter


def test_an_app_that_raises_before_answering_leaves_an_error_root(exporter: InMemorySpanExporter) -> None:
    def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(asgi_call(app_of(work)))
    (root,) = exporter.get_finished_spans()

    assert (root.status.is_ok, root.status.description) == (False, "ValueError")
    assert "http.response.status_code" not in attributes(root)


def test_server_timing_is_a_line_of_its_own_and_only_for_a_run(exporter: InMemorySpanExporter) -> None:
    app = app_of(lambda: None)

    assert asyncio.run(asgi_call(app)).timings() == ["db;dur=1"]
    foreign, ours = asyncio.run(asgi_call(app, headers=[RUN])).timings()
    assert foreign == "db;dur=1"
    assert set(stages_of(ours)) == {"total"}


def test_a_request_never_sees_the_record_of_another(exporter: InMemorySpanExporter) -> None:
    """asyncio may resume a connection in the context of its first request; the second must not inherit anything."""
    leaked: list[contextvars.Context] = []

    def work() -> None:
        leaked.append(contextvars.copy_context())
        with stage("inference"):
            pass

    async def two() -> None:
        app = app_of(work)
        await asgi_call(app, headers=[traceparent("1" * 32)])
        task = functools.partial(asyncio.create_task, context=leaked[0])
        await task(asgi_call(app, headers=[traceparent("2" * 32)]))

    asyncio.run(two())
    traces = [(span.name == "inference", f"{span.context.trace_id:032x}"[0]) for span in exporter.get_finished_spans()]

    # On a busy machine a request may have a wait of its own as well.
    assert [trace for computed, trace in traces if computed] == ["1", "2"]
    assert sorted({trace for computed, trace in traces if not computed}) == ["1", "2"]


def test_two_traceparents_or_none_start_a_new_trace(exporter: InMemorySpanExporter) -> None:
    app = app_of(lambda: None)
    asyncio.run(asgi_call(app, headers=[traceparent("1" * 32), traceparent("2" * 32)]))
    asyncio.run(asgi_call(app))
    roots = exporter.get_finished_spans()

    assert [parent_of(root) for root in roots] == [None, None]
    assert len({root.context.trace_id for root in roots} - {int("1" * 32, 16), int("2" * 32, 16)}) == 2


def test_the_measurement_stands_outside_middleware_added_later(exporter: InMemorySpanExporter) -> None:
    class Slow:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, *arguments: Any) -> None:
            await asyncio.sleep(0.02)
            await self.app(*arguments)

    app = FastAPI()
    assert instrument(instrument(app)) is app
    app.add_middleware(Slow)
    asyncio.run(asgi_call(app, "/nowhere"))
    (root,) = (span for span in exporter.get_finished_spans() if span.kind.name == "SERVER")

    assert root.end_time - root.start_time >= 19_000_000
    assert root.name == "GET HTTP"


def test_an_app_that_already_answered_can_still_be_instrumented(exporter: InMemorySpanExporter) -> None:
    app = FastAPI()
    asyncio.run(asgi_call(app))
    asyncio.run(asgi_call(instrument(app)))

    assert len(exporter.get_finished_spans()) == 1


def test_an_instrumented_app_inside_another_is_measured_once(exporter: InMemorySpanExporter) -> None:
    inner, outer = FastAPI(), FastAPI()
    inner.add_api_route("/x", lambda: 1)
    outer.mount("/in", instrument(inner))
    asyncio.run(asgi_call(instrument(outer), "/in/x"))

    assert [span.kind.name for span in exporter.get_finished_spans()].count("SERVER") == 1


def test_what_is_no_application_is_refused_with_a_reason() -> None:
    def old_style(scope: object) -> None:
        pass

    with pytest.raises(TypeError, match="old ASGI 2 style"):
        instrument(old_style)
    with pytest.raises(TypeError, match="needs an ASGI or WSGI application object"):
        instrument(FastAPI)


def test_websockets_pass_through_untouched() -> None:
    seen: list[object] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend([scope, receive, send])

    scope, receive, send = {"type": "websocket"}, object(), object()
    asyncio.run(instrument(app)(scope, receive, send))

    assert [id(x) for x in seen] == [id(scope), id(receive), id(send)]
    assert scope == {"type": "websocket"}


def test_the_thread_pool_function_behaves_as_before() -> None:
    limiter_used: list[float] = []

    async def work() -> None:
        limiter = anyio.CapacityLimiter(1)
        assert await anyio.to_thread.run_sync(max, 1, 2, limiter=limiter) == 2
        with pytest.raises(ZeroDivisionError):
            await anyio.to_thread.run_sync(lambda: 1 / 0)
        with anyio.move_on_after(0.01):
            await anyio.to_thread.run_sync(time.sleep, 0.05, abandon_on_cancel=True)
        limiter_used.append(limiter.total_tokens)
        await asyncio.sleep(0.06)

    (_, timing) = asyncio.run(asgi_call(app_of(work), headers=[RUN])).timings()
    asyncio.run(work())  # and outside a request

    assert limiter_used == [1, 1]
    assert stages_of(timing)["total"] >= 60


def test_a_call_that_waits_for_the_loop_again_shows_as_queue(exporter: InMemorySpanExporter) -> None:
    async def hog() -> None:
        await asyncio.sleep(0.005)
        time.sleep(0.05)  # the worker is done at 10 ms, the loop comes back at 55

    async def work() -> None:
        await asyncio.gather(run_in_threadpool(time.sleep, 0.01), hog())

    lag = spans(exporter, work)["event_loop"]

    assert attributes(lag) == {"harness.stage": "queue", "harness.resource": "event_loop"}
    assert lag.end_time - lag.start_time >= 20_000_000


def test_a_wait_for_asyncio_s_own_threads_is_queue_too(exporter: InMemorySpanExporter) -> None:
    async def work() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        both = (asyncio.to_thread(time.sleep, 0.03), asyncio.to_thread(sorted, [2, 1], reverse=True))
        assert (await asyncio.gather(*both))[1] == [2, 1]

    wait = spans(exporter, work)["threadpool"]  # the second call's: it found the one thread taken

    assert attributes(wait) == {"harness.stage": "queue", "harness.resource": "threadpool"}
    assert wait.end_time - wait.start_time >= 20_000_000


def test_an_app_that_is_cancelled_still_closes_its_window(exporter: InMemorySpanExporter) -> None:
    async def work() -> None:
        await asyncio.sleep(10)

    async def cancelled() -> None:
        task = asyncio.create_task(asgi_call(app_of(work)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())

    assert [span.status.description for span in exporter.get_finished_spans()] == ["CancelledError"]


def test_an_exporter_that_raises_does_not_reach_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(SimpleSpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            raise OSError("disk full")

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Broken(InMemorySpanExporter()))
    monkeypatch.setattr(pipeline, "provider", lambda: provider)

    assert asyncio.run(asgi_call(app_of(lambda: None))).body == b"ok"


def test_an_endless_stream_keeps_a_bounded_number_of_marks(
    exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.instrument.marks.MAX_MARKS", 10)

    async def work() -> None:
        async def pieces() -> AsyncIterator[int]:
            for number in range(25):
                with stage("inference"):
                    yield number

        async for _ in pieces():
            pass

    asyncio.run(asgi_call(app_of(work)))
    *children, root = exporter.get_finished_spans()

    assert len(children) == 10
    assert attributes(root)["harness.marks_dropped"] == 15
