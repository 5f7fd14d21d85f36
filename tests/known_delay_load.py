"""The load on the known-delay service, and what its stopwatch is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tests.acceptance_support import WORK, beside, concluded, far, python_service, run, stopwatch, waited

CAPACITY = {
    "plain": 1 / 0.045,  # one of the two threads of the pool
    "pool": 1 / 0.040,  # the other one
    "async": 1 / 0.045,  # has no limit: as if it served one at a time
    "gather": 1 / 0.060,  # no limit either
    "threads": 1 / 0.045,  # no limit either
    "lock": 1 / 0.015,
    "batch": 2 / 0.030,  # two members, a window and a run
}
"""Requests per second each endpoint can answer, from its known lengths."""

LEVELS = (0.05, 0.80)
ABSOLUTE_S = 0.001
RELATIVE = 0.03
RESOURCES = (("lock", "model_lock"), ("pool", "threadpool"), ("plain", "threadpool"), ("batch", "batcher"),
             ("threads", "cache"))  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """One run: its folder, its ledger, and what the service itself timed, by trace id."""

    run_dir: Path
    ledger: pd.DataFrame
    timed: Mapping[str, Mapping[str, Any]]


def scenario(target: str, listen: str, per_step_s: float) -> dict[str, object]:
    """Poisson arrivals at 5 % and then at 80 % of every endpoint's capacity."""
    total = sum(CAPACITY.values())
    return {
        "scenario": "known-delay",
        "target": target,
        "requests": [{"name": k, "http": f"GET /{k}", "weight": round(v, 3)} for k, v in CAPACITY.items()],
        "load": {
            "arrivals": "poisson", "steps": [f"{total * level:.1f}/s" for level in LEVELS],
            "warmup": "1s", "duration": f"{per_step_s:g}s", "drain": "15s", "seed": 18,
        },
        "spans": {"listen": listen, "source": "otlp"},
    }  # fmt: skip


def measure(folder: Path, port: int, per_step_s: float) -> Measured:
    """Start the service, load it, take its stopwatch, stop it."""
    listen = f"127.0.0.1:{port}"
    with python_service("tests.known_delay_app", env={"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{listen}"}) as url:
        run_dir = run(folder, scenario(url, listen, per_step_s))
        timed = {watch["trace_id"]: watch for watch in stopwatch(url)}
    return Measured(run_dir, concluded(run_dir), timed)


@dataclass(frozen=True)
class Compared:
    """Means over the requests of one endpoint at one level, seconds."""

    endpoint: str
    step: int
    what: str  # a stage, or "waits for <resource>"
    n: int
    found_s: float
    expected_s: float

    @property
    def holds(self) -> bool:
        return not far(self.found_s, self.expected_s, ABSOLUTE_S, RELATIVE)

    def __str__(self) -> str:
        return (
            f"{self.endpoint:8} {LEVELS[self.step]:4.0%} {self.what:20} n={self.n:5} "
            f"{self.found_s * 1e3:9.3f} ms, stopwatch {self.expected_s * 1e3:9.3f} ms"
        )


def stages_compared(measured: Measured) -> list[Compared]:
    """Every stage of every endpoint at both levels, ledger beside stopwatch."""
    rows = beside(measured.ledger[measured.ledger["phase"] == "measure"], list(measured.timed.values()))
    return [
        Compared(endpoint, step, stage, len(part), part[f"{stage}_s"].mean(), part[f"expected_{stage}_s"].mean())
        for (endpoint, step), part in rows.groupby(["name", "step"])
        for stage in WORK
    ]


def waits_compared(measured: Measured) -> list[Compared]:
    """The waits that ought to name their resource: waits.parquet beside the stopwatch, per request."""
    waits = pd.read_parquet(measured.run_dir / "waits.parquet")
    rows = measured.ledger[measured.ledger["phase"] == "measure"]
    found = []
    for endpoint, resource in RESOURCES:
        per_request = waits[waits["resource"] == resource].groupby("request_id")["duration_s"].sum()
        for step, part in rows[rows["name"] == endpoint].groupby("step"):
            seen = part["request_id"].map(per_request).fillna(0.0).mean()
            own = _mean([waited(measured.timed[trace_id], resource) for trace_id in part["trace_id"]])
            found.append(Compared(endpoint, step, f"waits for {resource}", len(part), seen, own))
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
