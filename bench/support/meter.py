"""CPU and memory of processes over time, read from outside."""

from __future__ import annotations

import threading
import time

import numpy as np
import psutil


class Meter:
    """Looks at some processes, by name, ten times a second while it is open; those that end are no longer looked at."""

    def __init__(self, pids: dict[str, int], every_s: float = 0.1) -> None:
        self._watched = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._every_s = every_s
        self._seen: dict[str, list[tuple[int, float]]] = {name: [] for name in pids}
        self.rss: dict[str, list[tuple[int, int]]] = {name: [] for name in pids}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Meter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            self.look()
            self._over.wait(self._every_s)
        self.look()

    def look(self) -> None:
        """One more reading of each process that is still there."""
        for name, process in self._watched.items():
            try:
                with process.oneshot():
                    times, rss = process.cpu_times(), process.memory_info().rss
            except psutil.Error:
                continue
            now = time.time_ns()
            if rss:  # 0: it has ended and nobody has waited for it yet
                self._seen[name].append((now, float(times.user + times.system)))
                self.rss[name].append((now, int(rss)))

    def cpu_s(self, name: str, from_ns: int, until_ns: int) -> float:
        """CPU seconds of all its threads between two instants, ns since the epoch."""
        at, cpu = zip(*self._seen[name], strict=True)
        first, last = np.interp([from_ns, until_ns], at, cpu)
        return float(last - first)

    def total_s(self, name: str, until_ns: int) -> float:
        """CPU seconds from the start of the process to an instant, ns since the epoch."""
        at, cpu = zip(*self._seen[name], strict=True)
        return float(np.interp(until_ns, at, cpu))

    def mib_at(self, name: str, at_ns: int) -> float:
        """Memory at an instant, MiB."""
        at, rss = zip(*self.rss[name], strict=True)
        return float(np.interp(at_ns, at, rss)) / 2**20

    def peak_mib(self, name: str) -> float:
        """Most memory seen, MiB."""
        return max(rss for _, rss in self.rss[name]) / 2**20
