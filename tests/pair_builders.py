"""Pairs of runs made by hand, and a comparison around them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.comparison import PairFindings, SideRun
from harness.interrupt import Interrupt
from harness.model import Arrivals, LoadProfile, RequestSpec, Scenario, SpanSpec, Step
from harness.pairs import Bench, Side, paired
from harness.run_folder import RunFolder

STAGES = (("upload", 0.001), ("queue", 0.002), ("inference", 0.010), ("other", 0.001))


def scenario(arrivals: Arrivals = Arrivals.POISSON) -> Scenario:
    load = LoadProfile(arrivals, (Step(10.0, 20.0),), warmup_s=2.0, drain_s=5.0, seed=7)
    return Scenario(
        "identify", "http://127.0.0.1:1", (RequestSpec("r", "GET", "/"),), None, load, SpanSpec(listen=None), ()
    )


def bench(folder: Path, of: Scenario | None = None) -> Bench:
    """Two URLs that nobody asks."""
    sides = (Side(name, target=f"http://{name.lower()}:1") for name in "AB")
    return Bench(of or scenario(), *sides, RunFolder(folder), lambda event: None, Interrupt(), lambda said: None)


def run(scale: float = 1.0, *, n: int = 200, failed: int = 0, inference: float | None = None) -> SideRun:
    """A run whose figures are `scale` times 10, 20, 30 and 12 ms; its inference takes that much longer, or as told."""
    values = (("p50", 0.010), ("p95", 0.020), ("p99", 0.030), ("mean", 0.012))
    stages = tuple((name, mean * scale if name == "inference" else mean) for name, mean in STAGES)
    made = SideRun(
        run_id="20261122T000000Z-identify",
        n=n,
        failed=failed,
        values=(*((name, scale * value) for name, value in values), ("throughput", 10.0)),
        stages=stages,
        models=(("det", scale * 0.008), ("rec", 0.002)),
        unstable=False,
        invalid=(),
    )
    if inference is None:
        return made
    return replace(made, stages=tuple((name, inference if name == "inference" else mean) for name, mean in stages))


JITTER = (1.00, 1.01, 0.99, 1.02, 0.98, 1.00, 1.01, 0.99, 1.00)
"""What nine pairs of the same thing may differ by."""


def pairs(count: int, slow_down: float = 1.0, b_failed: int = 0) -> list[PairFindings]:
    """Pairs in which B is so much slower than A."""
    return [
        paired(number, "AB" if number % 2 else "BA", run(1.0), run(slow_down * JITTER[number - 1], failed=b_failed))
        for number in range(1, count + 1)
    ]


def broken(number: int) -> PairFindings:
    """A pair that does not count."""
    return paired(number, "AB", replace(run(), invalid=("the generator was late",)), run())
