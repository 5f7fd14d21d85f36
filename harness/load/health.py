"""Is the generator itself healthy? Measured while it works, with limits beyond which its figures are in doubt."""

from __future__ import annotations

import contextlib
import gc
import resource
import time
from array import array
from typing import Any

import gevent
import numpy as np

from harness.load import machine
from harness.load.histogram import Histogram

TICK_S = 0.025  # 0.5 % of a core; 10 ms would cost 1 %, of which a run at a low rate has nothing
_KEEP_EVERY = 40  # ticks: once a second
_TOO_SOON_S = 2.0  # shares of less time say little
_HELD_S = 0.05  # a hub that is late by more than this was held up

Reading = dict[str, Any]


class Health:
    """Collects while a run goes on; `restart` forgets the warm-up. One per process.

    Whoever hands over an arrival appends how late it was to `lateness_s`; once a second that is counted in a histogram
    and the array is emptied, so memory stays the same however long the run is.
    """

    def __init__(self) -> None:
        self.lateness_s = array("f")
        self._lags_s = array("f")
        self._descriptors: float | None = None
        self._gc_began = 0
        self._asleep_at = 0.0
        self.sessions = 0
        self._ticker: gevent.Greenlet | None = None
        self.restart()

    def restart(self) -> None:
        """Begin the measured phase: what was collected so far belongs to the warm-up."""
        del self.lateness_s[:], self._lags_s[:]
        self._late, self._lag = Histogram(), Histogram()
        self._held_s = 0.0
        self._asleep_at = time.perf_counter()
        self._gc_total_s = self._gc_longest_s = 0.0
        self._cpu_at = time.process_time()
        self._began = machine.look()
        self._ended: machine.Machine | None = None
        self._cpu_share: float | None = None

    def start(self) -> None:
        """Begin to watch the hub and the garbage collector."""
        gc.callbacks.append(self._on_gc)
        self._ticker = gevent.spawn(self._tick)

    def stop(self) -> None:
        """End of the measured phase; the readings stay. A second call does nothing."""
        if self._ended is not None:
            return
        self._ended = machine.look()
        self._cpu_share = self._cpu()
        with contextlib.suppress(ValueError):
            gc.callbacks.remove(self._on_gc)
        if self._ticker is not None:
            self._lags_s.append(self._lag_s())  # of a freeze that lasted until now
            self._ticker.kill()
        self._look_at_descriptors()

    def _tick(self) -> None:
        ticks = 0
        while True:
            self._asleep_at = time.perf_counter()
            gevent.sleep(TICK_S)
            self._lags_s.append(self._lag_s())
            ticks += 1
            if ticks % _KEEP_EVERY == 0:
                self._count()
                self._look_at_descriptors()

    def _lag_s(self) -> float:
        return max(0.0, time.perf_counter() - self._asleep_at - TICK_S)

    def _wall_s(self) -> float:
        return (time.perf_counter() if self._ended is None else self._ended.at_s) - self._began.at_s

    def _cpu(self) -> float | None:
        wall_s = self._wall_s()
        return (time.process_time() - self._cpu_at) / wall_s if wall_s > 0 else None

    def _count(self) -> None:
        """Empty the arrays into their histograms. In place: others hold on to `lateness_s`."""
        self._held_s += sum(lag_s for lag_s in self._lags_s if lag_s > _HELD_S)
        for values, counted in ((self.lateness_s, self._late), (self._lags_s, self._lag)):
            counted.add(np.array(values, dtype=np.float32))
            del values[:]

    def _look_at_descriptors(self) -> None:
        share = machine.descriptors_in_use()
        if share is not None:
            self._descriptors = max(self._descriptors or 0.0, share)

    def _on_gc(self, phase: str, _details: dict[str, int]) -> None:
        if phase == "start":
            self._gc_began = time.perf_counter_ns()
        elif self._gc_began:
            pause_s = (time.perf_counter_ns() - self._gc_began) / 1e9
            self._gc_total_s += pause_s
            self._gc_longest_s = max(self._gc_longest_s, pause_s)

    def readings(
        self, drift_ns: int, answers: int, kernel_stamped: int, worker: str = "", out_of_resources: int | None = None
    ) -> list[Reading]:
        """All readings; durations in seconds, shares as ratios. A value is None when nothing was observed.

        `out_of_resources`: requests for which there was no descriptor or no local port.
        """
        self._count()
        stamped = kernel_stamped / answers if answers else None
        found = [
            *self._schedule_readings(answers),
            *self._machine_readings(),
            _reading("clock_drift", abs(drift_ns) / 1e9, "s", _DRIFT),
            _reading("kernel_stamped", stamped, "ratio", _STAMPED),
            _reading("answers", float(answers), "count", _ANSWERS),
            _reading("sessions", float(self.sessions), "count", _SESSIONS),
            _reading("out_of_resources", _float(out_of_resources), "requests", _OUT_OF_RESOURCES, "not counted"),
        ]
        return [{**reading, "worker": worker} for reading in found]

    def doubts(self, drift_ns: int, answers: int, out_of_resources: int) -> list[dict[str, object]]:
        """The readings that are beyond a limit by now, in short: for those who watch. Takes 0.4 ms of CPU."""
        if self._wall_s() < _TOO_SOON_S:
            return []
        found = map(_doubt, self.readings(drift_ns, answers, 0, out_of_resources=out_of_resources))
        return [doubt for doubt in found if doubt is not None]

    def _schedule_readings(self, answers: int) -> list[Reading]:
        late, lag = self._late, self._lag
        # Every answer of an open loop had an arrival before it: answers without one are those of a closed loop.
        wall_s = self._wall_s()
        held = self._held_s / wall_s if lag.n and wall_s > 0 else None
        absent = "does not apply: a closed loop has no schedule" if late.n == 0 and answers else ""
        return [
            _reading("lateness_p50", late.quantile(0.5), "s", _LATE_P50, absent),
            _reading("lateness_p99", late.quantile(0.99), "s", _LATE_P99, absent),
            _reading("lateness_max", late.largest_s, "s", _LATE_MAX, absent),
            _reading("hub_lag_p99", lag.quantile(0.99), "s", _LAG_P99),
            _reading("hub_lag_max", lag.largest_s, "s", _LAG_MAX),
            _reading("hub_held", held, "ratio", _HELD),
            _reading("gc_total", self._gc_total_s, "s", _GC_TOTAL),
            _reading("gc_max", self._gc_longest_s, "s", _GC_MAX),
        ]

    def _machine_readings(self) -> list[Reading]:
        began, ended = self._began, self._ended or machine.look()
        shares = (
            ("cpu", self._cpu() if self._ended is None else self._cpu_share, _CPU),
            ("cpu_machine", machine.busy_share(began, ended), _CPU_MACHINE),
            ("steal", machine.stolen_share(began, ended), _STEAL),
            ("throttled", machine.throttled_share(began, ended), _THROTTLED),
            ("descriptors", self._descriptors, _DESCRIPTORS),
        )
        found = [_reading(name, value, "ratio", about, "not known on this system") for name, value, about in shares]
        return [*found, _reading("memory", machine.peak_memory_bytes(), "B", _MEMORY, "not known on this system")]


def _doubt(reading: Reading) -> dict[str, object] | None:
    for state in ("invalid", "suspect"):
        value, limit = reading["value"], reading[state]
        if value is not None and limit is not None and value > limit:
            kept = {name: reading[name] for name in ("name", "value", "unit", "meaning", "advice")}
            return {**kept, "state": state, "limit": limit}
    return None


# --- what the readings mean: limits (suspect, invalid), meaning, advice ------------------------------------------

_About = tuple[float | None, float | None, str, str]

_ARRIVED = "scheduled instant -> handed to a session"
_BUSY = "the generator was busy or not scheduled: use --processes 2, a lower rate, or a larger or quieter machine"
_LATE_P50: _About = (None, None, f"{_ARRIVED}, median", "")
_LATE_P99: _About = (0.005, 0.05, f"{_ARRIVED}, 99 of 100 below", _BUSY)
# One freeze of the generator touches few arrivals and hides from the p99. What it does is fire all that came due in it
# at once: half a second's worth is a load nobody asked for, two seconds' worth is another test.
_LATE_MAX: _About = (
    0.5, 2.0, f"{_ARRIVED}, worst",
    "the generator froze once and then sent what had come due in one burst: look for a suspended or swapping machine, "
    "or blocking code in a user class",
)  # fmt: skip
_LAG_P99: _About = (
    0.02, 0.1, f"a {TICK_S * 1000:.0f} ms sleep took so much longer",
    "the generator was busy elsewhere: look for blocking code in a user class or a check, or use --processes 2",
)  # fmt: skip
# A closed loop has no schedule to be late for: while it is frozen its users send nothing, and nothing else shows it.
_LAG_MAX: _About = (
    0.5, 2.0, "the longest the generator was busy elsewhere, or not running",
    "the generator froze: look for a suspended or swapping machine, or blocking code in a user class or a check",
)  # fmt: skip
_HELD: _About = (
    0.02, 0.10, f"time in which the generator was held up, each time for more than {_HELD_S * 1000:.0f} ms",
    "the generator stalls again and again: look for blocking code in a user class or a check, or use --processes 2",
)  # fmt: skip
_GC_TOTAL: _About = (None, None, "garbage collection, all pauses", "")
_GC_MAX: _About = (None, None, "garbage collection, longest pause", "")
_CPU: _About = (0.80, 0.95, "share of one core this load process used", "use --processes 2, or a larger machine")
_CPU_MACHINE: _About = (None, None, "share of all cores of this machine in use, by the generator and all others", "")
_STEAL: _About = (
    0.05, 0.20, "CPU time that other guests of the host took from this machine",
    "another guest takes the CPU: use a quieter machine, or one with its own cores",
)  # fmt: skip
_THROTTLED: _About = (
    0.01, 0.10, "time in which a CPU limit kept this container from running",
    "raise the CPU limit of the container, or take it off",
)  # fmt: skip
_DESCRIPTORS: _About = (
    0.8, 0.95, "open descriptors of the allowed",
    "raise the limit (`ulimit -n`, or LimitNOFILE of the service), or use --processes 2",
)  # fmt: skip
_OUT_OF_RESOURCES: _About = (
    None, 0.0, "requests for which this machine had no file descriptor or no local port left, warm-up included",
    "raise `ulimit -n`, or open fewer connections: use keep-alive, fewer sessions, or --processes 2",
)  # fmt: skip
_MEMORY: _About = (None, None, "the most memory this load process had", "")
_DRIFT: _About = (
    0.001, 0.02, "wall clock against monotonic, worst second",
    "the clock was set or slewed during the run (NTP?): run again when it has settled",
)  # fmt: skip
_STAMPED: _About = (
    None, None, "answers whose end the kernel stamped; the others were stamped when the generator read them", ""
)  # fmt: skip
_ANSWERS: _About = (None, None, "answers received, warm-up included", "")
_SESSIONS: _About = (None, None, "client sessions open at the same time, at most", "")


def _reading(name: str, value: float | None, unit: str, about: _About, absent: str = "") -> Reading:
    suspect, invalid, meaning, advice = about
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "suspect": suspect,
        "invalid": invalid,
        "meaning": meaning,
        "advice": advice,
        "absent": absent if value is None else "",
    }


def _float(count: int | None) -> float | None:
    return None if count is None else float(count)


def raise_descriptor_limit() -> None:
    """Allow as many sockets as the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
