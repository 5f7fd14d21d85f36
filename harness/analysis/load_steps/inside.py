"""How many requests were inside the service: by Little's law, and by the service's own count.

L = X R (Little, Operations Research 9, 1961): the mean number inside is the rate of answers times the mean time inside.
The answers know X and R; the service counts L by itself. Where the two differ, requests were lost or counted twice,
others use the service too, or a clock is off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis.statistics.quantiles import effective_size
from harness.model import SERVER_STAGES

Values = NDArray[np.float64]

GAUGE = "harness.requests.in_flight"

_INSIDE = (*SERVER_STAGES, "other")
_APART = 0.25
_LEAST_READINGS = 10
_SURE = 3.0  # standard errors
_NEARLY_ALL = 0.98  # of the requests, below which nobody knows how long the others were inside


@dataclass(frozen=True, slots=True)
class Inside:
    """Mean numbers of requests inside the service; `doubt` says that the two cannot both be right."""

    in_flight: float | None
    gauge: float | None
    doubt: str | None = None


def inside(stages: Mapping[str, Values], vitals: pd.DataFrame, per_s: float | None, ok_share: float) -> Inside:
    """The two counts of one step.

    `stages` are the seconds of each known stage of its requests with server half, in time order; `vitals` are those of
    the step; `per_s` its ok answers per second and `ok_share` their share of its requests.
    """
    own = vitals[(vitals["name"] == GAUGE).to_numpy()]
    gauge, gauge_error = _gauge(own)
    known = [stages[stage] for stage in _INSIDE if stage in stages]
    if per_s is None or "other" not in stages:
        return Inside(None, gauge)
    inside_s: Values = np.sum(known, axis=0)
    in_flight = per_s * float(inside_s.mean())
    if gauge is None or gauge_error is None or ok_share < _NEARLY_ALL:
        return Inside(in_flight, gauge)
    error = math.hypot(gauge_error, per_s * _standard_error(inside_s))
    apart = abs(gauge - in_flight)
    if apart <= max(_APART * in_flight, _SURE * error) or apart < _APART:
        return Inside(in_flight, gauge)
    why = "others use it too, or requests were lost" if gauge > in_flight else "its counter or a clock is off"
    doubt = f"the service counted {gauge:.3g} requests inside at a time, its answers account for {in_flight:.3g}: {why}"
    return Inside(in_flight, gauge, doubt)


def _gauge(own: pd.DataFrame) -> tuple[float | None, float | None]:
    """The mean of the service's own count, summed over its processes, and its standard error; None when not sent.

    It is read about once a second, so that a few readings know little; the error is None when there are too few.
    """
    mean, variance, readings = 0.0, 0.0, []
    for _, group in own.sort_values("at_ns").groupby("process", sort=False, dropna=False):
        values = group["value"].to_numpy(dtype=np.float64)
        values = values[np.isfinite(values)]
        if len(values):
            mean += float(values.mean())
            variance += _standard_error(values) ** 2
            readings.append(len(values))
    if not readings:
        return None, None
    return mean, math.sqrt(variance) if min(readings) >= _LEAST_READINGS else None


def _standard_error(series: Values) -> float:
    if len(series) < 2:
        return 0.0
    return float(series.std(ddof=1)) / math.sqrt(max(1.0, effective_size(series)))
