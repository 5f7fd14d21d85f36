"""The span receiver, a child process: OTLP over HTTP on an inherited socket -> `spans.arrows` and `vitals.arrows`.

`python -m harness.spans.receiver --fd N --out PATH [--grpc HOST:PORT --grpc-fd N]`. Once a second, when something
changed, it flushes and writes one JSON line to stdout: {"spans", "rejected", "bytes", "requests", "points",
"points_rejected"}. A byte on stdin asks for that line at once; the end of stdin (the parent is done, or dead) stops
it: open requests are answered, the files are closed, and a last line {"kind": "end", ...} is written. When the disk
is full it says so in {"kind": "error", "message"}, keeps answering and stores nothing more. {"kind": "grpc"} is said
once gRPC is served.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import resource
import signal
import socket
import stat
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import uvicorn

from harness.chunks import convert_without_pandas
from harness.spans import grpc_receiver, otlp
from harness.spans.bodies import ClientGone, Receive, Refusal, read_body
from harness.spans.intake import Intake, Signal

Send: TypeAlias = Callable[[Any], Awaitable[None]]

FLUSH_EVERY_S = 1.0
_GRACE_S = 5
_MEMORY_BYTES = 2 * 1024**3  # above what the process has at its start
# Exporters send every few seconds: a shorter keep-alive would close the connection just as the next batch leaves.
_KEEP_ALIVE_S = 75

_ROWS_PER_COLLECTION = 50_000  # rows hold no cycles: looking for some after each 700 is a tenth of the work

_SIGNALS: Mapping[str, Signal] = {"/v1/traces": "traces", "/v1/metrics": "metrics", "/v1/logs": "logs"}


def application(intake: Intake) -> Callable[[Any, Receive, Send], Awaitable[None]]:
    """The ASGI application: OTLP over HTTP, traces and metrics kept, logs accepted and dropped."""

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        encoding = otlp.encoding_of(headers.get("content-type", ""))
        try:
            status, answer = 200, await _answer(intake, scope, headers, receive)
        except Refusal as refusal:
            status = refusal.status
            answer = otlp.encode_refusal(encoding, refusal.reason) if encoding else f"{refusal.reason}\n".encode()
        except ClientGone:
            return
        await _send(send, status, encoding, answer)

    return app


async def _answer(intake: Intake, scope: Any, headers: Mapping[str, str], receive: Receive) -> bytes:
    method, path = scope["method"], scope["path"]
    if path == "/healthz" and method in ("GET", "HEAD"):
        return b"ok\n"
    if path not in _SIGNALS:
        raise Refusal(404, "this is a span receiver: POST OTLP to /v1/traces, /v1/metrics (or /v1/logs: dropped)")
    if method != "POST":
        raise Refusal(405, f"{path} takes POST")
    if "origin" in headers:
        # A web page that reached a loopback port; exporters in services send no Origin.
        raise Refusal(403, "requests from web pages are not accepted")
    content_type = headers.get("content-type", "")
    encoding = otlp.encoding_of(content_type)
    if encoding is None:
        raise Refusal(415, "the Content-Type must be application/x-protobuf or application/json")
    compression = headers.get("content-encoding", "identity").strip().lower()
    if compression not in ("identity", "gzip", ""):
        raise Refusal(415, "the Content-Encoding must be gzip or absent")
    signal = _SIGNALS[path]
    if signal == "logs":
        return otlp.encode_answer(encoding)  # the server discards the body
    length = headers.get("content-length", "")
    raw = await read_body(receive, int(length) if length.isdecimal() else None, intake.held)
    return intake.take(signal, raw, encoding, compression == "gzip")


async def _send(send: Send, status: int, encoding: otlp.Encoding | None, body: bytes) -> None:
    kinds = {"protobuf": b"application/x-protobuf", "json": b"application/json", None: b"text/plain; charset=utf-8"}
    headers = [(b"content-type", kinds[encoding]), (b"content-length", str(len(body)).encode())]
    if status == 405:
        headers.append((b"allow", b"POST"))
    if status == 408:
        headers.append((b"connection", b"close"))  # the rest of the body is not waited for
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _say(content: Mapping[str, object]) -> None:
    # A parent that is gone or does not read must not stop the receiver: the line is lost instead.
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(1, json.dumps(content, separators=(",", ":")).encode() + b"\n")


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: whether Ctrl-C ends the run is for the parent to decide."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _watch_stdin(loop: asyncio.AbstractEventLoop, asked: Callable[[], None], ended: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
        try:
            while os.read(0, 4096):
                loop.call_soon_threadsafe(asked)
        finally:
            loop.call_soon_threadsafe(ended)


async def serve(sock: socket.socket, out: Path, grpc_port: tuple[str, socket.socket] | None = None) -> None:
    """Receive spans on `sock` into the chunk file `out` until stdin ends or SIGTERM.

    `grpc_port` is an address for OTLP over gRPC and the socket that keeps it.
    """
    intake = Intake(out, _say)
    server = _Server(
        uvicorn.Config(
            application(intake), http="httptools", ws="none", lifespan="off", log_level="error", access_log=False,
            server_header=False, date_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S, timeout_graceful_shutdown=_GRACE_S,
        )
    )  # fmt: skip

    def stop() -> None:
        server.should_exit = True

    async def tick() -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            intake.report()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop)
    watch = (loop, lambda: intake.report(always=True), stop)
    threading.Thread(target=_watch_stdin, args=watch, daemon=True).start()
    ticking = asyncio.create_task(tick())
    try:
        async with _grpc(intake, grpc_port):
            await server.serve(sockets=[sock])
    finally:
        ticking.cancel()
        intake.close()


@contextlib.asynccontextmanager
async def _grpc(intake: Intake, port: tuple[str, socket.socket] | None) -> AsyncIterator[None]:
    """The gRPC server for the length of a `with`. When it cannot be, that is said; HTTP goes on without it."""
    if port is None:
        yield
        return
    address, kept = port
    server = None
    with kept:
        try:
            server = await grpc_receiver.start(
                address, lambda signal, body, gz: intake.take(signal, body, "protobuf", gz)
            )
        except (ImportError, OSError) as error:
            _say({"kind": "error", "message": f"no spans are received over gRPC on {address}: {error}"})
    if server is not None:
        _say({"kind": "grpc"})
    try:
        yield
    finally:
        if server is not None:
            await server.stop(_GRACE_S)


def _limit_memory() -> None:
    """Bound what parsing may take: two bytes on the wire can be a span of two hundred in memory.

    The parser fails cleanly where its memory ends, so that the body is refused and the machine keeps working.
    """
    with contextlib.suppress(OSError, ValueError):
        in_use = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if soft == resource.RLIM_INFINITY:
            resource.setrlimit(resource.RLIMIT_DATA, (in_use + _MEMORY_BYTES, hard))


def main() -> None:
    """Entry point of the child process; started by harness.spans.listen."""
    parser = argparse.ArgumentParser(prog="python -m harness.spans.receiver")
    parser.add_argument("--fd", type=int, required=True, help="a listening socket, inherited")
    parser.add_argument("--out", type=Path, required=True, help="the chunk file to write")
    parser.add_argument("--grpc", help="HOST:PORT for OTLP over gRPC")
    parser.add_argument("--grpc-fd", type=int, help="the inherited socket that keeps this port")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    convert_without_pandas()
    _limit_memory()
    gc.freeze()
    gc.set_threshold(_ROWS_PER_COLLECTION)
    if stat.S_ISFIFO(os.fstat(1).st_mode):
        os.set_blocking(1, False)
    try:
        grpc_port = (arguments.grpc, socket.socket(fileno=arguments.grpc_fd)) if arguments.grpc else None
        asyncio.run(serve(socket.socket(fileno=arguments.fd), arguments.out, grpc_port))
    except OSError as error:
        _say({"kind": "error", "message": f"the span receiver could not start: {error}"})
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
