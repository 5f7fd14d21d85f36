"""The parent's side of a load process: start it, read what it says, stop it. Free of gevent."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from harness.errors import NothingMeasured
from harness.load.order import ALONE, Crew, Order, dumped, dumped_crew

_TAIL_BYTES = 2000


class LoadProcess:
    """A running load process. `events` gives its lines; the last one is of kind "end" or "failed", always."""

    def __init__(self, child: subprocess.Popen[bytes], log: Path) -> None:
        self._child = child
        self.log = log
        self.pid = child.pid
        self._lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._over = False
        self._ended = False
        assert child.stdout is not None  # noqa: S101 - started with pipes
        self._reader = threading.Thread(target=self._read, args=(child.stdout,), daemon=True)
        self._reader.start()

    def _read(self, stdout: IO[bytes]) -> None:
        for line in stdout:
            with contextlib.suppress(ValueError):  # a line torn by a kill
                self._lines.put(json.loads(line))
        self._lines.put(None)

    def events(self, timeout_s: float) -> list[dict[str, Any]]:
        """Lines that came since the last call, oldest first; waits up to `timeout_s` for the first one.

        When the process died without a last word, its end is reported as a "failed" line. Empty after the last line.
        """
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + timeout_s
        while not self._over:
            try:
                left = 0.0 if found else max(0.0, deadline - time.monotonic())
                line = self._lines.get(timeout=left) if left else self._lines.get_nowait()
            except queue.Empty:
                break
            if line is None:
                self._over = True
                if not self._ended:
                    found.append(self._died())
            else:
                self._ended = self._ended or line["kind"] in {"end", "failed"}
                found.append(line)
        return found

    @property
    def over(self) -> bool:
        """Whether every line was handed out, the last one included."""
        return self._over

    def _died(self) -> dict[str, Any]:
        code = self._child.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        last = _tail(self.log)
        hint = f"its last words: {last}" if last else "it said nothing"
        return {"kind": "failed", "message": f"the load process {how} before the run was over", "hint": hint}

    def request_stop(self) -> None:
        """Ask for an early end: in-flight requests get about 2 s. Does nothing when the process is gone."""
        self._tell("stop")

    def say_enough(self, until_s: float) -> None:
        """Ask for an end like the planned one: no more arrivals, and the usual drain. What is measured ends `until_s`
        seconds after the start of the load. Does nothing when the process is gone."""
        self._tell(f"enough {until_s!r}")

    def _tell(self, line: str) -> None:
        assert self._child.stdin is not None  # noqa: S101
        with contextlib.suppress(OSError, ValueError):
            self._child.stdin.write(line.encode() + b"\n")
            self._child.stdin.flush()

    def kill(self) -> None:
        """End the process at once, and everything it started."""
        if self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)

    def wait(self, timeout_s: float) -> int | None:
        """The exit code, or None when the process still runs after `timeout_s`. Gives its pipes back once it ended."""
        try:
            code = self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        self._reader.join(timeout_s)
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return code

    def wait_for_company(self, timeout_s: float) -> None:
        """After the process ended: let what it had started write its last samples, and kill what still runs then."""
        deadline = time.monotonic() + timeout_s
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left
            while time.monotonic() < deadline:
                os.killpg(self.pid, 0)
                time.sleep(0.05)
            os.killpg(self.pid, signal.SIGKILL)


def _tail(path: Path) -> str:
    try:
        text = path.read_bytes()[-_TAIL_BYTES:].decode("utf-8", "replace")
    except OSError:
        return ""
    return " | ".join(line.strip() for line in text.strip().splitlines()[-3:])


def start(order: Order, crew: Crew = ALONE) -> LoadProcess:
    """Start a load process, or a master with the load processes of `crew`: to its parent it is one, too.

    They write `samples-<worker>.arrows` and `load-<worker>.log` into the run folder, the master `load-master.log`.
    """
    alone = crew.size == 1 and not crew.expected
    module, name = ("worker", order.worker) if alone else ("master", "master")
    told = dumped(order) if alone else {"order": dumped(order), "crew": dumped_crew(crew)}
    log = Path(order.run_dir) / f"load-{name}.log"
    with log.open("wb") as stderr:
        child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", f"harness.load.{module}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
    assert child.stdin is not None  # noqa: S101 - started with pipes
    with contextlib.suppress(OSError):  # it died already: events() says so
        child.stdin.write(json.dumps(told).encode() + b"\n")
        child.stdin.flush()
    return LoadProcess(child, log)


def preflight(target: str, timeout_s: float = 3.0) -> None:
    """Connect to the target once. Raises NothingMeasured when nothing answers there."""
    parts = urlsplit(target)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), timeout_s).close()
    except socket.gaierror as error:
        words = (error.strerror or "lookup failed").lower()
        raise NothingMeasured(f"the host {host!r} is not known: {words}", "check `target:` or --target") from None
    except TimeoutError:
        message = f"nothing answers at {target}: no connection within {timeout_s:g} s"
        raise NothingMeasured(message, "check the address, and that no firewall is in between") from None
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        raise NothingMeasured(
            f"nothing answers at {target}: {words}", "start the service, or give its address with --target"
        ) from None
