"""Our generator over its full path: an order to a load process, samples read back from the run folder."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.chunks import read_chunks
from harness.load import launch
from harness.load.order import Order
from harness.model import Arrivals, BodySpec, LoadProfile, Phase, RequestSpec, Sample, Scenario, SpanSpec, Step
from support.cores import GENERATOR, pin
from support.meter import Meter

BODY = '{"document": "a small request, about as long as what a client sends to ask", "page": 1, "language": "en"}'
POST = RequestSpec("small", "POST", "/", body=BodySpec(json=BODY))
_COLUMNS = ["phase", "step", "scheduled_ns", "start_ns", "connected_ns", "send_ns", "done_ns", "done_user_ns",
            "done_source", "status", "error", "censored", "attempts"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ran:
    """One run: its measured samples, the load process's last word, and what it used in the measured time."""

    samples: pd.DataFrame
    end: dict[str, Any]
    seconds: float
    cpu_s: float
    start_mib: float
    peak_mib: float
    server_cpu_s: float | None

    @property
    def requests(self) -> int:
        """Answered with 200."""
        return int((self.samples.status == 200).sum())

    @property
    def all_ok(self) -> bool:
        """Every arrival whose time came has a sample, and each of them an answer with 200."""
        return self.requests == len(self.samples) and int(self.end["scheduled"]) <= int(self.end["sent"])

    @property
    def late_s(self) -> np.ndarray[Any, Any]:
        """Scheduled -> a session took it, of each sample."""
        return ((self.samples.start_ns - self.samples.scheduled_ns) / 1e9).to_numpy()

    def reading(self, name: str) -> float | None:
        """One of the load process's readings about itself."""
        return next((r["value"] for r in self.end["readings"] if r["name"] == name), None)


def users(count: int, seconds: float, warmup_s: float = 1.0) -> LoadProfile:
    """A closed loop without think time."""
    return LoadProfile(Arrivals.USERS, (Step(count, seconds),), warmup_s, 5.0, seed=1)


def arrivals(
    rate: float, seconds: float, kind: Arrivals = Arrivals.POISSON, warmup_s: float = 1.0, seed: int = 1
) -> LoadProfile:
    """An open loop at one rate."""
    return LoadProfile(kind, (Step(rate, seconds),), warmup_s, 10.0, seed)


def run(
    target: str, load: LoadProfile, request: RequestSpec = POST, server_pid: int | None = None, keep: bool = True
) -> Ran:
    """Drive the target from the generator's core. `keep` False: its samples are not read."""
    scenario = Scenario("bench", target, (request,), None, load, SpanSpec(listen=None, source="none"), ())
    with tempfile.TemporaryDirectory(prefix="bench-run-") as folder:
        child = launch.start(Order(scenario, folder, "bench"))
        pin(child.pid, GENERATOR)
        watched = {"load": child.pid, **({"server": server_pid} if server_pid else {})}
        with Meter(watched) as meter:
            try:
                end = _end_of(child)
            finally:
                child.kill()
                child.wait(10)
        samples = _samples(Path(folder)) if keep else pd.DataFrame()
    window = end["measured_from_ns"], end["measured_until_ns"]
    server = meter.cpu_s("server", *window) if server_pid else None
    seconds = (window[1] - window[0]) / 1e9
    cpu_s, start_mib = meter.cpu_s("load", *window), meter.mib_at("load", window[0])
    return Ran(samples, end, seconds, cpu_s, start_mib, meter.peak_mib("load"), server)


def _end_of(child: launch.LoadProcess) -> dict[str, Any]:
    while not child.over:
        for event in child.events(0.5):
            if event["kind"] == "failed":
                raise SystemExit(f"{event['message']}\n{event['hint']}")
            if event["kind"] == "end":
                child.wait(10)
                return event
    raise SystemExit("the load process ended without a word")


def _samples(folder: Path) -> pd.DataFrame:
    table = read_chunks(sorted(folder.glob("samples*.arrows")), Sample).select(_COLUMNS)
    frame: pd.DataFrame = table.to_pandas()
    return frame[frame.phase == Phase.MEASURE.value]
