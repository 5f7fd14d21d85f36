"""stage(): what it notes, in one process; applications are called straight through ASGI."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import anyio
import anyio.to_thread
import pytest
from fastapi import Depends, FastAPI
from instrument_support import (
    RUN,
    app_of,
    asgi_call,
    attributes,
    id_of,
    memory_provider,
    parent_of,
    spans,
    stages_of,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from harness.instrument import instrument, pipeline, quiet, stage


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    provider, exporter = memory_provider()
    monkeypatch.setattr(pipeline, "provider", lambda: provider)
    return exporter


def test_a_stage_inside_a_stage_is_its_child(exporter: InMemorySpanExporter) -> None:
    def work() -> None:
        with stage("preprocess", "outer"), stage("queue", "inner", resource="lock"):
            pass

    found = spans(exporter, work)

    assert parent_of(found["inner"]) == id_of(found["outer"])
    assert parent_of(found["outer"]) == id_of(found["root"])
    assert parent_of(found["root"]) == 0xBBBBBBBBBBBBBBBB
    assert attributes(found["inner"]).items() >= {"harness.stage": "queue", "harness.resource": "lock"}.items()


def test_parallel_tasks_are_children_of_the_stage_that_started_them(exporter: InMemorySpanExporter) -> None:
    @stage("inference", "call")
    async def call() -> None:
        await asyncio.sleep(0.001)

    async def work() -> None:
        async with stage("preprocess", "outer"):
            await asyncio.gather(call(), call())

    asyncio.run(asgi_call(app_of(work)))
    found = exporter.get_finished_spans()
    outer = next(span for span in found if span.name == "outer")

    assert [parent_of(s) for s in found if s.name == "call"] == [id_of(outer)] * 2


@pytest.mark.parametrize("how", ["anyio", "asyncio", "context"])
def test_a_thread_that_inherits_the_context_nests(exporter: InMemorySpanExporter, how: str) -> None:
    def inside() -> None:
        with stage("inference", "inner"):
            time.sleep(0.001)

    async def work() -> None:
        async with stage("preprocess", "outer"):
            if how == "anyio":
                await anyio.to_thread.run_sync(inside)
            elif how == "asyncio":
                await asyncio.to_thread(inside)
            else:
                thread = threading.Thread(target=contextvars.copy_context().run, args=(inside,))
                thread.start()
                thread.join()

    found = spans(exporter, work)

    assert parent_of(found["inner"]) == id_of(found["outer"])
    assert attributes(found["inner"])["harness.cpu_ns"] >= 0


def test_a_decorated_function_stays_what_it_was() -> None:
    @stage("inference", model="det")
    def double(x: int, *, y: int = 1) -> int:
        """Twice."""
        return 2 * x + y

    @stage("inference")
    async def later(x: int) -> int:
        return x

    assert double(3, y=2) == 8
    assert (double.__name__, double.__doc__) == ("double", "Twice.")
    assert asyncio.run(later(4)) == 4
    assert asyncio.iscoroutinefunction(later)


def test_decorated_functions_are_marked_and_know_their_cpu_time_when_sync(exporter: InMemorySpanExporter) -> None:
    @stage("inference", "now", model="det", batch_id="b1", batch_size=4, device="cpu", retries=2)
    def now() -> None:
        pass

    @stage("postprocess", "later")
    async def later() -> None:
        pass

    async def work() -> None:
        now()
        await later()

    found = spans(exporter, work)
    expected = {
        "harness.stage": "inference", "harness.model": "det", "harness.batch_id": "b1", "harness.batch_size": 4,
        "harness.device": "cpu", "retries": 2,
    }  # fmt: skip
    assert attributes(found["now"]).items() >= expected.items()
    assert "harness.cpu_ns" in attributes(found["now"])
    assert attributes(found["later"]) == {"harness.stage": "postprocess"}


def test_cpu_time_is_unknown_where_something_else_may_have_run(exporter: InMemorySpanExporter) -> None:
    def generator() -> Iterator[None]:
        with stage("queue", "in generator"):
            yield

    async def work() -> None:
        with stage("queue", "in coroutine"):
            await asyncio.sleep(0)
        with ExitStack() as stack:
            stack.enter_context(stage("queue", "in exit stack"))
        for _ in generator():
            pass

    found = spans(exporter, work)

    assert not [name for name, span in found.items() if "harness.cpu_ns" in attributes(span)]
    assert set(found) == {"root", "in coroutine", "in exit stack", "in generator"}


def test_cpu_time_counts_work_and_not_sleep(exporter: InMemorySpanExporter) -> None:
    def work() -> None:
        with stage("inference", "asleep"):
            time.sleep(0.05)
        with stage("inference", "busy"):
            end = time.thread_time() + 0.03
            while time.thread_time() < end:
                pass

    found = spans(exporter, work)

    assert attributes(found["asleep"])["harness.cpu_ns"] < 25e6
    assert 30e6 <= attributes(found["busy"])["harness.cpu_ns"] <= found["busy"].end_time - found["busy"].start_time


def test_a_stage_that_raises_ends_and_lets_the_exception_pass(exporter: InMemorySpanExporter) -> None:
    def work() -> None:
        with pytest.raises(KeyError), stage("inference"):
            raise KeyError("model")
        with stage("postprocess"):
            pass

    found = spans(exporter, work)

    assert found["inference"].status.description == "KeyError"
    assert not found["inference"].status.is_ok
    assert parent_of(found["postprocess"]) == id_of(found["root"])
    assert found["root"].status.is_ok


def test_outside_a_request_a_stage_does_nothing_and_costs_little() -> None:
    def timed() -> float:
        start = time.perf_counter()
        for _ in range(2000):
            with stage("inference", model="det"):
                pass
        return (time.perf_counter() - start) / 2000

    assert min(timed() for _ in range(5)) < 5e-6


def test_any_other_name_is_a_span_without_a_stage_and_one_log_line(
    exporter: InMemorySpanExporter, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet.LOG, "filters", [])

    def work() -> None:
        for _ in range(3):
            with stage("tokenise"):
                pass

    with caplog.at_level(logging.WARNING):
        found = spans(exporter, work)

    assert "harness.stage" not in attributes(found["tokenise"])
    (line,) = [r.getMessage() for r in caplog.records if "tokenise" in r.getMessage()]
    assert line.startswith("'tokenise' is kept as a span without a stage; stages are upload, queue, preprocess")


def test_the_bare_decorator_is_refused_where_it_is_written() -> None:
    with pytest.raises(TypeError, match="write @stage"):
        stage(lambda: None)  # type: ignore[arg-type]


def test_one_stage_object_may_serve_requests_side_by_side(exporter: InMemorySpanExporter) -> None:
    shared = stage("inference")

    async def work() -> None:
        with shared:
            await asyncio.sleep(0.01)
        with stage("postprocess"):
            await asyncio.sleep(0.02)

    async def two() -> None:
        app = app_of(work)
        await asyncio.gather(asgi_call(app), asgi_call(app))

    asyncio.run(two())
    found = exporter.get_finished_spans()
    ends = {span.context.trace_id: span.end_time for span in found if span.name == "inference"}
    starts = {span.context.trace_id: span.start_time for span in found if span.name == "postprocess"}

    assert len(ends) == 2
    assert all(ends[trace] <= starts[trace] for trace in starts)


def test_a_generator_dependency_may_be_left_in_another_context(exporter: InMemorySpanExporter) -> None:
    app = FastAPI()
    instrument(app)

    def model() -> Iterator[str]:
        with stage("queue", "lease"):
            yield "det"

    @app.get("/")
    def read(name: str = Depends(model, scope="function")) -> str:
        time.sleep(0.002)
        return name

    assert asyncio.run(asgi_call(app)).body == b'"det"'
    lease = next(span for span in exporter.get_finished_spans() if span.name == "lease")
    assert lease.end_time - lease.start_time >= 2_000_000


def test_what_is_still_open_is_cut_and_what_comes_later_is_left_out(exporter: InMemorySpanExporter) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with stage("inference", "open"):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"ok"})
            time.sleep(0.05)
            with stage("postprocess", "late"):
                pass

    asyncio.run(asgi_call(instrument(app)))
    open_one, root = exporter.get_finished_spans()

    assert open_one.name == "open"
    assert open_one.end_time == root.end_time
    assert root.end_time - root.start_time < 50_000_000


def test_values_that_would_break_the_export_become_text(exporter: InMemorySpanExporter) -> None:
    def work() -> None:
        with stage("inference", "x\ud800", model=None, big=2**70, flag=True, share=0.5, bytes=b"ab", items=[1, 2]):
            pass

    (span, _) = spans(exporter, work).values()

    assert span.name == "x?"
    assert attributes(span).items() >= {
        "big": str(2**70), "flag": True, "share": 0.5, "bytes": "b'ab'", "items": "[1, 2]",
    }.items()  # fmt: skip
    assert "harness.model" not in attributes(span)


def test_a_stage_that_is_still_open_counts_until_the_answer_starts() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with stage("inference"):
            await asyncio.sleep(0.02)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body"})

    (timing,) = asyncio.run(asgi_call(instrument(app), headers=[RUN])).timings()

    assert 19 <= stages_of(timing)["inference"] <= stages_of(timing)["total"]
