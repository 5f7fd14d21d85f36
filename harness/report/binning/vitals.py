"""Vitals with no more points than a drawing can show."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.views import VitalSeries

MOST_POINTS = 240


def thinned(series: VitalSeries, most: int = MOST_POINTS) -> pd.DataFrame:
    """`t_s, value`; of many points, the highest of each slice of time. What is not a number is left out."""
    at, values = np.asarray(series.at_s, dtype=np.float64), np.asarray(series.values, dtype=np.float64)
    known = np.isfinite(at) & np.isfinite(values)
    at, values = at[known], values[known]
    order = np.argsort(at, kind="stable")
    at, values = at[order], values[order]
    if len(at) <= most:
        return pd.DataFrame({"t_s": at, "value": values})
    firsts = np.unique((np.arange(most) * len(at)) // most)
    return pd.DataFrame({"t_s": at[firsts], "value": np.maximum.reduceat(values, firsts)})
