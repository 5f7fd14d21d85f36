"""The span receiver, a child process: OTLP over HTTP on an inherited socket -> `spans.arrows`.

`python -m harness.spans.receiver --fd N --out PATH`. Once a second, when something changed, it flushes and writes
one JSON line to stdout: {"spans", "rejected", "bytes", "requests"}. A byte on stdin asks for that line at once;
the end of stdin (the parent is done, or dead) stops it: open requests are answered, the file is closed, and a last
line {"kind": "end", ...} is written. When the disk is full it says so in {"kind": "error", "message"}, keeps
answering and stores nothing more.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import stat
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import uvicorn

from harness.chunks import ChunkWriter, convert_without_pandas
from harness.model import Span
from harness.spans import otlp
from harness.spans.bodies import ClientGone, Held, Receive, Refusal, gunzip, read_body

Send: TypeAlias = Callable[[Any], Awaitable[None]]

FLUSH_EVERY_S = 1.0
_FLUSH_AT_BYTES = 32 * 1024 * 1024  # of bodies not yet flushed: bounds memory, and the size of one Arrow batch
_GRACE_S = 5
_MEMORY_BYTES = 2 * 1024**3  # above what the process has at its start
# Exporters send every few seconds: a shorter keep-alive would close the connection just as the next batch leaves.
_KEEP_ALIVE_S = 75


class Intake:
    """Where decoded spans go: the chunk file and the counts. Belongs to the event loop."""

    def __init__(self, writer: ChunkWriter) -> None:
        self.writer = writer
        self.held = Held()
        self.spans = self.rejected = self.bytes = self.requests = 0
        self.failure: str | None = None
        self._pending_bytes = 0
        self._reported: dict[str, int] = {}

    def take(self, decoded: otlp.Decoded, body_bytes: int) -> tuple[int, str]:
        """Keep the rows. Returns how many spans were rejected, and why."""
        self.requests += 1
        self.bytes += body_bytes
        rejected, reason = decoded.rejected, "spans with invalid ids or times"
        if self.failure is None:
            self.spans += len(decoded.rows)
            for row in decoded.rows:
                self.writer.append(row)
            self._pending_bytes += body_bytes
            if self._pending_bytes > _FLUSH_AT_BYTES:
                self.flush()
        else:
            rejected, reason = rejected + len(decoded.rows), self.failure
        self.rejected += rejected
        return rejected, reason

    def flush(self) -> None:
        self._pending_bytes = 0
        if self.failure is not None:
            return
        try:
            self.writer.flush()
        except (OSError, pa.ArrowException) as error:
            # Whatever was written of this batch is a torn tail; nothing readable could follow it.
            self.failure = f"spans can no longer be stored in {self.writer.path}: {error}"
            self.spans = self.writer.rows_written
            _say({"kind": "error", "message": self.failure})

    def report(self, always: bool = False) -> None:
        """Flush, then say the counts if they changed: what is counted is on disk."""
        self.flush()
        counts = self.counts()
        if always or counts != self._reported:
            self._reported = counts
            _say(counts)

    def counts(self) -> dict[str, int]:
        return {"spans": self.spans, "rejected": self.rejected, "bytes": self.bytes, "requests": self.requests}

    def close(self) -> None:
        self.flush()
        try:
            self.writer.close()
        except (OSError, pa.ArrowException) as error:
            self.failure = self.failure or f"{self.writer.path} could not be closed: {error}"
        _say({"kind": "end", **self.counts()})


def application(intake: Intake) -> Callable[[Any, Receive, Send], Awaitable[None]]:
    """The ASGI application: OTLP over HTTP, traces kept, metrics and logs accepted and dropped."""

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
    if path not in ("/v1/traces", "/v1/metrics", "/v1/logs"):
        raise Refusal(404, "this is a span receiver: POST OTLP to /v1/traces (or /v1/metrics, /v1/logs: dropped)")
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
    length = headers.get("content-length", "")
    if path != "/v1/traces":
        return otlp.encode_answer(encoding)  # the server discards the body
    raw = await read_body(receive, int(length) if length.isdecimal() else None, intake.held)
    body = gunzip(raw) if compression == "gzip" else raw
    try:
        decoded = otlp.decode(body, content_type)
    except otlp.MalformedBody as error:
        raise Refusal(400, str(error)) from error
    except MemoryError as error:
        raise Refusal(413, "the body takes too much memory") from error
    return otlp.encode_answer(encoding, *intake.take(decoded, len(body)))


async def _send(send: Send, status: int, encoding: otlp.Encoding | None, body: bytes) -> None:
    kinds = {"protobuf": b"application/x-protobuf", "json": b"application/json", None: b"text/plain; charset=utf-8"}
    headers = [(b"content-type", kinds[encoding]), (b"content-length", str(len(body)).encode())]
    if status == 405:
        headers.append((b"allow", b"POST"))
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


async def serve(sock: socket.socket, out: Path) -> None:
    """Receive spans on `sock` into the chunk file `out` until stdin ends or SIGTERM."""
    intake = Intake(ChunkWriter(out, Span))
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
        await server.serve(sockets=[sock])
    finally:
        ticking.cancel()
        intake.close()


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
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    convert_without_pandas()
    _limit_memory()
    if stat.S_ISFIFO(os.fstat(1).st_mode):
        os.set_blocking(1, False)
    try:
        asyncio.run(serve(socket.socket(fileno=arguments.fd), arguments.out))
    except OSError as error:
        _say({"kind": "error", "message": f"the span receiver could not start: {error}"})
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
