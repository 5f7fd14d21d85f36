"""What the sessions of one load process share: they send through the desk, and every request becomes one sample row."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from harness.load.checks import failed_checks
from harness.load.live import Live
from harness.load.payloads import Kind, Payload
from harness.load.trace_ids import trace_ids
from harness.load.wire import Connection, Exchange
from harness.model import DoneSource
from harness.timebase import Timebase

Row = tuple[object, ...]
_clock = time.perf_counter_ns


class Slot(NamedTuple):
    """A request's place in the run. `scheduled_at` is monotonic ns; None: the request starts when it starts."""

    request_id: int
    scheduled_at: int | None
    phase: str
    step: int


class Desk:
    """Sends requests and writes their samples. One per load process; greenlets share it without locks."""

    def __init__(
        self, run_id: str, worker: str, sampled: float, write: Callable[[Row], None], timebase: Timebase | None = None
    ) -> None:
        self.run_id = run_id
        self.worker = worker
        self.timebase = timebase or Timebase()
        self.live = Live(_clock())
        self._write = write
        self._ids: Iterator[tuple[str, str, bytes]] = trace_ids(run_id, worker, sampled)

    def send(self, connection: Connection, payload: Payload, slot: Slot) -> Exchange:
        """One request, recorded whatever happens to it. Passes on what ends the session (the run is over)."""
        kind = payload.kind
        trace_id, span_id, traceparent = next(self._ids)
        head = b"".join((payload.head, traceparent, payload.tail))
        self.live.sent += 1
        x = Exchange(_clock())
        try:
            connection.exchange(x, head, payload.body, kind.terms)
        finally:
            self._record(x, connection, kind, slot, trace_id, span_id)
        return x

    def never_sent(self, name: str, slot: Slot, error: str | None = None) -> None:
        """An arrival whose request was not sent, because of `error` or, without one, because the run ended before:
        then a censored sample, not a forgotten one."""
        trace_id, span_id, _ = next(self._ids)
        x = Exchange(_clock(), error=error, censored=error is None)
        x.done_at = x.start_at
        self._keep(x, name, slot, trace_id, span_id, None, None, None)

    def _record(self, x: Exchange, connection: Connection, kind: Kind, slot: Slot, trace_id: str, span_id: str) -> None:
        answer = connection.answer
        failed = timing = None
        if x.status is not None:
            timing = answer.header("server-timing")
            if x.error is None and not x.censored:
                encoding = answer.header("content-encoding") if kind.expect.json else None
                failed = failed_checks(kind.expect, x.status, bytes(answer.body), encoding, x.too_large)
        self._keep(x, kind.name, slot, trace_id, span_id, failed, timing, self._kernel_done(x))

    def _kernel_done(self, x: Exchange) -> int | None:
        """The kernel's stamp of the last byte, unless it is missing or cannot be true."""
        stamp, at = x.kernel_done_ns, self.timebase.at
        if stamp is None or x.send_at is None or x.error is not None or not at(x.send_at) <= stamp <= at(x.done_at):
            return None
        return stamp

    def _keep(
        self, x: Exchange, name: str, slot: Slot, trace_id: str, span_id: str, failed: str | None, timing: str | None,
        kernel: int | None,
    ) -> None:  # fmt: skip
        at = self.timebase.at
        scheduled_ns = at(x.start_at if slot.scheduled_at is None else slot.scheduled_at)
        done_user_ns = at(x.done_at)
        done_ns = done_user_ns if kernel is None else kernel
        source = DoneSource.USER if kernel is None else DoneSource.KERNEL
        self.live.count(done_ns - scheduled_ns, failure_of(x, failed), x.censored, kernel is not None)
        self._write(
            (
                slot.request_id, trace_id, span_id, name, slot.phase, slot.step, self.worker, scheduled_ns,
                at(x.start_at), _at(at, x.connected_at), _at(at, x.send_at), _at(at, x.sent_at),
                _at(at, x.first_byte_at), done_ns, done_user_ns, source.value, x.status, x.error, failed,
                x.bytes_sent, x.bytes_received, x.attempts, timing, x.censored,
            )
        )  # fmt: skip


def _at(at: Callable[[int], int], instant: int | None) -> int | None:
    return None if instant is None else at(instant)


def failure_of(x: Exchange, failed: str | None) -> str | None:
    """What went wrong, in a few words people read; None when the request is ok."""
    if x.error is not None:
        return x.error
    if failed is None:
        return None
    return f"status {x.status}" if failed.startswith("status") else f"check failed: {failed}"


def nowhere(_row: Row) -> None:
    """A sink for rows nobody asked for: plain `locust -f` has its own statistics."""
