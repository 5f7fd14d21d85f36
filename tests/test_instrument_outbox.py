"""The queue of the export: nothing is lost unseen."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from instrument_support import RUN, a_sink, app_of, asgi_call, attributes, memory_provider, traceparent
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from test_instrument_export import an_application

from harness.instrument import instrument, pipeline, stage
from harness.instrument.exporter import Entry, Parcel, Sender, Sent, sender
from harness.instrument.marks import Mark, Record, add_mark
from harness.instrument.outbox import Counts, Outbox
from harness.instrument.spans import Finished, finished


def a_request(marks: int = 2) -> Finished:
    record = Record(0, 1, 1, 2, None)
    root = Mark(record, None, None, "request", None, 0)
    for at in range(marks):
        add_mark(root, "inference", "inference", at, at + 1)
    record.end = marks + 1
    return finished(record, {})


def pack(entries: Sequence[Entry]) -> Iterator[Parcel]:
    return (Parcel(entry.spans, b"x") for entry in entries if isinstance(entry, Finished))


def taking(post: Callable[[Sequence[Parcel]], object]) -> Sender:
    """Packs without encoding; `post` only looks on, or raises."""
    return Sender(pack, lambda parcels: Sent(0, post(parcels)))


def an_outbox(sender: Sender, queue_size: int = 12, batch_size: int = 6) -> Outbox:
    return Outbox(sender, queue_size=queue_size, batch_size=batch_size, delay_s=60)


def test_a_stopped_collector_costs_what_does_not_fit_and_all_of_it_is_counted() -> None:
    running, provider = threading.Event(), TracerProvider(resource=Resource({}), shutdown_on_exit=False)
    with a_sink(answer=lambda: running.wait(20) and None) as sink:
        exporter = OTLPSpanExporter(f"{sink.url}/v1/traces")
        outbox = an_outbox(sender(exporter, provider))
        for _ in range(50):  # three spans each: two requests are being posted, four wait
            outbox.put(a_request())
        assert outbox.counts().lost >= 150 - 6 - 12
        running.set()
        outbox.force_flush()
        exporter.shutdown()
        counts = outbox.counts()

    assert counts.started == 150 == counts.exported + counts.lost
    assert counts.exported == len(sink.spans) >= 12
    assert len([span for span in sink.spans if span.kind == 2]) * 3 == len(sink.spans)  # whole requests


def test_a_request_larger_than_the_queue_is_sent_when_nothing_else_waits() -> None:
    outbox = an_outbox(taking(lambda _: None))
    outbox.put(a_request(marks=30))
    outbox.force_flush()

    assert outbox.counts() == Counts(31, 31, 0)


def test_what_cannot_be_packed_and_what_is_refused_is_lost_and_said(caplog: pytest.LogCaptureFixture) -> None:
    def broken(entries: Sequence[Entry]) -> Iterator[Parcel]:
        yield Parcel(3, b"x")
        yield Parcel(3, failure="odd")
        raise OSError("no memory")

    outbox = an_outbox(Sender(broken, lambda _: Sent(2, "quota")), batch_size=100)
    for _ in range(4):
        outbox.put(a_request())
    with caplog.at_level(logging.WARNING):
        outbox.force_flush()
    outbox.force_flush()

    assert outbox.counts() == Counts(12, 1, 11)
    assert [r.getMessage() for r in caplog.records] == [
        "spans are lost, 9 so far: the export failed (no memory)",
        "spans are lost, 11 so far: the export failed (quota)",
    ]


def test_a_post_that_raises_loses_its_spans_and_not_the_next_ones() -> None:
    failures = [OSError("no network")]

    def post(_: object) -> Sent:
        if failures:
            raise failures.pop()
        return Sent(0, None)

    outbox = an_outbox(Sender(pack, post))
    for _ in range(2):
        outbox.put(a_request())
        outbox.force_flush()

    assert outbox.counts() == Counts(6, 3, 3)


def test_a_full_batch_does_not_wait_for_the_clock() -> None:
    sent, entered = [], threading.Event()

    def post(parcels: Sequence[Parcel]) -> None:
        sent.append(sum(parcel.spans for parcel in parcels))
        entered.set()

    outbox = an_outbox(taking(post))
    outbox.put(a_request())
    assert not entered.wait(0.05)
    outbox.put(a_request())

    assert entered.wait(10)
    assert sent == [6]


def test_threads_that_put_at_once_are_all_counted() -> None:
    outbox = an_outbox(taking(lambda _: None), queue_size=10_000, batch_size=50)
    threads = [threading.Thread(target=lambda: [outbox.put(a_request()) for _ in range(100)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outbox.force_flush()

    assert outbox.counts() == Counts(2400, 2400, 0)


def test_the_processors_of_the_service_are_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(SimpleSpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            if span.name != "kept":
                raise OSError("disk full")

    def work() -> None:
        with stage("inference", "kept"):
            pass

    provider, _ = memory_provider()
    monkeypatch.setattr(pipeline, "provider", lambda: provider)
    monkeypatch.setattr("harness.instrument.marks.SHORTEST_WAIT_NS", 10**12)  # a busy machine must not add spans
    before = pipeline.counts()
    asyncio.run(asgi_call(app_of(work)))
    provider.add_span_processor(Broken(InMemorySpanExporter()))
    asyncio.run(asgi_call(app_of(work)))
    after = pipeline.counts()

    assert after.started - before.started == 4
    assert after.exported - before.exported == 3
    assert after.lost - before.lost == 1  # the root, which is handed over last


COUNTED = """
from harness.instrument import marks, pipeline
marks.SHORTEST_WAIT_NS = 10**12  # a busy machine must not add spans
def counted():
    pipeline.start_flush().join()
    found = pipeline.counts()
    return [found.started, found.exported, found.lost]
for _ in range(5): call()
before = counted()
child, near = None, os.pipe()
child = os.fork()
call()
after = counted()
if not child:
    os.write(near[1], json.dumps(after).encode())
    os._exit(0)
os.waitpid(child, 0)
print(json.dumps([before, after, json.loads(os.read(near[0], 100))]))
"""


def test_a_process_counts_its_own_spans_and_a_fork_begins_anew() -> None:
    with a_sink() as sink:
        before, after, child = json.loads(an_application(COUNTED, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url))

    assert (before, after, child) == ([10, 10, 0], [12, 12, 0], [2, 2, 0])
    assert len(sink.spans) == 14


FORKED_INSIDE = """
import threading
from harness.instrument import pipeline
import signal
async def forks(scope, receive, send):
    busy, held = pipeline._outbox, threading.Event()
    threading.Thread(target=lambda: busy._counting.acquire() and held.set(), daemon=True).start()
    held.wait()
    child = os.fork()
    if not child:
        signal.alarm(20)  # a child that hangs must not outlive the test
    if child:
        assert os.waitpid(child, 0)[1] == 0
        print(json.dumps("the child came back"), flush=True)
        os._exit(0)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})
call()
asyncio.run(asgi_call(instrument(forks), "/"))
os._exit(0)
"""


def test_a_request_that_began_before_the_fork_ends_in_the_child_whatever_the_parent_held() -> None:
    assert json.loads(an_application(FORKED_INSIDE, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9"))


def test_sizes_from_the_environment_are_taken_and_nonsense_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "100")
    assert pipeline._positive("OTEL_BSP_MAX_QUEUE_SIZE", 7, 1000) == 100
    for large in ("1001", "10000000000000", "9" * 5_000):
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", large)
        assert pipeline._positive("OTEL_BSP_MAX_QUEUE_SIZE", 7, 1000) == 1000
    for nonsense in ("0", "-1", "many", "1.5", " "):
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", nonsense)
        assert pipeline._positive("OTEL_BSP_MAX_QUEUE_SIZE", 7, 1000) == 7


def test_marks_that_come_after_the_window_leave_no_trace() -> None:
    record = Record(0, 1, 1, 2, None)
    root = Mark(record, None, None, "request", None, 0)
    add_mark(root, "queue", "lock", 1, 3, {"resource": "lock"})
    record.closed = True
    add_mark(root, "queue", "late", 4, 5)

    assert [(mark.name, mark.start, mark.end, mark.attributes) for mark in record.marks] == [
        ("lock", 1, 3, {"resource": "lock"})
    ]


def test_a_chunk_that_is_still_on_its_way_at_the_end_is_download(monkeypatch: pytest.MonkeyPatch) -> None:
    provider, exporter = memory_provider()
    monkeypatch.setattr(pipeline, "provider", lambda: provider)
    tasks = []

    async def app(scope: dict[str, object], receive: object, send: object) -> None:
        tasks.append(asyncio.create_task(send({"type": "http.response.start", "status": 200})))  # type: ignore[operator]
        await asyncio.sleep(0.02)

    async def stuck(_: object) -> None:
        await asyncio.sleep(10)

    async def call() -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [traceparent("1" * 32), RUN]}
        await instrument(app)(scope, None, stuck)
        tasks[0].cancel()

    asyncio.run(call())
    download, root = exporter.get_finished_spans()

    assert attributes(download) == {"harness.stage": "download"}
    assert download.end_time == root.end_time
    assert download.end_time - download.start_time >= 15_000_000


def test_the_root_says_when_the_body_was_here(monkeypatch: pytest.MonkeyPatch) -> None:
    provider, exporter = memory_provider()
    monkeypatch.setattr(pipeline, "provider", lambda: provider)

    async def app(scope: object, receive: object, send: object) -> None:
        while (await receive())["more_body"]:  # type: ignore[operator]
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.01)
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body"})  # type: ignore[operator]

    asyncio.run(asgi_call(instrument(app), body=[b"a", b"b"]))
    asyncio.run(asgi_call(app_of(lambda: None)))  # never asked for it
    read, unread = (span for span in exporter.get_finished_spans() if span.kind.name == "SERVER")
    body_ns = attributes(read)["harness.body_ns"]

    assert (read.start_time or 0) + 4_000_000 < body_ns < attributes(read)["harness.first_send_ns"] - 9_000_000
    assert "harness.body_ns" not in attributes(unread)
