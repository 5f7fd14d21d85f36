"""Start the service under test by a command, wait until it is ready, stop it with everything it started."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from harness.errors import HarnessError, Interrupted, UsageError
from harness.interrupt import Interrupt
from harness.services.command import Parsed, Start, check_program, parse_command
from harness.units import quoted

STOP_WITHIN_S = 10.0
_HOST = "127.0.0.1"
_POLL_S = 0.05
_ANSWER_WITHIN_S = 2.0
_TAIL_BYTES = 4000
_LONGEST_LINE = 300

# Its standard input ends when we end, however we end; then the group of the service has to go, too. A signal at the
# parent's death (PR_SET_PDEATHSIG) would reach the first process alone, and comes when a thread ends.
_GUARD = """
import os, signal, sys, time
group, patience_s = int(sys.argv[1]), float(sys.argv[2])
sys.stdin.buffer.read()
try:
    os.killpg(group, signal.SIGTERM)
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        time.sleep(0.05)
        os.killpg(group, 0)
    os.killpg(group, signal.SIGKILL)
except OSError:
    pass
"""


class Service:
    """A service that answers at `target`; `pid` is its first process and its process group."""

    def __init__(self, target: str, child: subprocess.Popen[bytes], log: Path) -> None:
        self.target = target
        self.pid = child.pid
        self.log = log
        self.ended: str | None = None  # how it ended, in words; None while it runs
        self._child = child
        self._stopped = False
        self._death: str | None = None

    def died(self) -> str | None:
        """One sentence when the service ended before it was stopped, e.g. "the service ended with exit code 1 during
        the run: MemoryError"; None when it did not. Keeps its answer after the stop.
        """
        if not self._stopped and self._death is None and self._child.poll() is not None:
            self._death = f"the service {_how(self._child.returncode)} during the run: {last_line(self.log)}"
            self.ended = self._death
        return self._death

    def stop(self, interrupt: Interrupt) -> None:
        """End its process group: SIGTERM, SIGKILL for what runs after 10 s, or at once when pressed twice."""
        if self._stopped:
            return
        self.died()
        self._stopped = True
        killed = _end_group(self._child, interrupt)
        if self.ended is None:
            how = _how(self._child.returncode)
            self.ended = f"the service {how}" + (f", not having ended within {STOP_WITHIN_S:g} s" if killed else "")


@contextmanager
def running(start: Start, log: Path, interrupt: Interrupt, env: Mapping[str, str] | None = None) -> Iterator[Service]:
    """The service, ready to be measured; it is stopped at the end, and also when this process dies. It writes to `log`.

    `env` is added to our environment; what the command itself sets wins. Raises UsageError for a command that cannot
    be started, HarnessError when it ends before it is ready or is not ready in time, Interrupted.
    """
    parsed = parse_command(start.command)
    if start.ready is not None and not start.ready.startswith("/"):
        raise UsageError(f"the path {quoted(start.ready)} to ask for readiness is no path", "write it like /readyz")
    log.parent.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    try:
        service, guard = _started(parsed, port, start, log, interrupt, env or {})
    except _PortTaken:
        service, guard = _started(parsed, _free_port(), start, log, interrupt, env or {}, again=False)
    try:
        yield service
    finally:
        service.stop(interrupt)
        _dismiss(guard)


def last_line(log: Path) -> str:
    """The last line that says something, or "no output"."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return "no output"
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no output"]
    return "".join(c if c.isprintable() else "?" for c in lines[-1][:_LONGEST_LINE])


class _PortTaken(Exception):  # noqa: N818 - a reason to try another port
    pass


def _started(
    parsed: Parsed,
    port: int,
    start: Start,
    log: Path,
    interrupt: Interrupt,
    env: Mapping[str, str],
    *,
    again: bool = True,
) -> tuple[Service, subprocess.Popen[bytes]]:
    command = parsed.with_port(port)
    environ = {**os.environ, "PORT": str(port), **env, **dict(command.environment)}
    child = _spawn(command.words, environ, start, log)
    service = Service(f"http://{_HOST}:{port}", child, log)
    guard = None
    try:
        guard = _guard(child.pid)
        _await_ready(service, child, port, start, interrupt)
    except BaseException as error:
        lost = again and child.poll() is not None and isinstance(error, HarnessError) and _is_taken(port)
        service.stop(interrupt)
        if guard is not None:
            _dismiss(guard)
        if lost:
            raise _PortTaken from error
        raise
    return service, guard


def _spawn(words: tuple[str, ...], environ: Mapping[str, str], start: Start, log: Path) -> subprocess.Popen[bytes]:
    if start.cwd is not None and not start.cwd.is_dir():
        raise UsageError(f"the folder {start.cwd} to start the service in is not there", "check its path")
    check_program(words[0], environ, start.cwd)
    try:
        with log.open("wb") as output:
            return subprocess.Popen(  # noqa: S603 - the command is what the user asked to run
                words, env=environ, cwd=start.cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        hint = "a script needs a first line like #!/bin/sh" if getattr(error, "errno", 0) == errno.ENOEXEC else None
        raise UsageError(f"{quoted(words[0])} cannot be started: {reason}", hint) from None


def _guard(group: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own interpreter and text
        [sys.executable, "-I", "-S", "-c", _GUARD, str(group), str(STOP_WITHIN_S)],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def _dismiss(guard: subprocess.Popen[bytes]) -> None:
    guard.kill()
    guard.wait()
    if guard.stdin is not None:
        guard.stdin.close()


# --- ready -------------------------------------------------------------------------------------------------


def _await_ready(
    service: Service, child: subprocess.Popen[bytes], port: int, start: Start, interrupt: Interrupt
) -> None:
    where = f"its whole output is in {service.log}"
    deadline = time.monotonic() + start.ready_within_s
    state = f"nothing listens on {_HOST}:{port}"
    while time.monotonic() < deadline:
        if interrupt.stop:
            raise Interrupted("interrupted while the service was starting")
        answered = _not_ready(port, start.ready)
        if child.poll() is not None:
            background = "keep it in the foreground; " if child.returncode == 0 else ""
            message = f"the service {_how(child.returncode)} before it was ready: {last_line(service.log)}"
            raise HarnessError(message, background + where)
        if answered is None:
            return
        state = answered
        time.sleep(_POLL_S)
    message = f"the service was not ready within {start.ready_within_s:g} s: {state}; it said: {last_line(service.log)}"
    raise HarnessError(message, where)


def _not_ready(port: int, path: str | None) -> str | None:
    """Why the service is not ready; None when it is."""
    if path is None:
        return None if _listens(port) else f"nothing listens on {_HOST}:{port}"
    connection = http.client.HTTPConnection(_HOST, port, timeout=_ANSWER_WITHIN_S)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except ConnectionRefusedError:
        return f"nothing listens on {_HOST}:{port}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"GET {path} got no answer ({type(error).__name__})"
    finally:
        connection.close()
    return None if 200 <= status < 300 else f"GET {path} answers {status}"


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((_HOST, port), _ANSWER_WITHIN_S):
        return True
    return False


def _is_taken(port: int) -> bool:
    """By a server, or by somebody's connection to another one: every port that is free may be picked for that."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((_HOST, port))
        except OSError:
            return True
    return _listens(port)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind((_HOST, 0))
        return int(sock.getsockname()[1])


# --- the end -----------------------------------------------------------------------------------------------


def _end_group(child: subprocess.Popen[bytes], interrupt: Interrupt) -> bool:
    """Whether anything of the group had to be killed."""
    _signal(child.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_WITHIN_S
    while child.poll() is None or _members(child.pid):
        if time.monotonic() > deadline or interrupt.now:
            _signal(child.pid, signal.SIGKILL)
            child.wait()
            return True
        time.sleep(_POLL_S)
    return False


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _members(group: int) -> bool:
    """Whether a process of the group still runs; one that ended and that nobody collects does not count."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, 0)
        for process in psutil.process_iter(["status"]):
            with contextlib.suppress(OSError):
                if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                    return True
    return False


def _how(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
