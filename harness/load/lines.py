"""The load process's side of the pipes to its parent: JSON lines out; "enough", "stop" or the end of stdin in."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import gevent
import gevent.os
import gevent.socket

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


def watch(
    fd: int, rest: bytes, stop: Callable[[], None], enough: Callable[[float], None] = lambda until_s: None
) -> None:
    """Call `stop` on a line "stop" or when stdin ends, `enough` with the number of a line like "enough 90.0"."""
    while True:
        *lines, rest = rest.split(b"\n")
        for line in lines:
            word, _, number = line.partition(b" ")
            if word == b"enough":
                enough(float(number))
        if b"stop" in lines:
            break
        chunk = gevent.os.tp_read(fd, 1 << 12) if not _pollable(fd) else _read_ready(fd)
        if not chunk:
            break
        rest += chunk
    stop()


def _pollable(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)


def _read_ready(fd: int) -> bytes:
    gevent.socket.wait_read(fd)
    return os.read(fd, 1 << 12)


def leave(code: int) -> NoReturn:
    """End the process now."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
