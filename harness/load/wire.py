"""One HTTP/1.1 request on one keep-alive connection, with every instant taken.

Instants are monotonic (`perf_counter_ns`) while the request runs, so that they stay in order even when the wall
clock is stepped; only the kernel's stamp of the last byte is wall time from the start.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import gevent

from harness.load.answer import Answer, NotHTTP
from harness.load.channel import Channel, Received, Resolver, open_channel
from harness.load.deadline import Deadline, Expired

CLOSED_EARLY = "closed before the answer was complete"
MAX_ANSWER_BYTES = 1 << 30
_PEEK_AFTER_NS = 1_000_000_000
_RESEND_WITHIN_NS = 20_000_000
_OS_ERRORS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection reset",
    errno.ECONNABORTED: "connection reset",
    errno.ETIMEDOUT: "timeout",
    errno.EMFILE: "out of file descriptors",
    errno.ENFILE: "out of file descriptors",
    errno.EADDRNOTAVAIL: "out of local ports",
}
_clock = time.perf_counter_ns


class Origin:
    """Where a connection goes: scheme, host and port of a URL. `tls` is a context shared by the process, or None."""

    def __init__(self, url: str, tls: Any | None) -> None:
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.tls = tls if parts.scheme == "https" else None
        self.resolver = Resolver(self.host, self.port)


@dataclass(slots=True)
class Exchange:
    """What happened to one request. `*_at` are monotonic ns, None when that point was not reached."""

    start_at: int
    resolved_at: int | None = None
    tcp_at: int | None = None
    connected_at: int | None = None
    send_at: int | None = None
    sent_at: int | None = None
    first_byte_at: int | None = None
    done_at: int = 0  # user-level; on failure the instant of giving up
    kernel_done_ns: int | None = None  # ns since the epoch
    status: int | None = None
    error: str | None = None
    too_large: bool = False  # the answer went beyond the limit of the request and was cut
    censored: bool = False
    bytes_sent: int = 0
    bytes_received: int = 0
    attempts: int = 0  # 2 and more: sent again on a new connection, see `_never_taken`


@dataclass(frozen=True, slots=True)
class Terms:
    """What a request allows its answer. `no_body`: it is a HEAD; `keep_body`: somebody will look at the body."""

    timeout_s: float
    max_bytes: int | None = None
    no_body: bool = False
    keep_body: bool = False


class _Died(Exception):  # noqa: N818 - a connection's end, not an error yet
    """The connection ended before the first byte of the answer."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


class Connection:
    """The keep-alive connection of one session. Not shared: one request at a time.

    `answer` stays until the next request, for checks and user code, also when its connection is gone.
    """

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.answer = Answer()
        self._channel: Channel | None = None
        self._last_used_at = 0
        self._deadline = Deadline()

    def close(self) -> None:
        """Drop the connection; the next request opens another one."""
        self._deadline.close()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def exchange(self, x: Exchange, head: bytes, body: bytes, terms: Terms) -> None:
        """Send `head` then `body`, read the answer into `self.answer`, fill `x`.

        Failures end in `x.error`, never in an exception; an exception of somebody else (the run is over, the user's own
        timeout) closes the connection and passes through.
        """
        x.error = "interrupted"
        self._deadline.begin(x.start_at + int(terms.timeout_s * 1e9))
        try:
            x.error = self._attempts(x, head, body, terms)
        except Expired:
            x.error = self._already_there(x, terms)
        except Exception as failure:  # the wire turns every failure into a sample
            x.error = error_name(failure)
        except gevent.GreenletExit:
            x.censored, x.error = True, None
            raise
        finally:
            self._deadline.end()
            if x.error is not None or x.censored or x.too_large or not self.answer.keep_alive:
                x.status = self.answer.status if self.answer.head_complete else None
                x.done_at = x.done_at or _clock()
                self._hang_up()
            self._last_used_at = x.done_at

    def _attempts(self, x: Exchange, head: bytes, body: bytes, terms: Terms) -> str | None:
        if self._channel is not None and x.start_at - self._last_used_at > _PEEK_AFTER_NS:
            self._look_at_idle()
        reused = True
        while True:
            channel = self._channel
            if channel is None:
                reused = False
                channel = self._open(x, terms.timeout_s)
            self.answer.expect(terms.no_body, terms.keep_body)
            x.attempts += 1
            try:
                self._write(x, head, body)
                return self._read(x, terms.max_bytes, channel.read)
            except _Died as died:
                if not reused or not _never_taken(x):
                    return died.error
                self._hang_up()
                x.send_at = x.sent_at = None

    def _look_at_idle(self) -> None:
        """A server that closed an idle connection, or said something unasked, would cost a resend or answer the wrong
        question."""
        assert self._channel is not None  # noqa: S101 - asked by the caller
        try:
            unasked = self._channel.read_now()
        except OSError:
            unasked = (b"", None)
        if unasked is not None:
            self._hang_up()

    def _open(self, x: Exchange, timeout_s: float) -> Channel:
        self.answer = Answer()
        left_s = max(0.001, timeout_s - (_clock() - x.start_at) / 1e9)
        opened = open_channel(self.origin.resolver, self.origin.tls, self.origin.host, left_s)
        self._channel, x.resolved_at, x.tcp_at = opened
        x.connected_at = _clock()
        return opened.channel

    def _write(self, x: Exchange, head: bytes, body: bytes) -> None:
        assert self._channel is not None  # noqa: S101 - opened by the caller
        x.bytes_sent = 0
        x.send_at = _clock()
        for part in (head, body) if body else (head,):
            left: bytes | memoryview = part
            while left and not self.answer.spent:
                try:
                    count = self._channel.write(left)
                except OSError as error:
                    self._last_words(x, error)
                    break
                x.bytes_sent += count
                if count == len(left):
                    break
                left = memoryview(left)[count:]
                if count == 0:
                    self._look_for_early_answer(x)
        x.sent_at = _clock()

    def _look_for_early_answer(self, x: Exchange) -> None:
        """The server may answer, and stop reading, before it has the whole body."""
        assert self._channel is not None  # noqa: S101
        try:
            received = self._channel.read_now()
        except OSError as error:
            raise _Died(error_name(error)) from None
        if received is not None:
            self._take(x, *received)
            self.answer.spent = self.answer.head_complete  # then the rest of the body is never sent

    def _last_words(self, x: Exchange, error: OSError) -> None:
        """The write failed; an answer sent before the server hung up is still an answer."""
        assert self._channel is not None  # noqa: S101
        try:
            received = self._channel.read_now()
        except OSError:
            received = None
        if received is None or not received[0]:
            raise _Died(error_name(error))
        self._take(x, *received)
        self.answer.spent = True

    def _read(self, x: Exchange, max_bytes: int | None, read: Callable[[], Received]) -> str | None:
        answer = self.answer
        limit = MAX_ANSWER_BYTES if max_bytes is None else max_bytes
        while not answer.complete:
            try:
                chunk, stamp = read()
            except OSError as error:
                if x.first_byte_at is None:
                    raise _Died(error_name(error)) from None
                raise
            self._take(x, chunk, stamp)
            if answer.body_bytes > limit:
                x.too_large = True
                return None if max_bytes is not None else "answer larger than 1 GiB"
        x.status = answer.status
        return None

    def _already_there(self, x: Exchange, terms: Terms) -> str | None:
        """The time is over, but this process may have slept through the answer: what the kernel had in time counts.

        Without stamps nobody knows when the bytes came; a whole answer is then given the benefit of the doubt.
        """
        if self._channel is None or x.sent_at is None:
            return "timeout"
        last_ns = time.time_ns() - _clock() + x.start_at + int(terms.timeout_s * 1e9)
        read_now = self._channel.read_now

        def read_in_time() -> Received:
            received = read_now()
            if received is None or (received[1] or 0) > last_ns:
                raise Expired
            return received

        try:
            return self._read(x, terms.max_bytes, read_in_time)
        except (Expired, OSError, NotHTTP, _Died):
            return "timeout"

    def _take(self, x: Exchange, chunk: bytes, stamp: int | None) -> None:
        now = _clock()
        if x.first_byte_at is None:
            if not chunk:
                raise _Died(CLOSED_EARLY)
            x.first_byte_at = now
        x.bytes_received += len(chunk)
        answer = self.answer
        interims = answer.interims
        answer.feed_bytes(chunk)
        if answer.complete:
            x.done_at = now
            x.kernel_done_ns = stamp  # None after a FIN, which ends a close-delimited answer and carries no stamp
        elif not chunk:
            raise NotHTTP(CLOSED_EARLY)
        if answer.interims != interims:  # the first byte is that of the answer, not of "100 Continue"
            x.first_byte_at = now if answer.status is not None else None


def _never_taken(x: Exchange) -> bool:
    """Whether a connection that died under a request was one the server had closed, or was closing, while it idled.

    Then it was not taken up, and may be sent again. A server that hangs up after it had the time to work did that with
    this very request: to send it again would do the work twice, and hide a failure.
    """
    return x.bytes_received == 0 and (x.sent_at is None or _clock() - x.sent_at <= _RESEND_WITHIN_NS)


def error_name(failure: BaseException) -> str:
    """A short stable name for what went wrong on the wire."""
    if isinstance(failure, NotHTTP):
        return str(failure)
    if isinstance(failure, socket.gaierror):
        return f"dns: {(failure.strerror or 'lookup failed').lower()}"
    if isinstance(failure, ssl.SSLError):
        words = getattr(failure, "verify_message", None) or failure.reason or "failed"
        return f"tls: {str(words).replace('_', ' ').lower()}"
    if isinstance(failure, TimeoutError):
        return "timeout"
    if isinstance(failure, OSError) and failure.errno is not None:
        return _OS_ERRORS.get(failure.errno) or os.strerror(failure.errno).lower()
    return f"client: {type(failure).__name__}"
