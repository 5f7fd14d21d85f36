"""What the sessions of one load process share: they send through the desk, and every request becomes one sample row."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from harness.load.answer import Answer
from harness.load.checks import failed_checks
from harness.load.live import Live
from harness.load.payloads import Kind, Payload
from harness.load.trace_ids import SPAN, TRACE, traceparents
from harness.load.wire import Connection, Exchange
from harness.model import DoneSource
from harness.timebase import Timebase

Row = tuple[object, ...]
_clock = time.perf_counter_ns
_KERNEL, _USER = DoneSource.KERNEL.value, DoneSource.USER.value


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
        self._traceparents = traceparents(run_id, worker, sampled)

    def send(self, connection: Connection, payload: Payload, slot: Slot) -> Exchange:
        """One request, recorded whatever happens to it. Passes on what ends the session (the run is over)."""
        traceparent = next(self._traceparents)
        self.live.sent += 1
        x = Exchange(_clock())
        try:
            connection.exchange(x, payload.head + traceparent + payload.tail, payload.body, payload.kind.terms)
        finally:
            self._record(x, connection.answer, payload.kind, slot, traceparent)
        return x

    def never_sent(self, name: str, slot: Slot, error: str | None = None) -> None:
        """An arrival whose request was not sent, because of `error` or, without one, because the run ended before:
        then a censored sample, not a forgotten one."""
        x = Exchange(_clock(), error=error, censored=error is None)
        x.done_at = x.start_at
        self._keep(x, name, slot, next(self._traceparents), None, None)

    def _record(self, x: Exchange, answer: Answer, kind: Kind, slot: Slot, traceparent: bytes) -> None:
        failed = timing = None
        if x.status is not None:
            timing = answer.header("server-timing")
            if x.error is None and not x.censored:
                body, encoding = b"", None
                if kind.terms.keep_body:
                    body, encoding = bytes(answer.body), answer.header("content-encoding")
                try:
                    failed = failed_checks(kind.expect, x.status, body, encoding, x.too_large)
                except BaseException as error:  # whatever it is, the request was sent and is to be counted
                    failed = f"check error: {type(error).__name__}"
                    if not isinstance(error, Exception):  # the session is ended, amid the check
                        self._keep(x, kind.name, slot, traceparent, failed, timing)
                        raise
        self._keep(x, kind.name, slot, traceparent, failed, timing)

    def _keep(
        self, x: Exchange, name: str, slot: Slot, traceparent: bytes, failed: str | None, timing: str | None
    ) -> None:
        offset = self.timebase.offset_ns
        request_id, scheduled_at, phase, step = slot
        start_ns = x.start_at + offset
        scheduled_ns = start_ns if scheduled_at is None else scheduled_at + offset
        send_ns, sent_ns = x.send_at, x.sent_at
        if send_ns is not None:
            send_ns += offset
        if sent_ns is not None:
            sent_ns += offset
        resolved_ns = tcp_ns = connected_ns = None
        if x.connected_at is not None and x.resolved_at is not None and x.tcp_at is not None:
            resolved_ns, tcp_ns, connected_ns = x.resolved_at + offset, x.tcp_at + offset, x.connected_at + offset
        done_ns = done_user_ns = x.done_at + offset
        stamp, source = x.kernel_done_ns, _USER
        # A stamp that cannot be true, because the wall clock was stepped, gives way to user time.
        if stamp is not None and x.error is None and send_ns is not None and send_ns <= stamp <= done_user_ns:
            done_ns, source = stamp, _KERNEL
        self.live.count(done_ns - scheduled_ns, failure_of(x, failed), x.censored, source is _KERNEL)
        self._write(
            (
                request_id, traceparent[TRACE].decode(), traceparent[SPAN].decode(), name, phase, step, self.worker,
                scheduled_ns, start_ns, resolved_ns, tcp_ns, connected_ns, send_ns, sent_ns,
                None if x.first_byte_at is None else x.first_byte_at + offset, done_ns, done_user_ns, source,
                x.status, x.error, failed, x.bytes_sent, x.bytes_received, x.attempts, timing, x.censored,
            )
        )  # fmt: skip


def failure_of(x: Exchange, failed: str | None) -> str | None:
    """What went wrong, in a few words people read; None when the request is ok."""
    if x.error is not None:
        return x.error
    if failed is None:
        return None
    return f"status {x.status}" if failed.startswith("status") else f"check failed: {failed}"


def nowhere(_row: Row) -> None:
    """A sink for rows nobody asked for: plain `locust -f` has its own statistics."""
