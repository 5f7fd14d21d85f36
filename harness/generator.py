"""What this machine's load generator can hold: short runs of it against a server that does nothing.

The null server is a limit itself: when it is busy all the time, what was found is "at least".
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from harness.chunks import read_chunks
from harness.errors import HarnessError, Interrupted, NothingMeasured
from harness.interrupt import Interrupt
from harness.load import launch, null_server
from harness.load.order import Order
from harness.model import (
    Arrivals,
    BodySpec,
    DoneSource,
    LoadProfile,
    Phase,
    RequestSpec,
    Sample,
    Scenario,
    SpanSpec,
    Step,
)

USERS = 16
CALM_PER_S = 100.0
LATENESS_LIMIT_S = 0.005
"""Where the health of a run turns suspect."""
BUSY = 0.9
"""Share of its core from which a server counts as the limit."""
STAIRS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Open-loop rates tried first, as shares of what the closed loop reached."""
_BODY = '{"text": "a small request, about as long as what a client sends to ask for one thing", "n": 12345678}'
_DRAIN_S = 1.0
_POLL_S = 0.1
_END_S = 10.0


@dataclass(frozen=True, slots=True)
class Lengths:
    """Seconds of each part; refining ends when `enough_s` have passed since the start."""

    warmup_s: float = 0.5
    closed_s: float = 2.5
    calm_s: float = 3.0
    stair_s: float = 0.7
    probe_s: float = 2.5
    enough_s: float = 24.0


LENGTHS = Lengths()


@dataclass(frozen=True, slots=True)
class Stretch:
    """One stretch of steady load. `offered` is per second, None of a closed loop; lateness: scheduled -> taken."""

    offered: float | None
    requests: int
    ok: int
    per_s: float
    lateness_p50_s: float | None
    lateness_p99_s: float | None

    @property
    def held(self) -> bool:
        """Every request in time and answered."""
        late = self.lateness_p99_s
        return 0 < self.requests == self.ok and late is not None and late < LATENESS_LIMIT_S


@dataclass(frozen=True, slots=True)
class Probe:
    """One run of the generator. `cpu_us` per request; `server_busy` is a share of one core."""

    stretches: tuple[Stretch, ...]
    cpu_us: float | None
    server_busy: float
    kernel_stamped: float


@dataclass(frozen=True, slots=True)
class Machine:
    """What the generator stands on. Shares, None where the system does not say: `others` of all cores that other
    processes used meanwhile, `stolen` of all cores by other machines, `throttled` of the time."""

    cores: int
    descriptors: int
    timer: str
    others: float | None
    stolen: float | None
    throttled: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """The finished table. `held` is the highest open-loop stretch that was held, None when not even the lowest was."""

    closed: Probe
    calm: Probe
    held: Stretch | None
    held_by_server: bool  # the null server was busy all the time when more was asked: "at least"
    machine: Machine
    took_s: float


def calibrate(lengths: Lengths, interrupt: Interrupt, say: Callable[[str], None]) -> Calibration:
    """Measure. Raises Interrupted, NothingMeasured."""
    began, before = time.monotonic(), _used_s()
    own, other = _cores()
    with null_server.running(other) as server:
        bench = _Bench(server, own, lengths, interrupt)
        say(f"closed loop, {USERS} users, {lengths.closed_s:g} s ...")
        closed = bench.probe(_load(Arrivals.USERS, [USERS], lengths.closed_s, lengths.warmup_s))
        say(f"open loop, {CALM_PER_S:g}/s, {lengths.calm_s:g} s ...")
        calm = bench.probe(_load(Arrivals.POISSON, [CALM_PER_S], lengths.calm_s, lengths.warmup_s))
        say("open loop, the highest rate: a few short runs ...")
        held, by_server = _highest(bench, closed.stretches[0].per_s, began + lengths.enough_s)
    took_s = time.monotonic() - began
    return Calibration(closed, calm, held, by_server, _machine(before, took_s), took_s)


def _highest(bench: _Bench, closed_per_s: float, until: float) -> tuple[Stretch | None, bool]:
    """Stairs up to the closed loop's rate; then the highest stair that was held is confirmed, or lowered, and the way
    to the next one halved. Also whether the null server was the limit."""
    lengths = bench.lengths
    rates = [closed_per_s * share for share in STAIRS]
    stairs = bench.probe(_load(Arrivals.POISSON, rates, lengths.stair_s, lengths.warmup_s))
    climbed = [rate for rate, stretch in zip(rates, stairs.stretches, strict=True) if stretch.held]
    trial = max(climbed, default=rates[0] / 2)
    too_high = min((rate for rate in rates if rate > trial), default=rates[-1] * 1.2)
    limited = stairs.server_busy > BUSY
    best: Stretch | None = None
    while (best is None or too_high / trial > 1.04) and trial >= 1.0:
        tried = bench.twice(_load(Arrivals.POISSON, [trial], lengths.probe_s, lengths.warmup_s), until)
        if tried.stretches[0].held:
            best = tried.stretches[0]
        else:
            too_high, limited = trial, tried.server_busy > BUSY
        if time.monotonic() > until:
            break
        trial = trial / 1.4 if best is None or best.offered is None else (best.offered + too_high) / 2
    return best, limited


# --- one run -----------------------------------------------------------------------------------------------


def _load(arrivals: Arrivals, levels: list[float], each_s: float, warmup_s: float) -> LoadProfile:
    steps = tuple(Step(level, each_s) for level in levels)
    return LoadProfile(arrivals, steps, warmup_s, _DRAIN_S, seed=1)


@dataclass(frozen=True, slots=True)
class _Bench:
    server: null_server.NullServer
    cores: frozenset[int] | None
    lengths: Lengths
    interrupt: Interrupt

    def probe(self, load: LoadProfile) -> Probe:
        """One run of the generator under `load`."""
        request = RequestSpec("null", "POST", "/", body=BodySpec(json=_BODY))
        spans = SpanSpec(listen=None, source="none")
        scenario = Scenario("generator", self.server.url, (request,), None, load, spans, ())
        used = _cpu_s(self.server.pid)
        with TemporaryDirectory(prefix="harness-generator-") as folder:
            end = self._drive(Order(scenario, folder, "generator"))
            samples = read_chunks(sorted(Path(folder).glob("samples*.arrows")), Sample)
        return _probe_of(load, end, samples, _cpu_s(self.server.pid) - used)

    def twice(self, load: LoadProfile, until: float) -> Probe:
        """The same, once more when it was not held: a hiccup of the machine is not a limit of the generator."""
        first = self.probe(load)
        return first if first.stretches[0].held or time.monotonic() > until else self.probe(load)

    def _drive(self, order: Order) -> dict[str, Any]:
        """The load process from start to end; its last word."""
        child = launch.start(order)
        try:
            if self.cores:
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(child.pid, self.cores)
            return self._end_of(child)
        finally:
            child.kill()
            child.wait(_END_S)

    def _end_of(self, child: launch.LoadProcess) -> dict[str, Any]:
        while not child.over:
            for event in child.events(_POLL_S):
                if event["kind"] == "end":
                    child.wait(_END_S)
                    return event
                if event["kind"] == "failed":
                    raise NothingMeasured(event["message"], event["hint"])
            if self.interrupt.stop:
                raise Interrupted("interrupted: the calibration is not finished")
        raise HarnessError("the load process ended without a word")


def _probe_of(load: LoadProfile, end: dict[str, Any], samples: pa.Table, server_s: float) -> Probe:
    column = {name: samples.column(name).to_numpy() for name in ("scheduled_ns", "start_ns", "done_user_ns", "step")}
    if not samples.num_rows:
        raise NothingMeasured("the load process sent no request to the null server", "look for what else runs here")
    measured = samples.column("phase").to_numpy() == Phase.MEASURE.value
    status = samples.column("status").to_numpy(zero_copy_only=False)
    late_s = (column["start_ns"] - column["scheduled_ns"]) / 1e9
    stretches = []
    for number, step in enumerate(load.steps):
        rows = measured & (column["step"] == number)
        ok = int((status[rows] == 200).sum())
        late = late_s[rows] if load.arrivals is not Arrivals.USERS and rows.any() else None
        stretches.append(_stretch(load, step, int(rows.sum()), ok, late))
    awake_s = float(column["done_user_ns"].max() - column["start_ns"].min()) / 1e9
    stamped = float((samples.column("done_source").to_numpy() == DoneSource.KERNEL.value).mean())
    return Probe(tuple(stretches), _cpu_us(end, int(measured.sum())), server_s / max(awake_s, 1e-3), stamped)


def _stretch(load: LoadProfile, step: Step, requests: int, ok: int, late_s: Any) -> Stretch:
    offered = None if load.arrivals is Arrivals.USERS else step.level
    p50, p99 = (None, None) if late_s is None else (float(q) for q in np.quantile(late_s, (0.5, 0.99)))
    return Stretch(offered, requests, ok, ok / step.duration_s, p50, p99)


def _cpu_us(end: dict[str, Any], requests: int) -> float | None:
    """CPU of the load process per measured request, by its own reading of the measured phase."""
    share = next((r["value"] for r in end["readings"] if r["name"] == "cpu"), None)
    if share is None or not requests:
        return None
    return float(share) * float(end["ended_ns"] - end["measured_from_ns"]) / 1e3 / requests


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


# --- the machine -------------------------------------------------------------------------------------------


def _cores() -> tuple[frozenset[int] | None, int | None]:
    """Cores for the generator, and one of its own for the null server, when there are two."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    usable = sorted(os.sched_getaffinity(0))
    return (frozenset(usable[:-1]), usable[-1]) if len(usable) > 1 else (None, None)


def _machine(before: dict[str, float], took_s: float) -> Machine:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    used = {name: (value - before[name]) / took_s for name, value in _used_s().items() if name in before}
    own = used.pop("own")
    all_cores = os.cpu_count() or 1  # /proc/stat counts those of the machine, not of the container
    others = max(0.0, used["busy"] - own) / all_cores if "busy" in used else None
    stolen = used["stolen"] / all_cores if "stolen" in used else None
    timer = "timerfd" if sys.platform == "linux" else "gevent, rounded to milliseconds"
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return Machine(cores, hard, timer, others, stolen, used.get("throttled"))


def _used_s() -> dict[str, float]:
    """Seconds so far, as far as the system says: used by this process and its ended children, by everything on this
    machine, taken by other machines, and by the limit of this container."""
    return dict(_used())


def _used() -> Iterator[tuple[str, float]]:
    yield "own", sum(os.times()[:4])
    with contextlib.suppress(OSError, ValueError, IndexError):  # Linux: proc(5), the line "cpu"
        first = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
        user, nice, system, _idle, _wait, irq, softirq, stolen = (int(ticks) for ticks in first.split()[1:9])
        yield "busy", (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
        yield "stolen", stolen / os.sysconf("SC_CLK_TCK")
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/sys/fs/cgroup/cpu.stat").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(" ")
            if name == "throttled_usec":
                yield "throttled", int(value) / 1e6
