"""stage() and instrument() in one process: applications called straight through ASGI, spans kept in memory."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import anyio
import anyio.to_thread
import pytest
from fastapi import Depends, FastAPI
from instrument_support import RUN, asgi_call, stages_of, traceparent
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.concurrency import run_in_threadpool

from harness.instrument import instrument, pipeline, quiet, stage

Work = Callable[[], Any]
TRACE = "a" * 32


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(pipeline, "provider", lambda: provider)
    return exporter


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


def test_an_app_that_raises_before_answering_leaves_an_error_root(exporter: InMemorySpanExporter) -> None:
    def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(asgi_call(app_of(work)))
    (root,) = exporter.get_finished_spans()

    assert (root.status.is_ok, root.status.description) == (False, "ValueError")
    assert "http.response.status_code" not in attributes(root)


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

    async def two() -> None:
        app = app_of(work)
        await asyncio.gather(asgi_call(app), asgi_call(app))

    asyncio.run(two())
    calls = [span for span in exporter.get_finished_spans() if span.name == "inference"]

    assert len(calls) == 2
    assert all(call.end_time - call.start_time >= 9_000_000 for call in calls)


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


def test_server_timing_is_a_line_of_its_own_and_only_for_a_run(exporter: InMemorySpanExporter) -> None:
    app = app_of(lambda: None)

    assert asyncio.run(asgi_call(app)).timings() == ["db;dur=1"]
    foreign, ours = asyncio.run(asgi_call(app, headers=[RUN])).timings()
    assert foreign == "db;dur=1"
    assert set(stages_of(ours)) == {"total"}


def test_a_stage_that_is_still_open_counts_until_the_answer_starts() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with stage("inference"):
            await asyncio.sleep(0.02)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body"})

    (timing,) = asyncio.run(asgi_call(instrument(app), headers=[RUN])).timings()

    assert 19 <= stages_of(timing)["inference"] <= stages_of(timing)["total"]


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
    traces = [f"{span.context.trace_id:032x}"[0] for span in exporter.get_finished_spans()]

    assert traces == ["1", "1", "2", "2"]


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


def test_a_wsgi_application_is_refused_with_a_reason() -> None:
    def wsgi(environ: object, start_response: object) -> list[bytes]:
        return []

    with pytest.raises(TypeError, match="WSGI application; only ASGI"):
        instrument(wsgi)
    with pytest.raises(TypeError, match="needs an ASGI application object"):
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
