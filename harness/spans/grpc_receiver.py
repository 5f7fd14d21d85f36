"""OTLP over gRPC: the three Export methods, on the same intake as OTLP over HTTP.

Bodies arrive as they are on the wire and are inflated and decoded by the same code as those over HTTP: gRPC itself
would inflate a message without bound. A gzip member begins with 0x1f, a protobuf message of any kind does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from harness.spans.bodies import LIMIT_BYTES, Refusal
from harness.spans.intake import Signal

if TYPE_CHECKING:
    import grpc.aio

Take: TypeAlias = Callable[[Signal, bytes, bool], bytes]

METHODS: Mapping[str, Signal] = {
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export": "traces",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": "metrics",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export": "logs",
}

_GZIP = b"\x1f\x8b"
_IDENTITY_AND_GZIP = 0b101
_MOST_READ_AT_ONCE = 4  # messages of up to the limit each
_READ_S = 30
_LOOK_S = 0.1
_BUSY_LOOKS = 10
"""A call that has brought no message by then makes room when others wait: what small exports send is there at once."""
_OPTIONS = (
    ("grpc.max_receive_message_length", LIMIT_BYTES),
    ("grpc.per_message_decompression", 0),
    ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_AND_GZIP),
    ("grpc.http2.bdp_probe", 0),  # small windows: what is not read yet waits at its sender
    ("grpc.so_reuseport", 1),  # the parent keeps the port until it is bound here
    ("grpc.max_metadata_size", 16 * 1024),
)


async def start(address: str, take: Take) -> grpc.aio.Server:
    """A running server on `HOST:PORT`. `take` answers a body, perhaps gzipped; it may raise Refusal.

    Raises OSError when the address cannot be bound.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # else a caller could fill the log, a line for each odd request
    import grpc.aio

    server = grpc.aio.server(options=_OPTIONS, handlers=(_routes(grpc, take),))
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError("the port cannot be bound") from error
    await server.start()
    return server


class _Line:
    """Calls whose message is being read, a few at once, and those that wait for their turn."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(_MOST_READ_AT_ONCE)
        self._waiting = 0

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()

    async def read(self, context: Any) -> object:
        """The message of a call. Raises TimeoutError.

        Looks are counted, not seconds: while the loop is busy with other bodies, nothing that has come is seen.
        """
        coming = asyncio.ensure_future(context.read())
        try:
            for look in range(round(_READ_S / _LOOK_S)):
                await asyncio.wait((coming,), timeout=_LOOK_S)
                if coming.done():
                    return coming.result()
                if self._waiting and look >= _BUSY_LOOKS:
                    break
        finally:
            if not coming.done():
                coming.cancel()
        raise TimeoutError


def _routes(grpc: Any, take: Take) -> Any:
    codes = {413: grpc.StatusCode.RESOURCE_EXHAUSTED, 400: grpc.StatusCode.INVALID_ARGUMENT}
    line = _Line()

    def exporting(signal: Signal) -> Any:
        # One message comes, as of every unary call. Taken as a stream it is read from the connection when we ask for
        # it; until then the sender waits: gRPC ends the process when many large ones take more memory than there is.
        async def export(_: object, context: Any) -> bytes:
            try:
                async with line.place():
                    read = await line.read(context)
                    body = read if isinstance(read, bytes) else b""  # EOF: a call without a message
                    return take(signal, body, body.startswith(_GZIP))
            except Refusal as refusal:
                code, reason = codes.get(refusal.status, grpc.StatusCode.INTERNAL), refusal.reason
            except TimeoutError:
                code, reason = grpc.StatusCode.DEADLINE_EXCEEDED, "the body took too long"
            read = body = b""  # what is raised below would hold on to it
            await context.abort(code, reason)
            raise AssertionError("unreachable: abort raises")

        return grpc.stream_unary_rpc_method_handler(export)

    routes = {method: exporting(signal) for method, signal in METHODS.items()}

    class Routes(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, call: Any) -> Any:
            return routes.get(call.method)

    return Routes()
