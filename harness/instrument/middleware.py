"""Pure ASGI middleware: one record per request, body and send waits measured, the split sent back, spans exported.

The server window opens when the app is called and closes when the last body send has returned; background tasks
that follow are not part of the answer.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from time import perf_counter_ns
from typing import Any, cast

from harness.instrument import pipeline, threadpool
from harness.instrument.marks import Mark, Record, begin_transfer, end_transfer, enter_root, leave_request
from harness.instrument.quiet import LOG
from harness.instrument.server_timing import header_value, is_streamed
from harness.instrument.window import attach, close, detach, open_record

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MEASURED = "harness.measured"  # in the scope: an outer layer of ours already measures this request

_modules = -1


class Instrumented:
    """An ASGI application with the measurement around it."""

    __slots__ = ("app",)

    def __init__(self, app: Application) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope.get("type")
        if kind != "http" or MEASURED in scope:
            await self.app(scope, receive, _with_lifespan(send) if kind == "lifespan" else send)
            return
        try:
            _look_for_threads()
            record = open_record(_headers(scope), scope)
            scope[MEASURED] = True
        except Exception:
            LOG.warning("a request is not measured", exc_info=True)
            await self.app(scope, receive, send)
            return
        root = Mark(record, None, None, "request", None, record.start)
        token = enter_root(root)
        attached = attach(record)
        try:
            await self.app(scope, _measured_receive(root, receive), _measured_send(root, scope, send))
        except BaseException as error:
            if not record.closed:
                record.error = type(error).__qualname__
            raise
        finally:
            close(record, scope)
            if attached is not None:
                detach(attached)
            leave_request(token, record)


def _look_for_threads() -> None:
    """Modules may be imported at any time; nothing is looked up while their number stays the same."""
    global _modules
    if len(sys.modules) != _modules:
        _modules = len(sys.modules)
        threadpool.install_if_used()


def _headers(scope: Scope) -> Sequence[tuple[bytes, bytes]]:
    """An iterable may be readable only once: then the application finds what we read."""
    headers: Any = scope.get("headers", ())
    if not isinstance(headers, list | tuple):
        scope["headers"] = headers = list(headers)
    return cast("Sequence[tuple[bytes, bytes]]", headers)


def _measured_receive(root: Mark, receive: Receive) -> Receive:
    record = root.record

    async def measured() -> Message:
        if record.body_complete or record.closed:
            return await receive()  # the body is here: from now on this only listens for a disconnect
        record.receiving = transfer = begin_transfer(root, perf_counter_ns())
        try:
            message = await receive()
        finally:
            now = perf_counter_ns()
            if record.receiving is transfer:
                record.receiving = None
            end_transfer(transfer, "upload", now)
        if message.get("type") != "http.request":
            record.body_complete = True
        elif not message.get("more_body", False):
            record.body_complete = True
            record.body_end = now
        return message

    return measured


def _measured_send(root: Mark, scope: Scope, send: Send) -> Send:
    record = root.record

    async def measured(message: Message) -> None:
        if record.closed:
            await send(message)
            return
        now = perf_counter_ns()
        kind = message.get("type")
        last = False
        if kind == "http.response.body":
            last = not message.get("more_body", False)
            if not last:
                record.streamed = True
        elif kind == "http.response.start":
            record.first_send = now
            record.added_up = None  # what is sent is not added to what came before
            record.status = message.get("status")
            if record.timing_wanted:
                message = _with_server_timing(record, scope, message, now)
                now = perf_counter_ns()
        else:
            last = kind == "http.response.pathsend"
        if last:
            record.last_send = now
        record.sending = transfer = begin_transfer(root, now)
        try:
            await send(message)
        finally:
            now = perf_counter_ns()
            if record.sending is transfer:
                record.sending = None
            end_transfer(transfer, "download", now)
        if last:
            close(record, scope, now)

    return measured


def _with_server_timing(record: Record, scope: Scope, message: Message, now: int) -> Message:
    try:
        headers = list(message.get("headers", ()))
        message = {**message, "headers": headers}  # the application's own may be readable only once
        has_length = _has_length(headers)
        streamed = not has_length and is_streamed(scope.get("method"), message.get("status"), has_length=False)
        headers.append((b"server-timing", header_value(record, now, streamed=streamed)))
    except Exception:
        LOG.warning("an answer goes without its Server-Timing", exc_info=True)
    return message


def _has_length(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    for name, _ in headers:  # noqa: SIM110 - any() with a generator takes twice as long
        if name == b"content-length" or name.lower() == b"content-length":
            return True
    return False


def _with_lifespan(send: Send) -> Send:
    """Get the exporter ready before the first request, and send the last spans before the process goes."""

    async def relayed(message: Message) -> None:
        kind = message.get("type")
        if kind == "lifespan.startup.complete":
            pipeline.provider()
        elif kind in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            await _flush()
        await send(message)

    return relayed


async def _flush() -> None:
    thread = pipeline.start_flush()
    if thread is None:
        return
    deadline = time.monotonic() + pipeline.FLUSH_AT_MOST_S
    try:
        while thread.is_alive() and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
    except RuntimeError:  # not an asyncio loop
        thread.join(pipeline.FLUSH_AT_MOST_S)
