"""Requests over time: each with its instant, and what happened in equal slices of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.model import Phase
from harness.report.binning.curve import FASTEST_MS

LEAST_S = 1e-9
"""The shortest run: an axis has two ends."""
MOST_TURNS = 10_000
"""Changes of the load step that are looked at: steps follow each other, so that there are as many as steps."""
Floats = NDArray[np.float64]


def requests_over_time(ledger: pd.DataFrame) -> pd.DataFrame:
    """Each request of every phase as `t_s, latency_ms, ok, phase`, in scheduled order.

    Those whose latency is not known, or has no end, are left out. `step` and `request_id` come along where they are.
    """
    latency = ledger["latency_s"].to_numpy(dtype=np.float64)
    known = np.isfinite(latency)
    rows = ledger if known.all() else ledger[known]
    frame = pd.DataFrame(
        {
            "t_s": since_start(rows, ledger),
            "latency_ms": np.maximum(latency[known] * 1000, FASTEST_MS),
            "ok": rows["ok"].to_numpy(dtype=bool),
            "phase": rows["phase"].array,
            **{name: rows[name].to_numpy(dtype=np.int64) for name in ("step", "request_id") if name in rows},
        }
    )
    if frame["t_s"].is_monotonic_increasing:
        return frame
    return frame.sort_values("t_s", ignore_index=True)


def since_start(rows: pd.DataFrame, ledger: pd.DataFrame) -> Floats:
    """Scheduled instants of the rows, seconds since the first of the whole ledger."""
    # Subtract as integers: a float64 cannot tell nanoseconds since the epoch apart.
    instants = rows["scheduled_ns"].to_numpy(dtype=np.int64)
    return (instants - np.int64(ledger["scheduled_ns"].min())) / 1e9 if len(rows) else np.array([])


def end_of(requests: pd.DataFrame) -> float:
    """Where the time axis of these requests ends, seconds."""
    return max(float(requests["t_s"].max()), LEAST_S)


def bin_of(t_s: Floats, end_s: float, bins: int) -> NDArray[np.int64]:
    """Which of so many equal slices of [0, end_s] each instant is in."""
    return np.clip((t_s * (bins / end_s)).astype(np.int64), 0, bins - 1)


def unmeasured_bands(requests: pd.DataFrame) -> pd.DataFrame:
    """The stretches before and after the measured phase as `start_s, end_s, phase`."""
    at, inside = requests["t_s"].to_numpy(), _measured(requests)
    if not inside.any():
        return pd.DataFrame({"start_s": [], "end_s": [], "phase": []})
    first, last = at[inside.argmax()], at[len(at) - 1 - inside[::-1].argmax()]
    bands = [(0.0, float(first), "warm-up"), (float(last), float(at[-1]), "drain")]
    present = set(requests["phase"].unique())
    kept = [b for b in bands if b[1] > b[0] and b[2].replace("-", "") in present]
    return pd.DataFrame(kept, columns=["start_s", "end_s", "phase"])


def _measured(requests: pd.DataFrame) -> NDArray[np.bool_]:
    return (requests["phase"] == Phase.MEASURE.value).to_numpy(dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Border:
    """Where a load step begins."""

    step: int
    start_s: float


def borders(requests: pd.DataFrame) -> tuple[Border, ...]:
    """The first measured request of each load step, in their order; none for a single step."""
    if "step" not in requests:
        return ()
    inside = _measured(requests)
    steps, at = requests["step"].to_numpy()[inside], requests["t_s"].to_numpy()[inside]
    turns = np.concatenate([[0], np.flatnonzero(np.diff(steps)) + 1]) if len(steps) else np.empty(0, np.int64)
    found: dict[int, float] = {}
    for turn in turns[:MOST_TURNS]:
        found.setdefault(int(steps[turn]), float(at[turn]))
    return tuple(Border(step, found[step]) for step in sorted(found)) if len(found) > 1 else ()


def scheduled_rate(requests: pd.DataFrame, bins: int) -> pd.DataFrame:
    """Requests scheduled per second in equal slices of time: `t0, t1, per_s`."""
    end_s = end_of(requests)
    edges = np.linspace(0.0, end_s, bins + 1)
    counts = np.bincount(bin_of(requests["t_s"].to_numpy(), end_s, bins), minlength=bins)
    return pd.DataFrame({"t0": edges[:-1], "t1": edges[1:], "per_s": counts / (end_s / bins)})


def failed_over_time(requests: pd.DataFrame, bins: int) -> pd.DataFrame:
    """The slices of time in which requests failed: `t0, t1, failed`."""
    end_s = end_of(requests)
    edges = np.linspace(0.0, end_s, bins + 1)
    at = requests["t_s"].to_numpy()[~requests["ok"].to_numpy(dtype=bool)]
    counts = np.bincount(bin_of(at, end_s, bins), minlength=bins)
    hit = np.flatnonzero(counts)
    return pd.DataFrame({"t0": edges[hit], "t1": edges[hit + 1], "failed": counts[hit]})


def slices(requests: pd.DataFrame, parts: int = 12) -> pd.DataFrame:
    """Equal slices of time as `from_s, to_s, requests, failed, slowest_ms`, empty ones included.

    The slowest is the slowest one answered as expected.
    """
    end_s = end_of(requests)
    edges = np.linspace(0.0, end_s, parts + 1)
    at, ok = requests["t_s"].to_numpy(), requests["ok"].to_numpy(dtype=bool)
    which = bin_of(at, end_s, parts)
    counted, answered = (np.bincount(rows, minlength=parts) for rows in (which, which[ok]))
    firsts = np.concatenate([[0], np.cumsum(counted)[:-1]])
    latency = np.append(np.where(ok, requests["latency_ms"].to_numpy(), -np.inf), -np.inf)  # a last slice may be empty
    slowest = np.where(answered > 0, np.maximum.reduceat(latency, firsts), np.nan)
    return pd.DataFrame(
        {
            "from_s": edges[:-1], "to_s": edges[1:], "requests": counted, "failed": counted - answered,
            "slowest_ms": slowest,
        }
    )  # fmt: skip
