"""The process that tells of a run: `python -m harness.metrics.child`. It follows the run's folder, so that the run
itself pays nothing.

stdin: an Order as a JSON line; then a line when the run's result is out; its end is the end. stdout: READY, then
LINGERS if it waits for a last scrape, at last a JSON object with `scrapes`, `pushed`, `failed`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from harness.errors import RunFolderError
from harness.following import Follower, process_of
from harness.following.lines import FILE
from harness.metrics.prometheus import answer
from harness.metrics.pushed import EVERY_S, Pusher, metrics_data
from harness.metrics.serve import Server
from harness.metrics.tally import Tally
from harness.run_folder import RunFolder

READY, LINGERS = "ready", "lingers"
LOOK_S = 0.5
_LAST_ROWS_S = 10.0
"""How long the rest of the rows is waited for, once the result is out."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to do: `fd` is a listening socket, `runs` where the folder appears, `parent` the run's process."""

    fd: int | None
    runs: str
    parent: int
    token: str | None
    push: str | None
    linger_s: float


class _Orders(threading.Thread):
    """Reads stdin. `done` is set by a line, `ended` by the end; `seen` when there is nothing more to be followed."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.done, self.ended, self.seen = threading.Event(), threading.Event(), threading.Event()

    def run(self) -> None:
        for _ in sys.stdin:
            self.done.set()
        self.ended.set()


class _Watched:
    """The run, from its beginning; nothing before it has one."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._before = frozenset(Path(order.runs).glob(f"*/{FILE}"))  # the run begins when we are ready
        self._follower: Follower | None = None
        self._lock = threading.Lock()
        self.tally: Tally | None = None

    @property
    def tallies(self) -> list[Tally]:
        return [] if self.tally is None else [self.tally]

    def look(self) -> None:
        """What has come since the last look."""
        if self._follower is None:
            self._find()
        if self._follower is None or self.tally is None or self.tally.over:
            return
        seen = self._follower.poll()
        with self._lock:
            self.tally.take(seen)

    def _find(self) -> None:
        for path in frozenset(Path(self._order.runs).glob(f"*/{FILE}")) - self._before:
            if process_of(path.parent) == self._order.parent:
                with contextlib.suppress(OSError, RunFolderError):
                    folder = RunFolder(path.parent)
                    self.tally, self._follower = Tally.of(folder), Follower(folder)
                    return

    def answer(self, accept: str) -> tuple[bytes, str]:
        with self._lock:
            return answer(self.tallies, accept)

    def push(self, pusher: Pusher) -> None:
        if self.tally is not None:
            with self._lock:
                points = metrics_data(self.tallies)
            pusher.push(points)


def main() -> None:
    """Until the end of stdin, or until everything was told."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run; its end is told on stdin
    with contextlib.suppress(OSError):
        os.nice(15)
    order = Order(**json.loads(sys.stdin.readline()))
    watched, orders = _Watched(order), _Orders()
    orders.start()
    server = None if order.fd is None else Server(socket.socket(fileno=order.fd), watched.answer, order.token)
    pusher = None if order.push is None else Pusher(order.push)
    pushing = threading.Thread(target=_push, args=(watched, pusher, orders), daemon=True)
    if pusher is not None:
        pushing.start()
    _say(READY)
    try:
        _watch(watched, orders)
    finally:
        orders.seen.set()
    if pusher is not None:
        pushing.join()
    if server is not None:
        _linger(server, orders, order.linger_s)
        server.close()
    told = {
        "scrapes": 0 if server is None else sum(server.readers.values()),
        "pushed": 0 if pusher is None else pusher.pushed,
        "failed": 0 if pusher is None else pusher.failed,
    }
    _say(json.dumps(told))


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # the parent has gone
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def _watch(watched: _Watched, orders: _Orders) -> None:
    """Until the result is out and all of the run was seen."""
    until = float("inf")
    while not orders.ended.is_set() and time.monotonic() < until:
        try:
            watched.look()
        except RunFolderError:  # somebody deleted it
            return
        if orders.done.is_set():
            if watched.tally is None or watched.tally.over:
                return
            until = min(until, time.monotonic() + _LAST_ROWS_S)
            time.sleep(0.05)
        else:
            orders.done.wait(LOOK_S)


def _push(watched: _Watched, pusher: Pusher, orders: _Orders) -> None:
    """Now and then, and once more when all was seen."""
    while not orders.ended.is_set():
        last = orders.seen.is_set()
        watched.push(pusher)
        if last:
            break
        orders.seen.wait(EVERY_S)
    pusher.close()


def _linger(server: Server, orders: _Orders, linger_s: float) -> None:
    """Whoever read the run before reads its end, too."""
    before, until = dict(server.readers), time.monotonic() + linger_s
    if before and linger_s > 0:
        _say(LINGERS)
    while time.monotonic() < until and not orders.ended.is_set():
        if all(server.readers[reader] > count for reader, count in before.items()):
            return
        orders.ended.wait(0.05)


if __name__ == "__main__":
    main()
