"""Request bodies within bounds: read from ASGI, inflated from gzip, refused as soon as they are too large."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]

LIMIT_BYTES = 64 * 1024 * 1024  # what the OTLP specification recommends, on the wire and inflated
_LIMIT_TEXT = f"{LIMIT_BYTES // 2**20} MiB"
_HELD_LIMIT_BYTES = 4 * LIMIT_BYTES
# Bodies of ordinary exports: they have room of their own, so that a few large ones do not shut everybody out.
_SMALL_BYTES = 4 * 1024 * 1024
_SMALL_ROOM_BYTES = LIMIT_BYTES
_SILENCE_S = 5.0
_BODY_S = 30.0


class Refusal(Exception):  # noqa: N818 - reads as the answer it becomes
    """A request that is answered with `status` and one sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class ClientGone(Exception):  # noqa: N818 - reads as the condition it reports
    """The client closed the connection before its body was complete: there is nobody to answer."""


class Held:
    """Bytes of all bodies that are being read at this moment."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0


async def read_body(receive: Receive, declared_bytes: int | None, held: Held) -> bytes:
    """The whole body, at most LIMIT_BYTES, else Refusal 413; 503 when too much is being read by others,
    408 when it stands still for _SILENCE_S or takes longer than _BODY_S.

    The server discards what is left of a refused body, so that the client gets to read the refusal.
    """
    if declared_bytes is not None and declared_bytes > LIMIT_BYTES:
        raise Refusal(413, f"the body is larger than {_LIMIT_TEXT}")
    pieces: list[bytes] = []
    size = 0
    ends = asyncio.get_running_loop().time() + _BODY_S
    try:
        while True:
            message = await _next(receive, ends)
            if message["type"] != "http.request":
                raise ClientGone
            piece: bytes = message.get("body", b"")
            size += len(piece)
            held.bytes += len(piece)
            if size > LIMIT_BYTES:
                raise Refusal(413, f"the body is larger than {_LIMIT_TEXT}")
            if held.bytes > _HELD_LIMIT_BYTES + (_SMALL_ROOM_BYTES if size <= _SMALL_BYTES else 0):
                raise Refusal(503, "too many large bodies at once, send this one again")
            pieces.append(piece)
            if not message.get("more_body", False):
                return b"".join(pieces)
    finally:
        held.bytes -= size


async def _next(receive: Receive, ends: float) -> MutableMapping[str, Any]:
    """The next piece of a body. What has come while the loop was busy is in time."""
    too_slow = Refusal(408, f"the body stood still for {_SILENCE_S:g} s, or took longer than {_BODY_S:g} s")
    left_s = ends - asyncio.get_running_loop().time()
    if left_s <= 0:
        raise too_slow
    coming = asyncio.ensure_future(receive())
    try:
        for _ in range(2):  # the second look is at what came while the loop itself was late
            if not coming.done():
                await asyncio.wait((coming,), timeout=min(_SILENCE_S, left_s))
            left_s = 0.05
    finally:
        if not coming.done():
            coming.cancel()
    if coming.cancelled() or not coming.done():
        raise too_slow
    return coming.result()


def gunzip(body: bytes, limit_bytes: int = LIMIT_BYTES) -> bytes:
    """One gzip member. Refusal 413 beyond `limit_bytes`, 400 when it is torn, no gzip, or followed by more.

    Several members in one body are legal gzip but no exporter sends them, and millions of empty ones would cost
    the reader a copy of the rest each.
    """
    member = zlib.decompressobj(wbits=31)
    try:
        inflated = member.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise Refusal(400, "the body is not gzip, as its Content-Encoding says") from error
    if len(inflated) > limit_bytes:
        raise Refusal(413, f"the inflated body is larger than {limit_bytes // 2**20} MiB")
    if not member.eof:
        raise Refusal(400, "the gzip body is cut off")
    if member.unused_data:
        raise Refusal(400, "something follows the gzip body")
    return inflated
