"""The percentile curve: latency against the share of requests that are slower."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.ledger import measured

CURVE_POINTS = 160
FASTEST_MS = 0.001  # where a logarithmic axis has to end


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
