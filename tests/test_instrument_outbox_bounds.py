"""What the queue of the export may cost a service whose collector hangs, that forks, or that ends."""

from __future__ import annotations

import gc
import json
import threading
import time

import pytest
from instrument_support import a_sink
from test_instrument_export import an_application
from test_instrument_outbox import a_request, an_outbox, taking

from harness.instrument import pipeline
from harness.instrument.marks import Record
from harness.instrument.outbox import Counts


def test_large_values_fill_the_queue_by_their_size() -> None:
    outbox = an_outbox(taking(lambda _: None), queue_size=100_000, batch_size=100_000)
    outbox._packing.acquire()  # nothing leaves
    for _ in range(50):
        request = a_request(marks=1)
        request.marks[0].attributes = {"prompt": "x" * 1_000_000}
        outbox.put(request)
    outbox._packing.release()
    outbox.force_flush()

    assert outbox.counts() == Counts(100, 66, 34)  # 33 x 1,000,6xx characters are less than 32 MiB
    assert (outbox._size, outbox._packed, outbox._packed_size) == (0, 0, 0)


def test_what_waits_for_a_collector_that_hangs_waits_as_bytes() -> None:
    running, entered = threading.Event(), threading.Event()

    def post(_: object) -> None:
        entered.set()
        running.wait(20)

    outbox = an_outbox(taking(post), queue_size=10_000)
    for _ in range(60):
        outbox.put(a_request())
    assert entered.wait(10)
    outbox._pack_all()
    gc.collect()
    alive = sum(isinstance(found, Record) for found in gc.get_objects())
    running.set()
    outbox.force_flush()

    assert alive == 0
    assert outbox.counts() == Counts(180, 180, 0)


def test_the_end_needs_no_new_thread_and_waits_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    running = threading.Event()
    sound, hanging = an_outbox(taking(lambda _: None)), an_outbox(taking(lambda _: running.wait(20) and None))
    for outbox in (sound, hanging):
        outbox.put(a_request())

    def refuse(_: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(pipeline, "_flush", None)
    monkeypatch.setattr(pipeline, "_outbox", sound)
    pipeline._flush_at_exit()
    began = time.monotonic()
    hanging.hurry(0.3)
    took = time.monotonic() - began

    assert sound.counts() == Counts(3, 3, 0)
    assert pipeline.start_flush() is None
    assert 0.3 <= took < 5
    running.set()


COUNTED_INSIDE = """
from harness.instrument import pipeline
def inner():
    if os.fork():
        os.wait()
        os._exit(0)
call()
found = pipeline.counts()
print(json.dumps([found.started, found.exported, found.lost]), flush=True)
os._exit(0)
"""


def test_the_spans_of_a_request_that_began_before_the_fork_are_lost_in_the_child() -> None:
    with a_sink() as sink:
        started, exported, lost = json.loads(an_application(COUNTED_INSIDE, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url))

    assert (exported, lost) == (0, started)
    assert lost >= 2
    assert sink.spans == []
