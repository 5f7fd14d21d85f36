"""Facts made by hand or from a simulated queue, for tests of the catalogue of causes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from simulated_queues import RESOURCE, T0, Simulated, ledger_rows

from harness.analysis.facts import Facts
from harness.analysis.stages import model_findings, stage_findings, wait_findings
from harness.analysis.statistics.quantiles import latency_findings
from harness.diagnosis import Steadiness, StepFindings, WorkFindings
from harness.estimates import Estimate
from harness.findings import Counts, Health, HealthState, LatencyFindings, Reading
from harness.model import STAGES, Arrivals, Phase, Split

NOTHING = Estimate(None, None, None, 0, refusal="not asked for")
NO_LATENCY = LatencyFindings(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, None)
RATE = 10.0


def rows_of(n: int = 200, seed: int = 1, rate: float = RATE, **stages_ms: Any) -> pd.DataFrame:
    """Measured ledger rows of Poisson arrivals. Each stage is a number of ms for all requests, or one for each."""
    random = np.random.default_rng(seed)
    columns = {f"{stage}_s": np.zeros(n) for stage in STAGES}
    for stage, ms in stages_ms.items():
        columns[f"{stage}_s"] = np.broadcast_to(np.asarray(ms, float) / 1e3, n).copy()
    latency = np.nansum(list(columns.values()), axis=0)
    return pd.DataFrame(
        {
            "request_id": np.arange(n), "trace_id": [f"{i:032x}" for i in range(1, n + 1)], "name": "read",
            "phase": Phase.MEASURE.value, "step": 0, "ok": True, "split": Split.MARKS.value,
            "latency_s": latency, "service_s": latency - columns["backlog_s"], **columns,
            "transfer_s": columns["connect_s"] + columns["upload_s"] + columns["download_s"], "clipped_s": 0.0,
            "scheduled_ns": T0 + np.rint(np.cumsum(random.exponential(1 / rate, n)) * 1e9).astype(np.int64),
        }
    )  # fmt: skip


def waits_of(rows: pd.DataFrame, resource: str, ms: Any = None, kind: str | None = None) -> pd.DataFrame:
    """A wait of each request at the begin of its queue; without `ms` as long as its queue."""
    seconds = rows["queue_s"].to_numpy() if ms is None else np.broadcast_to(np.asarray(ms, float) / 1e3, len(rows))
    before = rows[["backlog_s", "connect_s", "upload_s"]].sum(axis=1).to_numpy()
    return pd.DataFrame(
        {
            "request_id": rows["request_id"].to_numpy(), "resource": resource,
            "start_ns": rows["scheduled_ns"].to_numpy() + np.rint(before * 1e9).astype(np.int64),
            "duration_s": seconds, "batch_id": None, "kind": kind,
        }
    )  # fmt: skip


def calls_of(rows: pd.DataFrame, **models_ms: float) -> pd.DataFrame:
    """One call of each model by each request."""
    parts = [
        pd.DataFrame(
            {
                "request_id": rows["request_id"].to_numpy(), "model": model, "call": 0,
                "start_ns": rows["scheduled_ns"].to_numpy(), "duration_s": ms / 1e3, "batch_id": None,
                "batch_size": pd.array([None] * len(rows), dtype="Int64"),
            }
        )
        for model, ms in models_ms.items()
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True) if parts else calls_of(rows.iloc[:0], none=0.0)


def vitals_of(seconds: int = 12, process: str = "service/1", **figures: Any) -> pd.DataFrame:
    """Readings once a second; `cpu` and `limit` are cores, `lag_ms` the event loop's, others by name with _ for a dot.

    Each is a number for all readings, or one for each."""
    names = {
        "cpu": ("process.cpu.utilization", 1.0), "limit": ("harness.cpu.limit", 1.0),
        "lag_ms": ("harness.event_loop.lag", 1e-3), "memory": ("process.memory.usage", 1.0),
        "threads": ("process.thread.count", 1.0), "pool_size": ("harness.threadpool.size", 1.0),
        "pool_in_use": ("harness.threadpool.in_use", 1.0), "gc_ms": ("harness.gc.pause", 1e-3),
    }  # fmt: skip
    parts = [
        pd.DataFrame(
            {
                "at_ns": T0 + (np.arange(seconds) + 1) * 1_000_000_000, "process": process, "name": names[figure][0],
                "value": np.broadcast_to(np.asarray(values, float), seconds) * names[figure][1],
            }
        )
        for figure, values in figures.items()
    ]  # fmt: skip
    return pd.concat(parts or [pd.DataFrame({"at_ns": [], "process": [], "name": [], "value": []})], ignore_index=True)


def attributes_of(rows: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    """Names, and what is given; bytes are 20 kB up and 1 kB down otherwise."""
    n = len(rows)
    known = {"bytes_sent": 20_000.0, "bytes_received": 1_000.0, **columns}
    return pd.DataFrame(
        {"name": pd.Categorical(rows["name"]), **{k: np.broadcast_to(np.asarray(v), n) for k, v in known.items()}},
        index=rows.index,
    )


def worked(stage: str, wall_ms: float, busy: float, n: int = 200) -> WorkFindings:
    return WorkFindings(stage, n, wall_ms / 1e3, wall_ms * busy / 1e3, busy)


def a_step(state: Steadiness = Steadiness.STEADY, **changes: Any) -> StepFindings:
    known = StepFindings(
        step=0, level=RATE, scheduled=200, ok=200, failed=NOTHING, offered_per_s=RATE, completed_per_s=RATE,
        state=state, sentence=f"The step is {state.value}.", settled_after_s=None, drift=None, latency=NO_LATENCY,
        answered=NO_LATENCY, stages=(), in_flight=None, gauge=None,
    )  # fmt: skip
    return replace(known, **changes)


def a_reading(name: str, value: float | None, suspect: float | None = 0.005, invalid: float | None = 0.05) -> Reading:
    return Reading(name, value, "s", suspect, invalid, "what it means", "what to do")


def facts_of(rows: pd.DataFrame, **changes: Any) -> Facts:
    """What the analysis would find of these rows; whatever is given replaces it."""
    waits = changes.get("waits", waits_of(rows.iloc[:0], "none", 0.0))
    calls = changes.get("calls", calls_of(rows))
    n = len(rows)
    lasted = float(np.ptp(rows["scheduled_ns"])) / 1e9 if n > 1 else 0.0
    latency = latency_of(rows)
    counts = Counts(n, n, n, 0, 0, 0, (), (("marks", n),), RATE, n / lasted if lasted > 0 else None)
    known: dict[str, Any] = {
        "arrivals": Arrivals.POISSON, "counts": counts, "latency": latency, "service": latency,
        "stages": stage_findings(rows), "models": model_findings(calls, rows), "resources": wait_findings(waits, rows),
        "steps": (a_step(),), "work": (), "growth": (), "tail": None, "blame": (), "contrasts": (),
        "health": Health(HealthState.HEALTHY, (), ()), "warnings": (), "rows": rows,
        "attributes": attributes_of(rows), "waits": waits, "calls": calls, "vitals": vitals_of(),
    }  # fmt: skip
    return Facts(**{**known, **changes})


def latency_of(rows: pd.DataFrame) -> LatencyFindings:
    return latency_findings(rows["latency_s"].to_numpy()) if len(rows) else NO_LATENCY


def simulated_facts(simulated: Simulated, **changes: Any) -> Facts:
    """Facts of a simulated pool: its rows, and its waits for a thread."""
    rows = ledger_rows(simulated)
    return facts_of(rows, **{"waits": waits_of(rows, RESOURCE), **changes})
