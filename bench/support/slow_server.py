"""A server that takes a given time for each request, and may freeze once:

    slow_server.py PORT SERVICE_S[+MEAN_S] [FREEZE_AFTER_S FREEZE_S LOG]

To SERVICE_S comes an exponential time of MEAN_S on average, when that is given.

The freeze begins FREEZE_AFTER_S after the first request: nothing is accepted, read or answered for FREEZE_S. Its two
instants, ns since the epoch, go to the file LOG at the end, beside the longest time that the machine kept the server
from its work. A loop of its own, without a framework: what piled up in the freeze is worked off in a few
milliseconds, so that the truth can be computed.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import random
import resource
import select
import signal
import socket
import sys
import time
from pathlib import Path

from harness.load.null_server import ANSWER

_SPIN_S = 0.0015  # epoll waits in whole milliseconds; the rest is waited for awake


class Slow:
    """The server. Requests are small, come one at a time on a connection, and are recognised by their last byte."""

    def __init__(self, port: int, service: str, freeze: list[str]) -> None:
        fixed_s, _, mean_s = service.partition("+")
        self.fixed_s, self.mean_s = float(fixed_s), float(mean_s or 0)
        self.freeze = freeze
        self.begun, self.freeze_at = False, float("inf")
        self.due: list[tuple[float, int, socket.socket]] = []  # a heap; the number keeps equal instants in order
        self.count = 0
        self.frozen: list[int] = []
        self.lag_s = 0.0  # longest that the machine, not the freeze, kept this process from its work
        self.open: dict[int, socket.socket] = {}
        self.listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self.listener.setblocking(False)
        self.poll = select.epoll()
        self.poll.register(self.listener, select.EPOLLIN)

    def serve(self) -> None:
        while True:
            self.answer()
            began, patience_s = time.perf_counter(), self.patience_s()
            ready = self.poll.poll(patience_s)
            for fd, _ in ready:
                if fd == self.listener.fileno():
                    self.accept()
                else:
                    self.read(self.open[fd])
            self.lag_s = max(self.lag_s, time.perf_counter() - began - patience_s)
            if time.perf_counter() >= self.freeze_at:
                self.freeze_at = float("inf")
                self.frozen.append(time.time_ns())
                time.sleep(float(self.freeze[1]))
                self.frozen.append(time.time_ns())

    def patience_s(self) -> float:
        next_at = min(self.due[0][0] if self.due else float("inf"), self.freeze_at)
        return min(1.0, max(0.0, next_at - time.perf_counter() - _SPIN_S))

    def accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = self.listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.open[sock.fileno()] = sock
                self.poll.register(sock.fileno(), select.EPOLLIN)
                self.read(sock)

    def read(self, sock: socket.socket) -> None:
        try:
            chunk = sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self.open.pop(sock.fileno(), None)
            sock.close()
        elif chunk.endswith((b"}", b"\r\n\r\n")) and not (chunk.startswith(b"POST") and chunk.endswith(b"\r\n\r\n")):
            now = time.perf_counter()
            extra_s = random.expovariate(1 / self.mean_s) if self.mean_s else 0.0
            self.count += 1
            heapq.heappush(self.due, (now + self.fixed_s + extra_s, self.count, sock))
            if self.freeze and not self.begun:
                self.begun, self.freeze_at = True, now + float(self.freeze[0])

    def answer(self) -> None:
        while self.due and self.due[0][0] <= time.perf_counter():
            _, _, sock = heapq.heappop(self.due)
            with contextlib.suppress(OSError):
                sock.send(ANSWER)


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = Slow(int(sys.argv[1]), sys.argv[2], sys.argv[3:6])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        server.serve()
    finally:
        if sys.argv[5:]:
            Path(sys.argv[5]).write_text(json.dumps({"frozen_ns": server.frozen, "lag_s": server.lag_s}))
