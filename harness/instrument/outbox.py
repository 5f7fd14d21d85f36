"""The queue of finished requests, and the threads that send them.

A request leaves with one `append`; everything else happens off the event loop. One thread makes bytes of what ended,
another posts them, so that a collector that hangs keeps bytes waiting and not the objects of requests. Whole requests
are dropped when the queue is full, never a part of one. What was started, exported and lost is counted.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass
from time import monotonic, sleep

from opentelemetry import context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from harness.instrument.exporter import POST_BYTES, Entry, Parcel, Sender, size_of
from harness.instrument.spans import Finished

LOG = logging.getLogger("harness.instrument.outbox")

MAX_BYTES = 32 << 20
"""Of all that waits, by estimate: the queue is bounded in spans, but a span may be large."""

BATCH_BYTES = 4 << 20
"""From here on what ended is made into bytes at once."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Spans of this process: made, taken by a collector (or by the service's own processors), lost for good."""

    started: int
    exported: int
    lost: int


class Outbox(SpanProcessor):
    """Starts its threads at once: to be made in the process that serves, after a fork."""

    def __init__(self, sender: Sender, *, queue_size: int, batch_size: int, delay_s: float) -> None:
        self._sender = sender
        self._queue: deque[tuple[Entry, int]] = deque()  # with its size
        self._parcels: deque[Parcel] = deque()
        self._queue_size, self._batch_size, self._delay_s = queue_size, batch_size, delay_s
        self._queued = self._size = self._packed = self._packed_size = 0
        self._started = self._exported = self._lost = 0
        self._make_locks()
        for work, name in ((self._pack, "harness-export"), (self._post, "harness-post")):
            threading.Thread(target=work, name=name, daemon=True).start()

    def _make_locks(self) -> None:
        self._counting = threading.RLock()  # garbage collection may end a request in the middle of anything
        self._packing, self._sending = threading.Lock(), threading.Lock()
        self._wake, self._ready = threading.Event(), threading.Event()

    def abandon(self) -> None:
        """In a forked child: the parent sends what is queued, and its threads may have held the locks."""
        self._queue.clear()
        self._parcels.clear()
        self._queued = self._size = self._packed = self._packed_size = 0
        self._make_locks()

    def put(self, entry: Entry) -> None:
        """Queue what ended; it is lost if there is no room."""
        spans, size = _spans_in(entry), size_of(entry)
        with self._counting:
            self._started += spans
            spans_before, size_before = self._queued + self._packed, self._size + self._packed_size
            fits = not spans_before or (spans_before + spans <= self._queue_size and size_before + size <= MAX_BYTES)
            if fits:
                self._queued += spans
                self._size += size
                self._queue.append((entry, size))
            else:
                self._lost += spans
        if not fits:
            LOG.warning("spans are lost, %d so far: the queue of the export is full", self._lost)
        elif (self._queued >= self._batch_size or self._size >= BATCH_BYTES) and not self._wake.is_set():
            self._wake.set()

    def counts(self) -> Counts:
        with self._counting:
            return Counts(self._started, self._exported, self._lost)

    def on_end(self, span: ReadableSpan) -> None:
        self.put(span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send all that is queued, behind what is being sent."""
        self._pack_all()
        self._post_all()
        return True

    def hurry(self, at_most_s: float) -> None:
        """Let the threads send what is queued, and wait for them: needs no new thread, which an interpreter that goes
        down does not give."""
        deadline = monotonic() + at_most_s
        while monotonic() < deadline:
            counts = self.counts()
            if counts.started == counts.exported + counts.lost:
                return
            self._wake.set()
            sleep(0.005)

    def _pack(self) -> None:
        while True:
            self._wake.wait(self._delay_s)
            self._wake.clear()
            self._pack_all()
            if self._parcels:
                self._ready.set()

    def _post(self) -> None:
        while True:
            self._ready.wait()
            self._ready.clear()
            self._post_all()

    def _pack_all(self) -> None:
        with self._packing:
            while self._queue:
                self._pack_some()

    def _pack_some(self) -> None:
        """One batch. Whatever happens, each of its spans is in a parcel or counted as lost."""
        taken: list[Entry] = []
        spans = size = 0
        while self._queue and spans < self._batch_size:
            entry, its_size = self._queue.popleft()
            taken.append(entry)
            spans += _spans_in(entry)
            size += its_size
        left = spans
        failure: object = None
        try:
            for parcel in self._sender.pack(taken):
                if parcel.failure is not None:
                    failure = parcel.failure
                    continue
                left -= parcel.spans
                with self._counting:
                    self._packed += parcel.spans
                    self._packed_size += parcel.size
                    self._parcels.append(parcel)
        except Exception as error:
            failure = error
        with self._counting:
            self._size -= size
            self._queued -= spans
        self._count(left, left, failure)

    def _post_all(self) -> None:
        with self._sending:
            token = context.attach(_without_instrumentation())
            try:
                while self._parcels:
                    self._post_some()
            finally:
                context.detach(token)

    def _post_some(self) -> None:
        """As many parcels as make one post. Whatever happens, their spans are counted once, as exported or as lost."""
        taken: list[Parcel] = []
        spans = size = 0
        while self._parcels:
            following = self._parcels[0]
            if taken and (spans + following.spans > self._batch_size or size + following.size > POST_BYTES):
                break
            taken.append(self._parcels.popleft())
            spans += taken[-1].spans
            size += taken[-1].size
        with self._counting:
            self._packed -= spans
            self._packed_size -= size
        try:
            lost, failure = self._sender.post(taken)
        except Exception as error:
            lost, failure = spans, error
        self._count(spans, lost, failure)

    def _count(self, spans: int, lost: int, failure: object) -> None:
        with self._counting:
            self._lost += lost
            self._exported += spans - lost
        if lost:
            LOG.warning("spans are lost, %d so far: the export failed (%s)", self._lost, failure)


def _spans_in(entry: Entry) -> int:
    return entry.spans if isinstance(entry, Finished) else 1


def _without_instrumentation() -> context.Context:
    """Tells the service's instrumentation of HTTP clients to leave our own posts alone, as the SDK does for its own."""
    key = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", None)
    return context.get_current() if key is None else context.set_value(key, True)
