"""What the tests of batching share: an asyncio batcher with a stopwatch of its own, and who asks it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from instrument_support import app_of, asgi_call, attributes, traceparent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from harness.instrument import Batcher


def trace(number: int) -> tuple[bytes, bytes]:
    return traceparent(f"{number:032x}")


async def requests(*works: Callable[[], Any]) -> list[Any]:
    """Concurrent requests with the trace ids 1, 2, ...; each does its work."""
    calls = (asgi_call(app_of(work), headers=[trace(number)]) for number, work in enumerate(works, 1))
    return await asyncio.gather(*calls, return_exceptions=True)


def of_trace(exporter: InMemorySpanExporter, number: int) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.context.trace_id == number]


def batch_spans(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == "batch"]


def ms(span: ReadableSpan) -> float:
    return ((span.end_time or 0) - (span.start_time or 0)) / 1e6


def waits(found: list[ReadableSpan], kind: str) -> float:
    return sum(ms(span) for span in found if attributes(span).get("harness.wait") == kind)


class Service:
    """An asyncio batcher with a stopwatch of its own: up to `size` members, `window_s` after the first."""

    def __init__(self, size: int, window_s: float, run_s: float) -> None:
        self.size, self.window_s, self.run_s = size, window_s, run_s
        self.batcher = Batcher()
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.runs: list[tuple[float, float]] = []  # begin and end of each batch, perf_counter s
        self.members: dict[int, tuple[float, int]] = {}  # when it joined, and in which run it was

    async def predict(self, number: int) -> None:
        with self.batcher.join() as ticket:
            answer = asyncio.get_running_loop().create_future()
            self.queue.put_nowait((number, time.perf_counter(), answer, ticket))
            await answer

    async def work(self) -> None:
        while True:
            members = [await self.queue.get()]
            deadline = time.perf_counter() + self.window_s
            while len(members) < self.size and (left := deadline - time.perf_counter()) > 0:
                try:
                    members.append(await asyncio.wait_for(self.queue.get(), left))
                except TimeoutError:
                    break
            await asyncio.to_thread(self.run, members)
            for _, _, answer, _ in members:
                if not answer.done():
                    answer.set_result(None)

    def run(self, members: list[Any]) -> None:
        begin = time.perf_counter()
        with self.batcher.run([member[3] for member in members], model="det"):
            time.sleep(self.run_s)
        self.members |= {number: (joined, len(self.runs)) for number, joined, _, _ in members}
        self.runs.append((begin, time.perf_counter()))

    async def serve(self, *works: Callable[[], Any]) -> list[Any]:
        worker = asyncio.create_task(self.work())
        try:
            return await requests(*works)
        finally:
            worker.cancel()
