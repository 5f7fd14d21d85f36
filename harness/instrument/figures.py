"""The figures of a process: how much it works and holds, how late its event loop is, what waits for its threads."""

from __future__ import annotations

import gc
import math
import mmap
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, perf_counter_ns, process_time
from typing import Any

from harness.instrument import pipeline
from harness.instrument.loop_probe import LoopProbe
from harness.instrument.quiet import LOG

Point = tuple[str, float, dict[str, str]]  # name, value, attributes


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric of ours. Those that are not `cumulative` say how it is now, or how it was since the last time."""

    name: str
    unit: str
    cumulative: bool = False


FIGURES = (
    Figure("process.cpu.utilization", "1"),  # 1: one core was busy all the time
    Figure("harness.cpu.limit", "1"),  # cores that the process may use
    Figure("process.memory.usage", "By"),
    Figure("process.thread.count", "1"),
    Figure("harness.event_loop.lag", "s"),
    Figure("harness.threadpool.size", "1"),
    Figure("harness.threadpool.in_use", "1"),
    Figure("harness.threadpool.waiting", "1"),
    Figure("harness.requests.in_flight", "1"),
    Figure("harness.gc.pause", "s"),
    Figure("harness.gc.collections", "1"),
    Figure("harness.spans.started", "1", cumulative=True),
    Figure("harness.spans.exported", "1", cumulative=True),
    Figure("harness.spans.lost", "1", cumulative=True),
)

_PAGE = mmap.PAGESIZE
_STAT, _STATM = Path("/proc/self/stat"), Path("/proc/self/statm")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


class Sampler:
    """Takes all figures at once. `in_flight` counts the open requests, `probes` are those of the event loops."""

    def __init__(self, in_flight: Callable[[], int], probes: Callable[[], list[LoopProbe]]) -> None:
        self._in_flight = in_flight
        self._probes = probes
        self._at, self._cpu = perf_counter(), process_time()
        self._collections, self._pause_ns = collected()
        self._cores = cores()

    def take(self) -> list[Point]:
        """Every figure there is to be had here, since the last call where it is about a stretch of time."""
        points: list[Point] = []
        for some in (self._of_process, self._of_loops, self._of_collector, self._of_spans):
            try:
                points += some()
            except Exception:
                LOG.warning("a figure of this process is missing", exc_info=True)
        return [point for point in points if math.isfinite(point[1])]

    def _of_process(self) -> Iterator[Point]:
        now, cpu = perf_counter(), process_time()
        if now > self._at:
            yield "process.cpu.utilization", (cpu - self._cpu) / (now - self._at), {}
        self._at, self._cpu = now, cpu
        yield "harness.cpu.limit", self._cores, {}
        yield "harness.requests.in_flight", self._in_flight(), {}
        try:
            yield "process.memory.usage", int(_STATM.read_bytes().split()[1]) * _PAGE, {}
            # Field 20; the second is the command in brackets, which may hold blanks and brackets itself.
            yield "process.thread.count", int(_STAT.read_bytes().rpartition(b")")[2].split()[17]), {}
        except OSError:  # not Linux
            return

    def _of_loops(self) -> Iterator[Point]:
        for number, probe in enumerate(self._probes()):
            which = {"loop": str(number)} if number else {}
            lag = probe.lag_s()
            if lag is None:
                continue
            yield "harness.event_loop.lag", lag, which
            threads = probe.threads()
            if threads is not None:
                for name, value in zip(("size", "in_use", "waiting"), threads, strict=True):
                    yield f"harness.threadpool.{name}", value, which

    def _of_collector(self) -> Iterator[Point]:
        collections, pause_ns = collected()
        yield "harness.gc.pause", (pause_ns - self._pause_ns) / 1e9, {}
        yield "harness.gc.collections", collections - self._collections, {}
        self._collections, self._pause_ns = collections, pause_ns

    def _of_spans(self) -> Iterator[Point]:
        counts = pipeline.counts()
        yield "harness.spans.started", counts.started, {}
        yield "harness.spans.exported", counts.exported, {}
        yield "harness.spans.lost", counts.lost, {}


def cores() -> float:
    """How many cores this process may use at once: those it is bound to, or fewer by the quota of its container."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text().split()[:2]
        return min(float(bound), int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError):  # "max": no quota; or not a container of this kind
        return float(bound)


_collections = _pause_ns = _began_ns = 0


def watch_collector() -> None:
    """Time the garbage collector from now on. A second call changes nothing."""
    if _on_collection not in gc.callbacks:
        gc.callbacks.append(_on_collection)


def collected() -> tuple[int, int]:
    """Collections since `watch_collector()`, and the nanoseconds in which nothing else ran."""
    return _collections, _pause_ns


def _on_collection(phase: str, _: dict[str, Any]) -> None:
    global _collections, _pause_ns, _began_ns
    if phase == "start":
        _began_ns = perf_counter_ns()
    elif _began_ns:
        _pause_ns += perf_counter_ns() - _began_ns
        _collections += 1
