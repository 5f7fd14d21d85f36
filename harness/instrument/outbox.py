"""The queue of finished requests, and the thread that sends them.

A request leaves with one `append`; everything else happens off the event loop. Whole requests are dropped when the
queue is full, never a part of one. What was started, exported and lost is counted.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass

from opentelemetry import context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from harness.instrument.exporter import Entry, Send
from harness.instrument.spans import Finished

LOG = logging.getLogger("harness.instrument.outbox")


@dataclass(frozen=True, slots=True)
class Counts:
    """Spans of this process: made, taken by a collector (or by the service's own processors), lost for good."""

    started: int
    exported: int
    lost: int


class Outbox(SpanProcessor):
    """Starts its thread at once: to be made in the process that serves, after a fork."""

    def __init__(self, send: Send, *, queue_size: int, batch_size: int, delay_s: float) -> None:
        self._send = send
        self._queue: deque[Entry] = deque()
        self._queue_size, self._batch_size, self._delay_s = queue_size, batch_size, delay_s
        self._queued = self._started = self._exported = self._lost = 0
        self._make_locks()
        threading.Thread(target=self._work, name="harness-export", daemon=True).start()

    def _make_locks(self) -> None:
        self._counting = threading.RLock()  # garbage collection may end a request in the middle of anything
        self._sending = threading.Lock()
        self._wake = threading.Event()

    def abandon(self) -> None:
        """In a forked child: the parent sends what is queued, and its threads may have held the locks."""
        self._queue.clear()
        self._queued = 0
        self._make_locks()

    def put(self, entry: Entry) -> None:
        """Queue what ended; it is lost if there is no room."""
        spans = _spans_in(entry)
        with self._counting:
            self._started += spans
            fits = not self._queued or self._queued + spans <= self._queue_size
            if fits:
                self._queued += spans
                self._queue.append(entry)
            else:
                self._lost += spans
        if not fits:
            LOG.warning("spans are lost, %d so far: the queue of the export is full", self._lost)
        elif self._queued >= self._batch_size and not self._wake.is_set():
            self._wake.set()

    def counts(self) -> Counts:
        with self._counting:
            return Counts(self._started, self._exported, self._lost)

    def on_end(self, span: ReadableSpan) -> None:
        self.put(span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send all that is queued, behind what is being sent."""
        self._drain()
        return True

    def _work(self) -> None:
        while True:
            self._wake.wait(self._delay_s)
            self._wake.clear()
            self._drain()

    def _drain(self) -> None:
        with self._sending:
            token = context.attach(_without_instrumentation())
            try:
                while self._queue:
                    self._send_some()
            finally:
                context.detach(token)

    def _send_some(self) -> None:
        """One batch. Whatever happens, its spans are counted once, as exported or as lost."""
        taken: list[Entry] = []
        left = 0
        while self._queue and left < self._batch_size:
            taken.append(self._queue.popleft())
            left += _spans_in(taken[-1])
        with self._counting:
            self._queued -= left
        failure: object = None
        try:
            for sent in self._send(taken):
                left -= sent.spans
                self._count(sent.spans, lost=sent.failure is not None)
                failure = sent.failure or failure
        except Exception as error:
            failure = error
        if left:
            self._count(left, lost=True)
        if failure is not None:
            LOG.warning("spans are lost, %d so far: the export failed (%s)", self._lost, failure)

    def _count(self, spans: int, *, lost: bool) -> None:
        with self._counting:
            if lost:
                self._lost += spans
            else:
                self._exported += spans


def _spans_in(entry: Entry) -> int:
    return entry.spans if isinstance(entry, Finished) else 1


def _without_instrumentation() -> context.Context:
    """Tells the service's instrumentation of HTTP clients to leave our own posts alone, as the SDK does for its own."""
    key = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", None)
    return context.get_current() if key is None else context.set_value(key, True)
