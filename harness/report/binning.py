"""Ledger rows -> the few thousand numbers a drawing can show. Nothing here is a statistic one may quote.

Instants are seconds since the first scheduled request of the run, durations milliseconds.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.ledger import measured, with_server_half
from harness.model import STAGES, TRANSFER, Phase

MOST_POINTS = 1500
"""Requests that are drawn one by one; more of them become a heatmap."""
TIME_BINS, LATENCY_BINS, SHARE_BINS, CURVE_POINTS = 90, 40, 60, 160
LEAST_PER_SHARE_BIN = 5
FASTEST_MS = 0.001  # where a logarithmic axis has to end


def requests_over_time(ledger: pd.DataFrame) -> pd.DataFrame:
    """Each request of every phase as `t_s, latency_ms, ok, phase`, in scheduled order."""
    known = ledger[ledger["latency_s"].notna()]
    frame = pd.DataFrame(
        {
            "t_s": since_start(known, ledger),
            "latency_ms": np.maximum(known["latency_s"].to_numpy(dtype=np.float64) * 1000, FASTEST_MS),
            "ok": known["ok"].to_numpy(dtype=bool),
            "phase": known["phase"].to_numpy(dtype=object),
        }
    )
    in_order: pd.DataFrame = frame[np.isfinite(frame["latency_ms"])].sort_values("t_s", ignore_index=True)
    return in_order


def since_start(rows: pd.DataFrame, ledger: pd.DataFrame) -> NDArray[np.float64]:
    """Scheduled instants of the rows, seconds since the first of the whole ledger."""
    # Subtract as integers: a float64 cannot tell nanoseconds since the epoch apart.
    instants = rows["scheduled_ns"].to_numpy(dtype=np.int64)
    return (instants - np.int64(ledger["scheduled_ns"].min())) / 1e9 if len(rows) else np.array([])


def unmeasured_bands(requests: pd.DataFrame) -> pd.DataFrame:
    """The stretches before and after the measured phase as `start_s, end_s, phase`."""
    inside = requests.loc[requests["phase"] == Phase.MEASURE.value, "t_s"]
    if inside.empty:
        return pd.DataFrame({"start_s": [], "end_s": [], "phase": []})
    last = float(requests["t_s"].max())
    bands = [(0.0, float(inside.min()), "warm-up"), (float(inside.max()), last, "drain")]
    present = set(requests["phase"])
    kept = [b for b in bands if b[1] > b[0] and b[2].replace("-", "") in present]
    return pd.DataFrame(kept, columns=["start_s", "end_s", "phase"])


def heatmap_cells(requests: pd.DataFrame) -> pd.DataFrame:
    """Counts of requests by time and logarithm of latency: `t0, t1, ms0, ms1, requests, failed`."""
    times = np.linspace(0.0, max(float(requests["t_s"].max()), 1e-9), TIME_BINS + 1)
    low, high = requests["latency_ms"].min(), requests["latency_ms"].max()
    edges = np.geomspace(low, max(high, low * 1.01) * 1.000001, LATENCY_BINS + 1)
    column = np.clip(np.searchsorted(times, requests["t_s"], side="right") - 1, 0, TIME_BINS - 1)
    row = np.clip(np.searchsorted(edges, requests["latency_ms"], side="right") - 1, 0, LATENCY_BINS - 1)
    failed = ~requests["ok"].to_numpy(dtype=bool)
    counted = pd.DataFrame({"column": column, "row": row, "failed": failed}).groupby(["column", "row"])["failed"]
    cells = counted.agg(requests="size", failed="sum").reset_index()
    return pd.DataFrame(
        {
            "t0": times[cells["column"]], "t1": times[cells["column"] + 1],
            "ms0": edges[cells["row"]], "ms1": edges[cells["row"] + 1],
            "requests": cells["requests"].astype(int), "failed": cells["failed"].astype(int),
        }
    )  # fmt: skip


def slices(requests: pd.DataFrame, parts: int = 12) -> pd.DataFrame:
    """Equal slices of time as `from_s, to_s, requests, failed, slowest_ms`, empty ones included."""
    end_s = max(float(requests["t_s"].max()), 1e-9)
    edges = np.linspace(0.0, end_s, parts + 1)
    which = np.clip(np.searchsorted(edges, requests["t_s"], side="right") - 1, 0, parts - 1)
    failed = np.bincount(which, weights=~requests["ok"].to_numpy(dtype=bool), minlength=parts).astype(int)
    slowest = requests["latency_ms"].groupby(which).max().reindex(range(parts))
    counted = np.bincount(which, minlength=parts)
    return pd.DataFrame(
        {"from_s": edges[:-1], "to_s": edges[1:], "requests": counted, "failed": failed, "slowest_ms": slowest}
    )


def stage_shares(ledger: pd.DataFrame, most_bins: int = SHARE_BINS) -> pd.DataFrame:
    """Share of each stage in the mean latency of a time bin: `t_s, stage, share, requests`; empty below two bins."""
    rows = with_server_half(ledger)
    bins = min(most_bins, len(rows) // LEAST_PER_SHARE_BIN)
    if bins < 2:
        return pd.DataFrame({"t_s": [], "stage": [], "share": [], "requests": []})
    at = since_start(rows, ledger)
    edges = np.linspace(at.min(), max(at.max(), at.min() + 1e-9), bins + 1)
    which = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, bins - 1)
    stages = shown_stages(rows)
    sums = rows[[f"{s}_s" for s in stages]].fillna(0.0).clip(lower=0.0).groupby(which).sum()
    sums = sums[sums.sum(axis=1) > 0]
    shares = sums.div(sums.sum(axis=1), axis=0)
    middle = (edges[:-1] + edges[1:]) / 2
    wide = shares.set_axis(list(stages), axis=1).assign(
        t_s=middle[shares.index], requests=np.bincount(which, minlength=bins)[shares.index]
    )
    return wide.melt(id_vars=["t_s", "requests"], var_name="stage", value_name="share")


def shown_stages(rows: pd.DataFrame) -> tuple[str, ...]:
    """The stages that hold any time, in order; `transfer` in one piece where its parts are not known apart."""
    whole = rows["upload_s"].isna().any()
    names = (
        ["transfer" if s == "upload" else s for s in STAGES if s not in ("connect", "download")] if whole else STAGES
    )
    return tuple(s for s in names if (rows[f"{s}_s"].fillna(0.0) > 0).any())


def survival_curve(ledger: pd.DataFrame) -> pd.DataFrame:
    """Share of measured requests at least this slow: `slower, ms, clock`; a failed request is slower than any.

    `clock` is `scheduled` (latency) or `start` (service time).
    """
    rows = measured(ledger)
    curves = [_curve(rows, column, clock) for column, clock in (("latency_s", "scheduled"), ("service_s", "start"))]
    return pd.concat(curves, ignore_index=True)


def _curve(rows: pd.DataFrame, column: str, clock: str) -> pd.DataFrame:
    n = len(rows)
    answered = rows.loc[rows["ok"].astype(bool), column].dropna().to_numpy(dtype=np.float64)
    ordered = np.sort(answered[np.isfinite(answered)])
    if not len(ordered):
        return pd.DataFrame({"slower": [], "ms": [], "clock": []})
    # Ranks from the slow end: every one of the slowest, ever fewer towards the fast ones.
    from_end = np.unique(np.geomspace(n - len(ordered) + 1, n, CURVE_POINTS).round().astype(int))
    values = np.maximum(ordered[n - from_end] * 1000, FASTEST_MS)
    return pd.DataFrame({"slower": from_end / n, "ms": values, "clock": clock})


assert set(TRANSFER) <= set(STAGES)  # noqa: S101 - `shown_stages` swaps the parts for the whole
