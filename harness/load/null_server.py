"""A server that does nothing, as fast as plain Python can: 200 and two bytes for every request. Free of gevent.

    python -m harness.load.null_server

Says `{"port": ...}` on stdout and ends when stdin does, so it cannot outlive who started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import re
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness.errors import NothingMeasured

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REFUSAL = b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
MAX_HEAD_BYTES = 1 << 16
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,15})[ \t]*\r", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_END_WAIT_S = 5.0


class Null(asyncio.Protocol):
    """One connection. Bodies are read by their Content-Length and dropped; a body without one is refused."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport  # uvloop's are no asyncio.Transport
        self._head = b""  # the beginning of a head that is not there as a whole
        self._left = 0  # bytes of a body still to come

    def data_received(self, chunk: bytes) -> None:
        if self._left:
            taken = min(self._left, len(chunk))
            self._left -= taken
            chunk = chunk[taken:]
            if self._left:
                return
            self.transport.write(ANSWER)
        if self._head:
            chunk, self._head = self._head + chunk, b""
        while chunk:
            chunk = self._request(chunk)

    def _request(self, chunk: bytes) -> bytes:
        """Answer the request at the start of `chunk` if it is complete; what comes after it."""
        end = chunk.find(b"\r\n\r\n")
        if end < 0:
            self._head = chunk
            if len(chunk) > MAX_HEAD_BYTES:
                self.transport.close()
            return b""
        found = _LENGTH.search(chunk, 0, end + 1)
        if found is None and _CHUNKED.search(chunk, 0, end):
            self.transport.write(REFUSAL)
            self.transport.close()
            return b""
        total = end + 4 + (int(found[1]) if found else 0)
        if len(chunk) < total:
            self._left = total - len(chunk)
            return b""
        self.transport.write(ANSWER)
        return chunk[total:]


def _new_loop() -> asyncio.AbstractEventLoop:
    with contextlib.suppress(ImportError):
        loop: asyncio.AbstractEventLoop = importlib.import_module("uvloop").new_event_loop()
        return loop
    return asyncio.new_event_loop()


def serve() -> None:
    """Listen on a free port of the loopback until stdin ends."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    loop = _new_loop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    loop.run_until_complete(loop.create_server(Null, sock=listener, backlog=4096))
    sys.stdout.write(json.dumps({"port": listener.getsockname()[1]}) + "\n")
    sys.stdout.flush()
    loop.add_reader(0, loop.stop)
    loop.run_forever()
    os._exit(0)  # connections are not worth a farewell


# --- the parent's side -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NullServer:
    """A running null server."""

    url: str
    pid: int


@contextlib.contextmanager
def running(core: int | None = None) -> Iterator[NullServer]:
    """A null server in a child process, on one core if asked. Raises NothingMeasured when it does not start."""
    with subprocess.Popen(
        [sys.executable, "-m", "harness.load.null_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as child:
        assert child.stdin is not None and child.stdout is not None  # noqa: S101, PT018 - started with pipes
        try:
            said = child.stdout.readline()
            if not said:
                raise NothingMeasured("the null server did not start", "its error output is above")
            if core is not None:
                os.sched_setaffinity(child.pid, {core})
            yield NullServer(f"http://127.0.0.1:{json.loads(said)['port']}", child.pid)
        finally:
            child.stdin.close()
            try:
                child.wait(_END_WAIT_S)
            except subprocess.TimeoutExpired:
                child.kill()


if __name__ == "__main__":
    serve()
