"""The whole curve of percentiles of a duration, with the same intervals its percentiles have in every table."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.analysis.statistics.autocorrelation import memory
from harness.analysis.statistics.quantiles import (
    CONFIDENCE,
    LEVELS,
    MARGIN,
    Strata,
    Values,
    _rank_limits,
    quantile,
    within,
)

FAR_LEVELS = (*LEVELS, 0.999, 0.9999)
"""Where the memory of the series is looked at: a percentile in between remembers as much as the next one up."""


@dataclass(frozen=True, slots=True)
class SurvivalBand:
    """A quantile at each share of slower values, with its interval. NaN: it lies among the values without end, or has
    no interval at this n. Arrays are of one length, in the order of the shares asked for."""

    slower: Values
    value: Values
    low: Values
    high: Values


def survival_band(
    series: Values, slower: Values, confidence: float = CONFIDENCE, strata: Strata = None
) -> SurvivalBand:
    """The (1 - slower)-quantiles of a series in time order, by the definitions of quantiles.py.

    Each interval holds by itself; they do not hold all together.
    """
    nothing = np.full(len(slower), np.nan)
    if len(series) == 0:
        return SurvivalBand(slower, nothing, nothing.copy(), nothing.copy())
    ordered = np.sort(series)
    sizes = effective_sizes(series, ordered, strata)
    rows = [_at(ordered, 1.0 - s, sizes, confidence) for s in slower.tolist()]
    columns = np.array(rows, dtype=np.float64).reshape(len(rows), 3).T
    return SurvivalBand(slower, *columns)


def effective_sizes(series: Values, ordered: Values, strata: Strata) -> list[tuple[float, int]]:
    """(level, independent observations that the quantiles up to it stand on), lowest level first.

    What makes one percentile uncertain makes the ones beyond it no more certain.
    """
    worst, found = float(len(series)), []
    for level in FAR_LEVELS:
        over = (series > quantile(ordered, level)).astype(np.float64)
        worst = min(worst, memory(within(over, strata)).effective(MARGIN))
        found.append((level, max(1, math.floor(worst))))
    return found


def _at(ordered: Values, p: float, sizes: list[tuple[float, int]], confidence: float) -> tuple[float, float, float]:
    """(value, low, high) of one quantile."""
    value = quantile(ordered, p)
    if not math.isfinite(value):
        return math.nan, math.nan, math.nan
    n_eff = next((size for level, size in sizes if p <= level + 1e-12), sizes[-1][1])
    limits = _rank_limits(n_eff, p, confidence) if 0.0 < p < 1.0 else None
    if limits is None:
        return value, math.nan, math.nan
    low, high = (quantile(ordered, rank / n_eff) for rank in limits)
    # The lowest observation is no lower limit of a percentile that all of n_eff may well lie above.
    has_lower = (1.0 - p) ** n_eff <= (1.0 - confidence) / 2.0
    return value, low if has_lower else math.nan, high if math.isfinite(high) else math.nan
