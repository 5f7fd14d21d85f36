"""What a situation is made of: the sample service on the server's core, a thin line before it, work that starves."""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from support.cores import GENERATOR, SERVER, pinned, stop
from support.servers import ROOT, free_port

READY_WITHIN_S = 60.0
WARM_UP = 2  # requests whose cost does not count


@dataclass(frozen=True, slots=True)
class Service:
    """A sample service that is ready."""

    port: int
    pid: int


@contextlib.contextmanager
def sample_service(env: Mapping[str, str], otlp_port: int | None = None) -> Iterator[Service]:
    """A sample service on the server's core. Its spans and vitals go to `otlp_port` of this host."""
    told = {"READER_THREADS": "16", "OTEL_SERVICE_NAME": "sample-service", **env}
    if otlp_port is not None:
        told["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{otlp_port}"
    port = free_port()
    with tempfile.TemporaryFile() as log:
        child = _start([sys.executable, "-m", "sample_service", "--port", str(port)], SERVER, told, log.fileno())
        try:
            _await_answer(child, port, "/readyz")
            yield Service(port, child.pid)
        except _NotStarted:
            log.seek(0)
            sys.exit(f"the sample service did not start:\n{log.read().decode(errors='replace')}")
        finally:
            stop(child)


@contextlib.contextmanager
def thin_line(port: int, up: float, down: float) -> Iterator[int]:
    """The port of a proxy that passes `up` and `down` MiB/s per connection; `port` itself when neither is limited."""
    if not up and not down:
        yield port
        return
    own = free_port()
    script = str(Path(__file__).parent / "throttle.py")
    child = _start([sys.executable, script, str(own), str(port), str(up), str(down)], GENERATOR, {}, None)
    try:
        _await_answer(child, own, "/readyz")
        yield own
    finally:
        stop(child)


class Burners:
    """Processes that compute without end on the generator's core, from `burn` to `end`."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._children: list[subprocess.Popen[bytes]] = []

    def burn(self) -> None:
        """Begin, unless it did."""
        command = ["sh", "-c", "while :; do :; done"]
        self._children += [_start(command, GENERATOR, {}, None) for _ in range(self._count - len(self._children))]

    def end(self) -> None:
        for child in self._children:
            child.kill()
            child.wait()
        self._count, self._children = 0, []


@contextlib.contextmanager
def burners(count: int) -> Iterator[Burners]:
    """So many, which are ended at the latest here."""
    several = Burners(count)
    try:
        yield several
    finally:
        several.end()


class _NotStarted(Exception):  # noqa: N818 - reads as the condition it reports
    """The child ended, or said nothing for too long."""


def _start(command: list[str], core: int, env: Mapping[str, str], log: int | None) -> subprocess.Popen[bytes]:
    environ = {**os.environ, **env}
    return subprocess.Popen(
        pinned(command, core), cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        start_new_session=True,
    )  # fmt: skip


def _await_answer(child: subprocess.Popen[bytes], port: int, path: str) -> None:
    until = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < until and child.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                connection.close()
                return
        connection.close()
        time.sleep(0.05)
    raise _NotStarted


def cost_s(service: Service, method: str, path: str, bodies: Sequence[bytes], content_type: str, count: int) -> float:
    """CPU seconds the service takes for one such request: the mean over `count` or each body, one after the other."""
    count = -(-count // len(bodies)) * len(bodies)
    process = psutil.Process(service.pid)
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    before = 0.0
    with contextlib.closing(connection):
        for number in range(count + WARM_UP):
            if number == WARM_UP:
                before = _cpu_s(process)
            body = bodies[number % len(bodies)]
            connection.request(method, path, body or None, {"content-type": content_type} if content_type else {})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                sys.exit(f"{method} {path} was answered with {answer.status}")
    return (_cpu_s(process) - before) / count


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
