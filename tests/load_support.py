"""What the tests of harness.load share: raw servers that misbehave on purpose, scenarios, and one run of them."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from harness.chunks import read_chunks
from harness.load.launch import LoadProcess, start
from harness.load.order import Order
from harness.model import Arrivals, Expect, LoadProfile, RequestSpec, Sample, Scenario, SpanSpec, Step

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST


@dataclass
class Request:
    """One request as the server read it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


Behaviour = Callable[[Request], Awaitable[bool]]  # returns whether the connection stays open


@dataclass
class Server:
    """What a running raw server saw."""

    port: int
    requests: list[Request] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def raw_server(behave: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A real server on a free port, in a thread with its own event loop; everything is closed at the end."""
    loop = asyncio.new_event_loop()
    server = Server(0)
    tasks: set[asyncio.Task[None]] = set()
    count = iter(range(1_000_000))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        own = next(count)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await behave(await _read(reader, writer, own, server)):
                    await writer.drain()
        finally:
            writer.close()
            tasks.discard(task)

    async def listen() -> asyncio.Server:
        return await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)

    async def shut_down(listening: asyncio.Server) -> None:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # transports close on the next turns of the loop

    listening = loop.run_until_complete(listen())
    server.port = listening.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(shut_down(listening), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, own: int, server: Server) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = b"" if path == "/early" else await reader.readexactly(int(headers.get("content-length", 0)))
    request = Request(method, path, headers, body, own, reader, writer)
    server.requests.append(request)
    return request


HEAD = "HTTP/1.1 200 OK\r\n"
GZIPPED = gzip.compress(json.dumps({"lines": [{"text": "TOTAL 12.50"}], "n": 3}).encode())
ANSWERS: dict[str, bytes] = {
    "/500": b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nServer-Timing: a;dur=1\r\nserver-timing: b;dur=2\r\n\r\n",
    "/redirect": b"HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n",
    "/head": f"{HEAD}Content-Length: 1000000\r\n\r\n".encode(),
    "/gzip": f"{HEAD}Content-Encoding: gzip\r\nContent-Length: {len(GZIPPED)}\r\n\r\n".encode() + GZIPPED,
    "/big": f"{HEAD}Content-Length: 5000000\r\n\r\n".encode() + bytes(5_000_000),
}
LAST_WORDS: dict[str, bytes] = {  # and then the connection is closed
    "/garbage": b"\x00\x01 this is no HTTP\r\n\r\n",
    "/cut": f"{HEAD}Content-Length: 100\r\n\r\nonly this".encode(),
    "/close-delimited": b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end",
}
IN_TWO: dict[str, tuple[bytes, bytes]] = {  # 60 ms apart
    "/chunked": (
        f"{HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".encode(),
        b"6\r\n world\r\n0\r\nServer-Timing: late;dur=3\r\n\r\n",
    ),
    "/interim": (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK),
}


async def misbehave(r: Request) -> bool:
    """An answer by path; see the tests of the same name. Anything else is answered "ok"."""
    if r.path in LAST_WORDS:
        r.writer.write(LAST_WORDS[r.path])
        return False
    if r.path in IN_TWO:
        r.writer.write(IN_TWO[r.path][0])
        await asyncio.sleep(0.06)
        r.writer.write(IN_TWO[r.path][1])
    elif r.path == "/hang":
        await asyncio.sleep(30)
    elif r.path == "/reset":
        r.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        return False
    elif r.path == "/early":
        r.writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await r.writer.drain()
        await asyncio.sleep(0.3)
        return False
    else:
        r.writer.write(ANSWERS.get(r.path, OK))
    return True


def a_request(name: str = "ok", path: str = "/ok", method: str = "GET", **fields: Any) -> RequestSpec:
    return RequestSpec(name, method, path, **{"timeout_s": 5.0, "expect": Expect(), **fields})


def a_scenario(target: str, *requests: RequestSpec, **fields: Any) -> Scenario:
    """Constant arrivals without warm-up unless told otherwise; `rate`, `duration_s`, `warmup_s`, `drain_s`, `users`."""
    load = LoadProfile(
        Arrivals.CONSTANT,
        (Step(fields.get("rate", 50.0), fields.get("duration_s", 1.0)),),
        fields.get("warmup_s", 0.0),
        fields.get("drain_s", 5.0),
        fields.get("seed", 7),
    )
    kinds = () if fields.get("users") else requests or (a_request(),)
    return Scenario("a-scenario", target, kinds, fields.get("users"), load, SpanSpec(), ())


@dataclass
class Ran:
    """One finished load process."""

    lines: list[dict[str, Any]]
    samples: pd.DataFrame
    exit_code: int | None
    log: str

    @property
    def end(self) -> dict[str, Any]:
        assert self.lines[-1]["kind"] == "end", (self.lines[-1], self.log)
        return self.lines[-1]


def ran(process: LoadProcess, run_dir: Path, timeout_s: float = 40.0) -> Ran:
    """Read a load process to its end; it is killed when it does not come to one."""
    lines: list[dict[str, Any]] = []
    deadline = time.monotonic() + timeout_s
    while not process.over and time.monotonic() < deadline:
        lines += process.events(0.5)
    if not process.over:
        process.kill()
    code = process.wait(10)
    return Ran(lines, samples_in(run_dir), code, process.log.read_text())


def run(scenario: Scenario, run_dir: Path, max_sessions: int | None = None) -> Ran:
    return ran(start(Order(scenario, str(run_dir), "run-1", max_sessions=max_sessions)), run_dir)


def samples_in(run_dir: Path) -> pd.DataFrame:
    # Nullable integers: a float64 column would round instants to a quarter of a microsecond.
    table = read_chunks(sorted(run_dir.glob("samples-*.arrows")), Sample)
    return table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)


def in_child(code: str, *arguments: str) -> str:
    """Run Python code that may import gevent; its standard output. Fails the test with its traceback."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout
