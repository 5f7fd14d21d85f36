"""The percentile curve: latency against the share of requests that are slower."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis.statistics.survival import SurvivalBand, survival_band
from harness.ledger import measured

CURVE_POINTS = 160
FASTEST_MS = 0.001  # where a logarithmic axis has to end
Floats = NDArray[np.float64]


def survival_curves(ledger: pd.DataFrame, unended: int = 0) -> pd.DataFrame:
    """Percentiles of latency (with their band) and service time of the measured requests: `slower, ms, low_ms, high_ms,
    curve`.

    A failed request is slower than any, and so are those that never ended, of which the ledger has no row (`unended`).
    The curves begin at the 10th percentile and end where fewer than one request is slower. Empty without an answer.
    """
    rows = measured(ledger[["phase", "ok", "step", "latency_s", "service_s"]])
    ok, steps = rows["ok"].to_numpy(dtype=bool), rows["step"].to_numpy(dtype=np.int64)
    steps = np.concatenate([steps, np.full(unended, steps[-1] if len(steps) else 0)])
    curves = []
    for column, curve in (("latency_s", "latency"), ("service_s", "service")):
        values = np.where(ok, rows[column].to_numpy(dtype=np.float64), np.inf)
        series = np.concatenate([values, np.full(unended, np.inf)])
        known = ~np.isnan(series)
        curves.append(_curve(series[known], steps[known], curve))
    return pd.concat(curves, ignore_index=True)


def _curve(series: Floats, steps: NDArray[np.int64], curve: str) -> pd.DataFrame:
    answered = int(np.isfinite(series).sum())
    if not answered:
        return pd.DataFrame({"slower": [], "ms": [], "low_ms": [], "high_ms": [], "curve": []})
    shares = _shares(len(series), len(series) - answered)
    band = survival_band(series, shares, strata=steps) if curve == "latency" else _observed(series, shares)
    columns = {"ms": band.value, "low_ms": band.low, "high_ms": band.high}
    drawn = pd.DataFrame({"slower": shares, **{name: np.maximum(v * 1000, FASTEST_MS) for name, v in columns.items()}})
    return drawn.assign(curve=curve).dropna(subset=["ms"])


def _shares(n: int, failed: int) -> Floats:
    """Shares of slower requests, evenly on a logarithmic axis, down to where one of n is left, or only failed ones."""
    least = max(failed, 1) / n
    ranks = np.unique(np.geomspace(max(failed, 1), n, CURVE_POINTS).round()) / n
    shares: Floats = ranks[(ranks >= least) & (ranks <= max(0.9, least))]
    return shares if len(shares) else np.array([least])


def _observed(series: Floats, slower: Floats) -> SurvivalBand:
    """The quantiles alone."""
    ordered = np.sort(series)
    ranks = np.clip(np.ceil(len(ordered) * (1.0 - slower) - 1e-9).astype(np.int64), 1, len(ordered))
    value = np.where(np.isfinite(ordered[ranks - 1]), ordered[ranks - 1], np.nan)
    unknown = np.full(len(slower), np.nan)
    return SurvivalBand(slower, value, unknown, unknown)
