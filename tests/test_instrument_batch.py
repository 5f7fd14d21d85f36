"""Dynamic batching: members from several requests, one run for all, compared with the batcher's own stopwatch."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from instrument_support import app_of, asgi_call, attributes, id_of, memory_provider, parent_of, traceparent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from harness.instrument import Batcher, pipeline, stage
from harness.instrument.batch import MAX_KEPT
from harness.instrument.marks import innermost

CLOSE_MS = 12  # a busy machine may take the processor away between two readings of the clock


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    provider, exporter = memory_provider()
    monkeypatch.setattr(pipeline, "provider", lambda: provider)
    return exporter


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


@pytest.fixture
def full_batch_then_another(exporter: InMemorySpanExporter) -> Service:
    """Members 1 and 2 fill a batch of 60 ms; 3 comes during it and then waits out the window of 40 ms alone."""

    async def scene() -> Service:
        service = Service(size=2, window_s=0.04, run_s=0.06)

        async def third() -> None:
            await asyncio.sleep(0.02)
            await service.predict(3)

        await service.serve(lambda: service.predict(1), lambda: service.predict(2), third)
        return service

    return asyncio.run(scene())


def test_each_member_is_charged_the_whole_run(exporter: InMemorySpanExporter, full_batch_then_another: Service) -> None:
    service = full_batch_then_another
    for number, (_, run) in service.members.items():
        begin, end = service.runs[run]
        (inference,) = [span for span in of_trace(exporter, number) if span.name == "inference"]

        assert abs(ms(inference) - (end - begin) * 1e3) < CLOSE_MS
        assert attributes(inference)["harness.stage"] == "inference"
        assert attributes(inference)["harness.model"] == "det"


def test_the_wait_is_what_the_batcher_timed_itself(
    exporter: InMemorySpanExporter, full_batch_then_another: Service
) -> None:
    service = full_batch_then_another
    for number, (joined, run) in service.members.items():
        mine = of_trace(exporter, number)
        queued = sum(ms(span) for span in mine if span.name == "batcher")

        assert abs(queued - (service.runs[run][0] - joined) * 1e3) < CLOSE_MS
        assert {attributes(span)["harness.resource"] for span in mine if span.name == "batcher"} <= {"batcher"}


def test_the_wait_is_told_apart_into_a_busy_worker_and_an_open_window(
    exporter: InMemorySpanExporter, full_batch_then_another: Service
) -> None:
    service = full_batch_then_another
    joined, run = service.members[3]
    busy_s = service.runs[0][1] - joined
    window_s = service.runs[run][0] - service.runs[0][1]
    third = of_trace(exporter, 3)

    assert run == 1
    assert abs(waits(third, "busy") - busy_s * 1e3) < CLOSE_MS
    assert abs(waits(third, "window") - window_s * 1e3) < CLOSE_MS
    assert waits(of_trace(exporter, 1), "busy") == 0


def test_the_batch_is_a_span_of_its_own_linked_to_every_member(
    exporter: InMemorySpanExporter, full_batch_then_another: Service
) -> None:
    first, second = batch_spans(exporter)
    roots = {n: next(s for s in of_trace(exporter, n) if s.kind.name == "SERVER") for n in (1, 2, 3)}
    inferences = {n: next(s for s in of_trace(exporter, n) if s.name == "inference") for n in (1, 2, 3)}

    assert [(link.context.trace_id, link.context.span_id) for link in first.links] == [
        (1, id_of(roots[1])), (2, id_of(roots[2])),
    ]  # fmt: skip
    assert first.parent is None
    assert first.context.trace_id not in (1, 2, 3)
    assert (first.start_time, first.end_time) == (inferences[1].start_time, inferences[1].end_time)
    told = {n: attributes(span) for n, span in inferences.items()}
    batch_id = f"{id_of(first):016x}"
    assert attributes(first) == {"harness.batch_id": batch_id, "harness.batch_size": 2, "harness.model": "det"}
    assert [told[n]["harness.batch_id"] for n in (1, 2, 3)] == [batch_id, batch_id, f"{id_of(second):016x}"]
    assert [told[n]["harness.batch_size"] for n in (1, 2, 3)] == [2, 2, 1]
    assert [told[n]["harness.batch_index"] for n in (1, 2, 3)] == [0, 1, 0]


def test_threads_batch_as_tasks_do(exporter: InMemorySpanExporter) -> None:
    batcher = Batcher("gpu_queue")
    waiting: queue.Queue[Any] = queue.Queue()

    def predict() -> None:
        with stage("inference"), batcher.join() as ticket:
            ready = threading.Event()
            waiting.put((ticket, ready))
            assert ready.wait(10)

    def worker() -> None:
        members = [waiting.get() for _ in range(3)]
        with batcher.run([ticket for ticket, _ in members], model="det", device="cuda:0"):
            time.sleep(0.03)
        for _, ready in members:
            ready.set()

    thread = threading.Thread(target=worker)
    thread.start()
    asyncio.run(requests(*[lambda: asyncio.to_thread(predict)] * 3))
    thread.join()

    for number in (1, 2, 3):
        outer, inner = sorted((s for s in of_trace(exporter, number) if s.name == "inference"), key=ms, reverse=True)
        assert parent_of(inner) == id_of(outer)
        assert 30 <= ms(inner) < 1000
        assert attributes(inner)["harness.device"] == "cuda:0"


def test_a_member_that_gives_up_waits_no_longer(exporter: InMemorySpanExporter) -> None:
    async def scene() -> list[Any]:
        service = Service(size=8, window_s=0.12, run_s=0.01)

        async def impatient() -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(service.predict(1), 0.03)
            await asyncio.sleep(0.15)  # its batch runs meanwhile, without it

        return await service.serve(impatient, lambda: service.predict(2))

    answers = asyncio.run(scene())
    first, second = of_trace(exporter, 1), of_trace(exporter, 2)

    assert [answer.status for answer in answers] == [200, 200]
    assert 25 <= sum(ms(span) for span in first if span.name == "batcher") < 100
    assert "inference" not in {span.name for span in first}
    (inference,) = [span for span in second if span.name == "inference"]
    assert attributes(inference)["harness.batch_size"] == 2  # it was in the batch all the same
    assert len(batch_spans(exporter)[0].links) == 2


def test_a_member_that_leaves_during_the_run_is_charged_until_then(exporter: InMemorySpanExporter) -> None:
    async def scene() -> None:
        service = Service(size=1, window_s=0, run_s=0.12)

        async def impatient() -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(service.predict(1), 0.05)

        await service.serve(impatient)

    asyncio.run(scene())
    (inference,) = [span for span in of_trace(exporter, 1) if span.name == "inference"]

    assert 20 <= ms(inference) < 100


def test_members_whose_request_is_over_harm_nobody(exporter: InMemorySpanExporter) -> None:
    batcher, tickets = Batcher(), []

    async def forgets() -> None:
        tickets.append(batcher.join())

    asyncio.run(requests(forgets))
    outside = batcher.join()
    with batcher.run([*tickets, outside, None, *tickets], model="det"):
        pass
    outside.leave()
    (batch,) = batch_spans(exporter)

    assert [span.name for span in of_trace(exporter, 1)][-1] == "GET HTTP"
    assert "inference" not in {span.name for span in of_trace(exporter, 1)}
    assert attributes(batch)["harness.batch_size"] == 4


def test_a_batch_of_strangers_leaves_no_span(exporter: InMemorySpanExporter) -> None:
    batcher = Batcher()
    with batcher.run([batcher.join(), None]):
        pass
    with batcher.run([]):
        pass

    assert exporter.get_finished_spans() == ()


def test_a_batch_that_fails_is_an_error_of_every_member_and_may_be_tried_again(
    exporter: InMemorySpanExporter,
) -> None:
    async def work() -> None:
        batcher = Batcher()
        with batcher.join() as ticket:
            with pytest.raises(MemoryError), batcher.run([ticket]):
                raise MemoryError
            await asyncio.sleep(0.02)
            with batcher.run([ticket]):
                await asyncio.sleep(0.01)

    asyncio.run(requests(work))
    failed, again = [span for span in of_trace(exporter, 1) if span.name == "inference"]

    assert attributes(failed)["error.type"] == "MemoryError"
    assert again.status.is_ok or again.status.is_unset
    assert [batch.status.is_ok or batch.status.is_unset for batch in batch_spans(exporter)] == [False, True]
    assert 15 <= waits(of_trace(exporter, 1), "window") < 500  # the pause between the two


def test_stages_inside_a_run_belong_to_nobody(exporter: InMemorySpanExporter) -> None:
    async def work() -> None:
        batcher = Batcher()
        with batcher.join() as ticket:
            with batcher.run([ticket]), stage("preprocess"):  # the member runs the batch for all, in its own context
                assert innermost() is None
            assert innermost() is not None

    asyncio.run(requests(work))

    assert {span.name for span in of_trace(exporter, 1)} - {"batcher"} == {"inference", "GET HTTP"}


def test_with_two_workers_only_two_running_batches_make_the_queue_busy(exporter: InMemorySpanExporter) -> None:
    async def work() -> None:
        batcher = Batcher(workers=2)
        with batcher.join() as ticket, batcher.run([]):
            await asyncio.sleep(0.02)  # one of two workers is free
            with batcher.run([]):
                await asyncio.sleep(0.03)
            with batcher.run([ticket]):
                pass

    asyncio.run(requests(work))
    mine = of_trace(exporter, 1)

    assert 18 <= waits(mine, "window") < 500
    assert 28 <= waits(mine, "busy") < 500


def test_a_batcher_remembers_a_bounded_past(exporter: InMemorySpanExporter) -> None:
    batcher = Batcher()
    for _ in range(MAX_KEPT + 3):
        with batcher.run([]):
            pass
    busy, known_from = batcher._started(time.perf_counter_ns())

    assert len(busy) == MAX_KEPT
    assert 0 < known_from <= busy[0][0]
