"""The load process: `python -m harness.load.worker`.

stdin: one JSON object (an Order), later maybe a line "stop"; the end of stdin
means the parent is gone and stops the run too. stdout: JSON lines of kind progress, warning, failed, end, no others.
Exit codes: 0 ran, 2 the scenario cannot be run (said in a "failed" line), 1 a bug (traceback on stderr).
"""

from __future__ import annotations

# isort: off
import locust  # noqa: F401 - patches the standard library, so it comes before whatever uses that

# isort: on
import json
import os
import signal
import stat
import sys
import traceback
from typing import Any

import gevent
import gevent.os
import gevent.socket

from harness.errors import HarnessError
from harness.load import order
from harness.load.engine import Engine

_LINE_WAIT_S = 5.0


class Lines:
    """JSON lines to the parent. A parent that does not read must not hold the load back: progress is then dropped."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rest = b""  # of a line that was cut, to be finished before the next one
        os.set_blocking(fd, False)

    def emit(self, line: dict[str, Any]) -> None:
        """Write one line; all but progress lines wait a few seconds for room."""
        self._rest += json.dumps(line, separators=(",", ":")).encode() + b"\n" if self._room_for(line) else b""
        patience_s = None if line["kind"] == "progress" else _LINE_WAIT_S
        self._push(patience_s)

    def _room_for(self, line: dict[str, Any]) -> bool:
        return not (self._rest and line["kind"] == "progress")

    def _push(self, patience_s: float | None) -> None:
        while self._rest:
            try:
                self._rest = self._rest[os.write(self._fd, self._rest) :]
            except BlockingIOError:
                if patience_s is None:
                    return
                try:
                    gevent.socket.wait_write(self._fd, timeout=patience_s)
                except OSError:  # nobody reads: give up
                    return
            except OSError:  # the parent closed its end
                self._rest = b""


def _first_line(fd: int) -> tuple[bytes, bytes]:
    """The first line of stdin and what came after it; blocks, before there is anything to hold up."""
    read = b""
    while b"\n" not in read:
        chunk = os.read(fd, 1 << 16)
        if not chunk:
            break
        read += chunk
    line, _, rest = read.partition(b"\n")
    return line, rest


def _watch(fd: int, rest: bytes, engine: Engine) -> None:
    """Stop the run on a line "stop", or when stdin ends."""
    while b"stop" not in rest.split(b"\n"):
        chunk = gevent.os.tp_read(fd, 1 << 12) if not _pollable(fd) else _read_ready(fd)
        if not chunk:
            break
        rest = rest.rpartition(b"\n")[2] + chunk
    engine.stop()


def _pollable(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)


def _read_ready(fd: int) -> bytes:
    gevent.socket.wait_read(fd)
    return os.read(fd, 1 << 12)


def _run(lines: Lines) -> int:
    line, rest = _first_line(0)
    if not line.strip():
        lines.emit({"kind": "failed", "message": "the load process was started without a scenario", "hint": None})
        return 2
    try:
        engine = Engine(order.loaded(json.loads(line)), lines.emit)
        gevent.signal_handler(signal.SIGTERM, engine.stop)
        gevent.spawn(_watch, 0, rest, engine)
        end = engine.run()
    except HarnessError as error:
        lines.emit({"kind": "failed", "message": str(error), "hint": error.hint})
        return 2
    lines.emit(end)
    return 0


def main() -> None:
    """Run, and leave at once: a thread or greenlet of user code that hangs must not keep the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent decides
    lines = Lines(os.dup(1))
    os.dup2(2, 1)  # whatever user code prints goes to the log
    try:
        code = _run(lines)
    except BaseException as bug:
        traceback.print_exc()
        lines.emit({"kind": "failed", "message": f"the load process failed: {type(bug).__name__}: {bug}", "hint": None})
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
