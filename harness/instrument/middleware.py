"""Pure ASGI middleware: one record per request, body and send waits measured, the split sent back, spans exported.

The server window opens when the app is called and closes when the last body send has returned; background tasks
that follow are not part of the answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from time import perf_counter_ns
from typing import Any

from harness.instrument import pipeline, threadpool
from harness.instrument.marks import Mark, Record, begin_wait, end_wait, enter_root, innermost, leave_root
from harness.instrument.quiet import LOG
from harness.instrument.server_timing import header_value
from harness.instrument.window import attach, close, detach, open_record

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MEASURED = "harness.measured"  # in the scope: an outer layer of ours already measures this request


class Instrumented:
    """An ASGI application with the measurement around it."""

    __slots__ = ("app",)

    def __init__(self, app: Application) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope.get("type")
        if kind == "http" and MEASURED not in scope:
            await _serve(self.app, scope, receive, send)
        elif kind == "lifespan":
            await self.app(scope, receive, _with_lifespan(send))
        else:
            await self.app(scope, receive, send)


async def _serve(app: Application, scope: Scope, receive: Receive, send: Send) -> None:
    try:
        threadpool.install_if_used()
        record = open_record(scope.get("headers", ()))
        scope[MEASURED] = True
    except Exception:
        LOG.warning("a request is not measured", exc_info=True)
        await app(scope, receive, send)
        return
    root = Mark(record, None, None, "request", None, record.start)
    token = enter_root(root)
    attached = attach(record)
    try:
        await app(scope, _measured_receive(root, receive), _measured_send(root, scope, send))
    except BaseException as error:
        if not record.closed:
            record.error = type(error).__qualname__
        raise
    finally:
        close(record, scope)
        detach(attached)
        try:
            leave_root(token)
        except ValueError:  # the server resumed us in another context; ours is dropped with it
            enter_root(None)


def _measured_receive(root: Mark, receive: Receive) -> Receive:
    record = root.record

    async def measured() -> Message:
        if record.body_complete or record.closed:
            return await receive()  # the body is here: from now on this only listens for a disconnect
        wait = begin_wait(innermost() or root, "upload")
        try:
            message = await receive()
        finally:
            end_wait(wait)
        if message.get("type") != "http.request" or not message.get("more_body", False):
            record.body_complete = True
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
        if kind == "http.response.start":
            record.first_send = now
            record.status = message.get("status")
            if record.timing_wanted:
                message = _with_server_timing(record, scope, message, now)
        last = kind == "http.response.pathsend" or (
            kind == "http.response.body" and not message.get("more_body", False)
        )
        if last:
            record.last_send = now
        wait = begin_wait(innermost() or root, "download")
        try:
            await send(message)
        finally:
            end_wait(wait)
        if last:
            close(record, scope, wait.end)

    return measured


def _with_server_timing(record: Record, scope: Scope, message: Message, now: int) -> Message:
    try:
        headers = list(message.get("headers", ()))
        message = {**message, "headers": headers}  # the application's own may be readable only once
        streamed = _is_streamed(scope.get("method"), message.get("status"), headers)
        headers.append((b"server-timing", header_value(record, now, streamed=streamed)))
    except Exception:
        LOG.warning("an answer goes without its Server-Timing", exc_info=True)
    return message


def _is_streamed(method: object, status: object, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether the body may still be in the making: who announces no length need not have it yet."""
    bodiless = method == "HEAD" or status in (204, 304) or (isinstance(status, int) and 100 <= status < 200)
    return not bodiless and not any(name.lower() == b"content-length" for name, _ in headers)


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
