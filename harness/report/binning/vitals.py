"""Vitals with no more points than a drawing can show."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.views import VitalSeries

MOST_POINTS = 240


def points(series: VitalSeries) -> pd.DataFrame:
    """`t_s, value` in the order of time.

    What is not a number is left out, and what was before the first request: a service that starts is no load.
    """
    at, values = np.asarray(series.at_s, dtype=np.float64), np.asarray(series.values, dtype=np.float64)
    known = np.isfinite(at) & np.isfinite(values) & (at >= 0.0)
    frame = pd.DataFrame({"t_s": at[known], "value": values[known]})
    return frame.sort_values("t_s", kind="stable", ignore_index=True)


def thinned(frame: pd.DataFrame, most: int = MOST_POINTS) -> pd.DataFrame:
    """Of many points, the highest of each stretch of them: a peak is not to be lost."""
    if len(frame) <= most:
        return frame
    firsts = np.unique((np.arange(most) * len(frame)) // most)
    highest = np.maximum.reduceat(frame["value"].to_numpy(dtype=np.float64), firsts)
    return pd.DataFrame({"t_s": frame["t_s"].to_numpy()[firsts], "value": highest})
