"""Waits for pools, locks and semaphores: recorded where they happen, on both event loops, and only inside a request."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest
import uvloop
from instrument_support import app_of, asgi_call, attributes, id_of, memory_provider, parent_of
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from harness.instrument import instrument, pipeline, stage, threadpool

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    provider, exporter = memory_provider()
    monkeypatch.setattr(pipeline, "provider", lambda: provider)
    threadpool.install_if_used()
    return exporter


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
        yield runner


def served(runner: asyncio.Runner, exporter: InMemorySpanExporter, *works: Callable[[], Any]) -> list[ReadableSpan]:
    """All spans of concurrent requests that do `works`."""

    async def all_at_once() -> None:
        await asyncio.gather(*(asgi_call(app_of(work)) for work in works))

    runner.run(all_at_once())
    return list(exporter.get_finished_spans())


def waits(found: list[ReadableSpan], resource: str, least_ms: float = 20) -> list[float]:
    """Milliseconds of the longer queue spans on `resource`."""
    return [
        ms
        for span in found
        if attributes(span).get("harness.resource") == resource and attributes(span)["harness.stage"] == "queue"
        if (ms := ((span.end_time or 0) - (span.start_time or 0)) / 1e6) >= least_ms
    ]


def test_a_call_to_a_full_executor_waits_for_its_thread(loop: asyncio.Runner, exporter: InMemorySpanExporter) -> None:
    with ThreadPoolExecutor(1) as pool:

        async def work() -> None:
            await asyncio.get_running_loop().run_in_executor(pool, time.sleep, 0.1)

        found = served(loop, exporter, work, work)

    (waited,) = waits(found, "threadpool")
    assert 40 <= waited < 1000  # the second call found the one thread taken for 100 ms, less the time it took to come


def test_the_default_executor_is_measured_too_and_keeps_the_mark(
    loop: asyncio.Runner, exporter: InMemorySpanExporter
) -> None:
    def in_thread(number: int) -> int:
        with stage("inference", model="det"):
            time.sleep(0.002)
        return number * 2

    async def work() -> None:
        with stage("preprocess"):
            assert await asyncio.get_running_loop().run_in_executor(None, in_thread, 21) == 42

    found = {span.name: span for span in served(loop, exporter, work)}

    assert parent_of(found["inference"]) == id_of(found["preprocess"])
    assert attributes(found["inference"])["harness.cpu_ns"] > 0


def test_the_way_back_to_a_busy_loop_is_a_wait_for_the_loop(
    loop: asyncio.Runner, exporter: InMemorySpanExporter
) -> None:
    async def work() -> None:
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.01)

    async def hog() -> None:
        await asyncio.sleep(0)
        time.sleep(0.12)  # holds the loop on purpose

    (lag,) = waits(served(loop, exporter, work, hog), "event_loop")

    assert 50 <= lag < 1000  # 120 ms less the 10 ms in the thread, and what both took to start


def test_work_on_the_loop_before_the_await_is_no_wait_for_the_loop(
    loop: asyncio.Runner, exporter: InMemorySpanExporter
) -> None:
    async def work() -> None:
        future = asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.01)
        time.sleep(0.1)  # its own work, on the loop
        await future

    assert waits(served(loop, exporter, work), "event_loop") == []


def test_an_executor_that_looks_at_what_it_runs_finds_the_function(
    loop: asyncio.Runner, exporter: InMemorySpanExporter
) -> None:
    seen: list[Any] = []

    class Pool(ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **options: Any) -> Any:
            seen.extend([fn.__name__, fn.__qualname__, str(inspect.signature(fn)), fn in {answer}, fn == answer])
            return super().submit(fn, *args, **options)

    def answer(to: int) -> int:
        return to

    async def work() -> None:
        with Pool(1) as pool:
            assert await asyncio.get_running_loop().run_in_executor(pool, answer, 42) == 42

    served(loop, exporter, work)

    assert seen == ["answer", answer.__qualname__, "(to: 'int') -> 'int'", True, True]


def test_the_returned_object_is_the_future_it_was(loop: asyncio.Runner, exporter: InMemorySpanExporter) -> None:
    seen: list[Any] = []

    async def work() -> None:
        future = asyncio.get_running_loop().run_in_executor(None, int, "7")
        seen.extend([asyncio.isfuture(future), future.get_loop() is asyncio.get_running_loop(), await future])
        with pytest.raises(ValueError, match="invalid literal"):
            await asyncio.get_running_loop().run_in_executor(None, int, "seven")

    served(loop, exporter, work)

    assert seen == [True, True, 7]


@pytest.mark.parametrize("wrong", [asyncio.sleep, 7], ids=["a coroutine function", "a number"])
def test_the_loop_refuses_what_it_always_refused(exporter: InMemorySpanExporter, wrong: Any) -> None:
    async def work() -> None:
        asyncio.get_running_loop().set_debug(True)
        with pytest.raises(TypeError):
            await asyncio.get_running_loop().run_in_executor(None, wrong)

    with asyncio.Runner() as runner:
        served(runner, exporter, work)


def test_to_thread_is_not_counted_twice(loop: asyncio.Runner, exporter: InMemorySpanExporter) -> None:
    with ThreadPoolExecutor(1) as pool:

        async def work() -> None:
            asyncio.get_running_loop().set_default_executor(pool)
            await asyncio.to_thread(time.sleep, 0.1)

        found = served(loop, exporter, work, work)

    assert len(waits(found, "threadpool")) == 1


def test_a_pool_of_processes_works_as_before(loop: asyncio.Runner, exporter: InMemorySpanExporter) -> None:
    got: list[int] = []
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:

        async def work() -> None:
            got.append(await asyncio.get_running_loop().run_in_executor(pool, os.getpid))

        found = served(loop, exporter, work)

    assert got != [os.getpid()]
    assert waits(found, "threadpool", least_ms=0) == []


def test_a_default_pool_of_processes_works_as_before(exporter: InMemorySpanExporter) -> None:
    got: list[int] = []
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:

        async def work() -> None:
            asyncio.get_running_loop().set_default_executor(pool)  # type: ignore[arg-type] - uvloop takes it
            got.append(await asyncio.get_running_loop().run_in_executor(None, os.getpid))

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = served(runner, exporter, work)

    assert got != [os.getpid()]
    assert waits(found, "threadpool", least_ms=0) == []


def test_outside_a_request_nothing_is_wrapped(loop: asyncio.Runner, exporter: InMemorySpanExporter) -> None:
    submitted: list[Any] = []

    class Pool(ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **options: Any) -> Any:
            submitted.append(fn)
            return super().submit(fn, *args, **options)

    async def call() -> None:
        with Pool(1) as pool:
            await asyncio.get_running_loop().run_in_executor(pool, os.getpid)

    loop.run(call())

    assert submitted == [os.getpid]


def test_a_call_given_up_leaves_no_wait_open(loop: asyncio.Runner, exporter: InMemorySpanExporter) -> None:
    async def work() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.06), 0.02)
        await asyncio.sleep(0.1)  # the thread ends meanwhile

    found = served(loop, exporter, work)

    assert waits(found, "event_loop") == []  # nobody was there to wait for the loop


def test_the_mark_does_not_stay_behind_in_the_thread(loop: asyncio.Runner, exporter: InMemorySpanExporter) -> None:
    with ThreadPoolExecutor(1) as pool:

        async def work() -> None:
            await asyncio.get_running_loop().run_in_executor(pool, os.getpid)

        served(loop, exporter, work)
        left = pool.submit(lambda: [value for var, value in contextvars.copy_context().items() if value is not None])
        marks = [value for value in left.result() if type(value).__name__ == "Mark"]

    assert marks == []


def test_a_lock_behind_a_queue_stage_shows_who_waited_for_it(
    loop: asyncio.Runner, exporter: InMemorySpanExporter
) -> None:
    model_lock = asyncio.Semaphore(1)

    async def work() -> None:
        async with stage("queue", resource="model_lock"):
            await model_lock.acquire()
        try:
            async with stage("inference", model="det"):
                await asyncio.sleep(0.08)
        finally:
            model_lock.release()

    found = served(loop, exporter, work, work, work)

    second, third = sorted(waits(found, "model_lock"))
    assert 30 <= second <= third - 40  # 80 and 160 ms behind the others
    assert sum(span.name == "inference" for span in found) == 3


def test_a_lock_of_threads_shows_the_same(exporter: InMemorySpanExporter) -> None:
    model_lock = threading.Lock()

    def work_in_thread() -> None:
        with stage("queue", resource="model_lock"):
            model_lock.acquire()
        try:
            with stage("inference", model="det"):
                time.sleep(0.08)
        finally:
            model_lock.release()

    async def work() -> None:
        await asyncio.to_thread(work_in_thread)

    with asyncio.Runner() as runner:
        found = served(runner, exporter, work, work)

    (waited,) = waits(found, "model_lock")
    assert 30 <= waited < 1000
    assert [attributes(span)["harness.model"] for span in found if span.name == "inference"] == ["det", "det"]


def test_a_second_installation_wraps_nothing_again(exporter: InMemorySpanExporter) -> None:
    before = asyncio.base_events.BaseEventLoop.run_in_executor
    instrument(app_of(lambda: None))
    threadpool.install_if_used()

    assert asyncio.base_events.BaseEventLoop.run_in_executor is before
    assert uvloop.Loop.run_in_executor.__name__ == "run_in_executor"
