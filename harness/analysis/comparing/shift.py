"""The shift function: what became of each quantile of the latency, from the fast requests to the slowest.

A service may become slower for everybody, for the slow tenth alone, or faster for some and slower for others: one
percentile cannot tell these apart (Doksum 1974; Wilcox, "Comparing two independent groups via multiple quantiles",
1995). The bands are of the requests, each for its own quantile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.analysis.comparing.mover import difference
from harness.analysis.statistics.quantiles import effective_at, estimate_quantile, needed
from harness.comparison import Shift
from harness.estimates import Estimate

Values = NDArray[np.float64]
POINTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)


def levels(series: Values, steps: NDArray[np.int64]) -> tuple[Estimate, ...]:
    """The quantiles at POINTS of latencies in time order, seconds; a request that failed is infinite.

    Refused where n has no lower or no upper limit for one.
    """
    return tuple(_level(series, p, steps) for p in POINTS)


def _level(series: Values, p: float, steps: NDArray[np.int64]) -> Estimate:
    found = estimate_quantile(series, p, strata=steps)
    if p >= 0.5 or found.value is None:
        return found
    # A low quantile needs as many requests for its lower limit as the high one opposite needs for its upper limit.
    least, worth = needed(1.0 - p), math.floor(effective_at(series, p, found.value, steps))
    if worth >= least:
        return found
    of = f" worth {worth:,} independent ones" if worth < 0.9 * found.n else ""
    refusal = f"needs {least:,} requests, has {found.n:,}{of}"
    return Estimate(None, None, None, found.n, found.confidence, refusal=refusal)


def shift(a: Sequence[Estimate], b: Sequence[Estimate]) -> tuple[Shift, ...]:
    """B's quantiles less A's, as `levels` gives them."""
    found = []
    for p, of_a, of_b in zip(POINTS, a, b, strict=True):
        change = difference(of_a, of_b)
        found.append(Shift(p, of_a.value, of_b.value, change, change.refusal))
    return tuple(found)
