"""The run's side of its metrics: the port, and the process that tells of the run."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from harness.errors import UsageError
from harness.metrics.child import LINGERS, READY, Order

FLAG = "--metrics"
_HINT = "write PORT or HOST:PORT, e.g. 9464"
_BACKLOG = 64
_AT_ITS_END_S = 10.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Metrics of a run: an address for Prometheus to read, a receiver to send to, or both."""

    address: str | None
    push: str | None
    token: str | None
    linger_s: float


def bind(address: str, token: str | None) -> socket.socket:
    """A listening socket on `[HOST:]PORT`, on loopback unless there is a token. Raises UsageError."""
    found = re.fullmatch(r"(?:\[([^\[\]]+)\]:|([^\[\]:]+):)?([0-9]{1,5})", address.strip(), re.ASCII)
    if found is None or int(found[3]) > 65535:
        raise UsageError(f"{FLAG} '{address}' is no address to listen on", _HINT)
    host, port = found[1] or found[2] or "127.0.0.1", int(found[3])
    if not _is_loopback(host) and not token:
        message = f"{FLAG} {address} lets other machines read the metrics of this run"
        raise UsageError(message, "give --metrics-token TOKEN, too, or leave the host out to listen on loopback")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except socket.gaierror as error:
        sock.close()
        raise UsageError(f"{FLAG} {address}: '{host}' is no address of this machine", _HINT) from error
    except OSError as error:
        sock.close()
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"{FLAG} {address}: {reason}", "choose another port; 0 takes a free one") from error
    return sock


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


@contextlib.contextmanager
def published(wanted: Wanted, runs: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Tell of the run that this process begins below `runs`. It stays readable after the block until whoever read it
    has read its end, at most `linger_s`. Raises UsageError.
    """
    sock = None if wanted.address is None else bind(wanted.address, wanted.token)
    if sock is not None:
        host, port = sock.getsockname()[:2]
        say(f"metrics at http://{f'[{host}]' if ':' in host else host}:{port}/metrics")
    with tempfile.TemporaryFile() as log, _child(wanted, sock, runs, log) as child:
        if _line(child) != READY:
            raise UsageError(f"the process for {FLAG} did not start: {_last_line(log)}", "run without it")
        yield
        try:
            _until_told(child, wanted, say, log)
        except KeyboardInterrupt:  # the result is out
            return


@contextlib.contextmanager
def _child(wanted: Wanted, sock: socket.socket | None, runs: Path, log: IO[bytes]) -> Iterator[subprocess.Popen[str]]:
    """The process; whatever happens, it is gone at the end. The socket is its own: when it dies, nobody listens."""
    fd = None if sock is None else sock.fileno()
    with sock or contextlib.nullcontext():
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "harness.metrics.child"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            pass_fds=() if fd is None else (fd,), start_new_session=True,
        )  # fmt: skip
    try:
        _say_to(
            child, json.dumps(asdict(Order(fd, str(runs), os.getpid(), wanted.token, wanted.push, wanted.linger_s)))
        )
        yield child
    finally:
        _end(child)


def _until_told(child: subprocess.Popen[str], wanted: Wanted, say: Callable[[str], None], log: IO[bytes]) -> None:
    """Until the process has told the end of the run; what went wrong is said."""
    _say_to(child, "the result is out")
    line = _line(child)
    if line == LINGERS:
        say(f"metrics stay until they are read once more, at most {wanted.linger_s:g} s; Ctrl-C ends that")
        line = _line(child)
    try:
        told = json.loads(line)
    except ValueError:
        say(f"warning: the process for {FLAG} died: {_last_line(log)}")
        return
    if told["failed"]:
        say(f"warning: metrics did not reach {wanted.push} {told['failed']} times ({told['pushed']} times they did)")


def _say_to(child: subprocess.Popen[str], line: str) -> None:
    assert child.stdin is not None  # noqa: S101 - a pipe
    with contextlib.suppress(OSError):  # it died
        child.stdin.write(line + "\n")
        child.stdin.flush()


def _line(child: subprocess.Popen[str]) -> str:
    """What it says next; nothing when it has died."""
    assert child.stdout is not None  # noqa: S101 - a pipe
    return child.stdout.readline().strip()


def _last_line(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:200] if lines else "it said nothing"


def _end(child: subprocess.Popen[str]) -> None:
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    try:
        child.wait(_AT_ITS_END_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        child.kill()
        child.wait()
