"""Quantiles and means with intervals, from raw values, for data that may be autocorrelated.

The quantile is the smallest observation with at least a share p of all observations at or below it (no
interpolation, so that a request that never came, +infinity, can take its rank). Its interval is the classic one
between order statistics (David & Nagaraja, Order Statistics, 7.1), with the effective sample size in place of n:
requests that queue behind each other are not independent, and n of them know less than n.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis import binomial
from harness.findings import Estimate, LatencyFindings

Values = NDArray[np.float64]
CONFIDENCE = 0.95


def quantile(ordered: Values, p: float) -> float:
    """The p-quantile of sorted values, by the definition above."""
    return float(ordered[_rank(len(ordered), p) - 1])


def _rank(n: int, p: float) -> int:
    # The tolerance keeps 0.95 * 20 = 19.000000000000004 at rank 19.
    return min(n, max(1, math.ceil(n * p - 1e-9)))


def effective_size(series: Values) -> float:
    """How many independent observations carry as much as this series, in time order.

    n / (1 + 2 * sum of autocorrelations), summed up to the first lag that is indistinguishable from zero
    (below 2 / sqrt(n)). Never more than n. A constant series counts in full.
    """
    n = len(series)
    centred = series - series.mean() if n else series
    variance = float(np.dot(centred, centred))
    # What varies in the last digits only is constant: its autocorrelation is that of rounding errors.
    if n < 3 or variance <= n * (1e-9 * float(np.abs(series).max())) ** 2:
        return float(n)
    total = 0.0
    for lag in range(1, min(n - 1, 1000)):
        rho = float(np.dot(centred[:-lag], centred[lag:])) / variance
        if rho < 2.0 / math.sqrt(n):
            break
        total += rho
    return n / (1.0 + 2.0 * total)


def effective_over(series: Values, threshold: float) -> float:
    """Effective size of the question "is it over the threshold?", asked of each value in time order."""
    return effective_size((series > threshold).astype(np.float64))


def estimate_quantile(
    series: Values, p: float, confidence: float = CONFIDENCE, at_most: float | None = None
) -> Estimate:
    """The p-quantile of a series in time order, refused when no finite upper limit exists at this n.

    `at_most` caps the effective sample size.
    """
    n = len(series)
    if n == 0:
        return Estimate(None, None, None, 0, confidence, refusal="no request counts here")
    ordered = np.sort(series)
    value = quantile(ordered, p)
    n_eff = max(1, math.floor(min(effective_over(series, value), n if at_most is None else at_most)))
    limits = _rank_limits(n_eff, p, confidence)
    if limits is None:
        need = math.ceil(needed(p, confidence) * n / n_eff)
        worth = f" worth {n_eff:,} independent ones" if n_eff < 0.9 * n else ""
        return Estimate(None, None, None, n, confidence, refusal=f"needs {need:,} requests, has {n:,}{worth}")
    # The ranks are those of a sample of n_eff; as shares of the sample they hold for the n observations.
    low, high = (quantile(ordered, rank / n_eff) for rank in limits)
    if not math.isfinite(value):
        return Estimate(None, None, None, n, confidence, refusal="lies among the requests that failed")
    return Estimate(value, low, high if math.isfinite(high) else None, n, confidence)


def _rank_limits(n: int, p: float, confidence: float) -> tuple[int, int] | None:
    """Ranks (lower, upper) that hold the p-quantile; None when the highest observation is no upper limit."""
    tail = (1.0 - confidence) / 2.0
    cumulated = binomial.cdf(n, p)
    upper = int(np.searchsorted(cumulated, 1.0 - tail)) + 1  # smallest u with P(X <= u - 1) >= 1 - tail
    if upper > n:
        return None
    lower = int(np.searchsorted(cumulated, tail, side="right"))  # largest l with P(X <= l - 1) <= tail
    return max(1, lower), upper


def needed(p: float, confidence: float = CONFIDENCE) -> int:
    """Independent requests below which no upper limit of the p-quantile exists: p**n <= (1 - confidence) / 2."""
    return math.ceil(math.log((1.0 - confidence) / 2.0) / math.log(p))


def estimate_mean(series: Values, confidence: float = CONFIDENCE, least: int = 6) -> Estimate:
    """The mean of a series in time order, with Student's interval on the effective sample size."""
    n = len(series)
    if n == 0:
        return Estimate(None, None, None, 0, confidence, refusal="no request counts here")
    mean = float(series.mean())
    n_eff = effective_size(series)
    if n_eff < least:
        return Estimate(mean, None, None, n, confidence)
    half = binomial.t_quantile(0.5 + confidence / 2.0, n_eff - 1.0) * float(series.std(ddof=1)) / math.sqrt(n_eff)
    return Estimate(mean, mean - half, mean + half, n, confidence)


def latency_findings(series: Values) -> LatencyFindings:
    """The statistics every report shows of one duration, from its values in time order, seconds.

    A request that failed is infinite: it takes its rank among the percentiles, and has no part in mean and maximum.
    What makes one percentile uncertain makes the ones beyond it no more certain: they share the smallest effective
    sample size met on the way up.
    """
    estimates: list[Estimate] = []
    least = float(len(series))
    ordered = np.sort(series)
    for p in (0.50, 0.90, 0.95, 0.99):
        if len(series):
            least = min(least, effective_over(series, quantile(ordered, p)))
        estimates.append(estimate_quantile(series, p, at_most=least))
    answered = series[np.isfinite(series)]
    p50, p90, p95, p99 = estimates
    max_s = float(answered.max()) if len(answered) else None
    return LatencyFindings(estimate_mean(answered), p50, p90, p95, p99, max_s)


def differ(one: pd.Series[float], other: pd.Series[float], least: int = 20, threshold: float = 0.1) -> bool:
    """Whether two groups of values clearly differ: Cliff's delta beyond `threshold` and three standard errors.

    Delta is P(a > b) - P(a < b) for a of one group and b of the other, from the rank sum; its standard error under no
    difference is sqrt((n + m + 1) / (3 n m)) (Cliff 1993; Mann & Whitney 1947). Small groups are never said to differ.
    """
    n, m = len(one), len(other)
    if min(n, m) < least:
        return False
    ranks = pd.concat([one, other]).rank().to_numpy()
    delta = 2.0 * (ranks[:n].sum() - n * (n + 1) / 2.0) / (n * m) - 1.0
    return bool(abs(delta) > max(threshold, 3.0 * math.sqrt((n + m + 1) / (3.0 * n * m))))
