"""Is the generator itself healthy? Measured while it works, with limits beyond which its figures are in doubt."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import time
from array import array
from typing import Any

import gevent
import numpy as np

_TICK_S = 0.01
_DESCRIPTORS_EVERY = 500  # ticks

Reading = dict[str, Any]


class Health:
    """Collects while a run goes on; `restart` forgets the warm-up. One per process."""

    def __init__(self) -> None:
        self._descriptors = 0.0
        self._gc_began = 0
        self.sessions = 0
        self._ticker: gevent.Greenlet | None = None
        self.restart()

    def restart(self) -> None:
        """Begin the measured phase: what was collected so far belongs to the warm-up."""
        self.lateness_s = array("f")
        self._lags_s = array("f")
        self._gc_pauses_s = array("f")
        self._cpu_at = time.process_time()
        self._wall_at = time.perf_counter()
        self._cpu_share: float | None = None

    def start(self) -> None:
        """Begin to watch the hub and the garbage collector."""
        gc.callbacks.append(self._on_gc)
        self._ticker = gevent.spawn(self._tick)

    def stop(self) -> None:
        """End of the measured phase; the readings stay."""
        wall = time.perf_counter() - self._wall_at
        self._cpu_share = (time.process_time() - self._cpu_at) / wall if wall > 0 else None
        with contextlib.suppress(ValueError):
            gc.callbacks.remove(self._on_gc)
        if self._ticker is not None:
            self._ticker.kill()
        self._look_at_descriptors()

    def _tick(self) -> None:
        ticks = 0
        while True:
            before = time.perf_counter()
            gevent.sleep(_TICK_S)
            self._lags_s.append(time.perf_counter() - before - _TICK_S)
            ticks += 1
            if ticks % _DESCRIPTORS_EVERY == 0:
                self._look_at_descriptors()

    def _look_at_descriptors(self) -> None:
        with contextlib.suppress(OSError):  # no /proc: the reading stays missing
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            self._descriptors = max(self._descriptors, len(os.listdir("/proc/self/fd")) / limit)

    def _on_gc(self, phase: str, _details: dict[str, int]) -> None:
        if phase == "start":
            self._gc_began = time.perf_counter_ns()
        elif self._gc_began:
            self._gc_pauses_s.append((time.perf_counter_ns() - self._gc_began) / 1e9)

    def readings(self, drift_ns: int, answers: int, kernel_stamped: int) -> list[Reading]:
        """All readings; durations in seconds, shares as ratios. A value is None when nothing was observed."""
        late, lag, gc_pauses = self.lateness_s, self._lags_s, self._gc_pauses_s
        stamped = kernel_stamped / answers if answers else None
        arrived = "scheduled instant -> handed to a session"
        return [
            _reading("lateness_p50", _quantile(late, 0.5), "s", None, None, f"{arrived}, median"),
            _reading("lateness_p99", _quantile(late, 0.99), "s", 0.005, 0.05, f"{arrived}, 99 of 100 below"),
            _reading("lateness_max", _quantile(late, 1.0), "s", None, None, f"{arrived}, worst"),
            _reading("hub_lag_p99", _quantile(lag, 0.99), "s", 0.02, 0.1, "a 10 ms sleep took so much longer"),
            _reading(
                "hub_lag_max", _quantile(lag, 1.0), "s", None, None, "the longest the generator was busy elsewhere"
            ),
            _reading("cpu", self._cpu_share, "ratio", 0.80, 0.95, "share of one core this load process used"),
            _reading("descriptors", self._descriptors or None, "ratio", 0.8, 0.95, "open descriptors of the allowed"),
            _reading("gc_total", float(sum(gc_pauses)), "s", None, None, "garbage collection, all pauses"),
            _reading("gc_max", _quantile(gc_pauses, 1.0) or 0.0, "s", None, None, "garbage collection, longest pause"),
            _reading(
                "clock_drift", abs(drift_ns) / 1e9, "s", 0.001, 0.02, "wall clock against monotonic, worst second"
            ),
            _reading("kernel_stamped", stamped, "ratio", None, None, "answers whose end the kernel stamped"),
            _reading("sessions", float(self.sessions), "count", None, None, "sessions opened to keep the schedule"),
        ]


def _reading(
    name: str, value: float | None, unit: str, suspect: float | None, invalid: float | None, meaning: str
) -> Reading:
    return {"name": name, "value": value, "unit": unit, "suspect": suspect, "invalid": invalid, "meaning": meaning}


def _quantile(values: array[float], q: float) -> float | None:
    return float(np.quantile(np.frombuffer(values, dtype=np.float32), q)) if len(values) else None


def raise_descriptor_limit() -> None:
    """Allow as many sockets as the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
