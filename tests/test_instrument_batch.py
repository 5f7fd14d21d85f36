"""Dynamic batching: members from several requests, one run for all, compared with the batcher's own stopwatch."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from typing import Any

import pytest
from batch_support import Service, batch_spans, ms, of_trace, requests, waits
from instrument_support import attributes, id_of, memory_provider, parent_of
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
