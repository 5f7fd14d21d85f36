"""Quantiles and means with intervals, from raw values, for data that may be autocorrelated.

The quantile is the smallest observation with at least a share p of all observations at or below it (no
interpolation, so that a request that never came, +infinity, can take its rank). Its interval is the classic one
between order statistics (David & Nagaraja, Order Statistics, 7.1), with the effective sample size in place of n:
requests that queue behind each other are not independent, and n of them know less than n. On queues with known truth
this holds its level where a bootstrap of time blocks falls short of it: `bench/intervals.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis.statistics import binomial
from harness.analysis.statistics.autocorrelation import Memory, memory
from harness.estimates import Estimate, LatencyFindings

Values = NDArray[np.float64]
Strata = NDArray[np.int64] | None
"""The load step of each value, where there are several. How many requests a step has is planned and nothing is drawn:
only what varies within the steps makes a figure of all of them uncertain."""
CONFIDENCE = 0.95
LEVELS = (0.50, 0.90, 0.95, 0.99)
"""The percentiles every report shows, and where the memory of a series is looked at on the way up to another one."""
MARGIN = 1.0
"""Standard errors by which memory is taken longer than it was estimated, for shares of requests."""
MARGIN_OF_MEAN = 2.0
"""Likewise for means: their spread is as unsure as their memory, and hides in the same quiet stretches."""

SPARE = 1.5
"""A longer series often turns out to remember longer: so many times the requests are enough in 6 to 8 of 10 runs."""


def quantile(ordered: Values, p: float) -> float:
    """The p-quantile of sorted values, by the definition above."""
    return float(ordered[_rank(len(ordered), p) - 1])


def _rank(n: int, p: float) -> int:
    # The tolerance keeps 0.95 * 20 = 19.000000000000004 at rank 19.
    return min(n, max(1, math.ceil(n * p - 1e-9)))


def within(series: Values, strata: Strata) -> Values:
    """The series less the mean of each stratum, which then hold no memory of being different."""
    if strata is None or len(series) == 0 or strata.min() == strata.max():
        return series
    of = strata - strata.min()
    means = np.bincount(of, weights=series) / np.maximum(np.bincount(of), 1)
    left: Values = series - means[of]
    return left


def effective_size(series: Values, margin: float = 0.0, strata: Strata = None) -> float:
    """How many independent observations carry as much as this series, in time order: n / memory.

    Never more than n. A constant series counts in full. `margin`: see `Memory.effective`; intervals need one, and so
    does every claim that something is well, but a service that died needs none to have failed.
    """
    return memory(within(series, strata)).effective(margin)


def effective_over(series: Values, threshold: float, margin: float = 0.0, strata: Strata = None) -> float:
    """Effective size of the question "is it over the threshold?", asked of each value in time order."""
    return effective_size((series > threshold).astype(np.float64), margin, strata)


def effective_at(series: Values, p: float, threshold: float, strata: Strata = None) -> float:
    """Effective size of a limit on the p-quantile: no more than the quantile itself has in `estimate_quantile`.

    Where few or none are over a limit, that question alone remembers nothing, however long the requests do.
    """
    if len(series) == 0:
        return 0.0
    *_, (_, worst) = _ascent(series, np.sort(series), p, strata)
    return min(worst.effective(MARGIN), effective_over(series, threshold, MARGIN, strata))


def _ascent(series: Values, ordered: Values, p: float, strata: Strata) -> Iterator[tuple[float, Memory]]:
    """Each level up to p, with the worst memory of "is it over?" met so far.

    What makes one percentile uncertain makes the ones beyond it no more certain, though it shows less and less in the
    few requests over them.
    """
    worst = Memory(len(series), 1.0, 1.0)
    for level in (*(each for each in LEVELS if each < p), p):
        found = memory(within((series > quantile(ordered, level)).astype(np.float64), strata))
        worst = min(worst, found, key=lambda each: each.effective(MARGIN))
        yield level, worst


def estimate_quantile(
    series: Values,
    p: float,
    confidence: float = CONFIDENCE,
    at_most: float | None = None,
    strata: Strata = None,
) -> Estimate:
    """The p-quantile of a series in time order, refused when no finite upper limit exists at this n.

    `at_most` caps the effective sample size. Over several load steps (`strata`) it is the quantile of this mixture.
    """
    if len(series) == 0:
        return _nothing(confidence)
    ordered = np.sort(series)
    *_, (_, worst) = _ascent(series, ordered, p, strata)
    return _between_ranks(ordered, p, confidence, worst, at_most)


def _nothing(confidence: float) -> Estimate:
    return Estimate(None, None, None, 0, confidence, refusal="no request counts here")


def _between_ranks(
    ordered: Values, p: float, confidence: float, worst: Memory, at_most: float | None = None
) -> Estimate:
    n, value = len(ordered), quantile(ordered, p)
    if not math.isfinite(value):
        return Estimate(None, None, None, n, confidence, refusal="lies among the requests that failed")
    known = worst.effective(MARGIN)
    n_eff = max(1, math.floor(known if at_most is None else min(known, at_most)))
    limits = _rank_limits(n_eff, p, confidence)
    if limits is None:
        need = math.ceil(_requests(needed(p, confidence), worst) * max(1.0, known / n_eff))
        worth = f" worth {n_eff:,} independent ones" if n_eff < 0.9 * n else ""
        return Estimate(None, None, None, n, confidence, refusal=f"needs {need:,} requests, has {n:,}{worth}")
    # The ranks are those of a sample of n_eff; as shares of the sample they hold for the n observations.
    low, high = (quantile(ordered, rank / n_eff) for rank in limits)
    return Estimate(value, low, high if math.isfinite(high) else None, n, confidence)


def _requests(independent: int, worst: Memory) -> int:
    """How many requests of that memory are worth so many independent ones; with SPARE, if they remember anything."""
    if worst.span <= 1.0:
        return independent
    low, high = independent, independent
    while worst.effective(MARGIN, high) < independent:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if worst.effective(MARGIN, middle) >= independent else (middle, high)
    enough = math.ceil(SPARE * high)
    unit: int = 10 ** max(0, len(str(enough)) - 2)  # more than two digits are not known
    return -(-enough // unit) * unit


def _rank_limits(n: int, p: float, confidence: float) -> tuple[int, int] | None:
    """Ranks (lower, upper) that hold the p-quantile; None when the highest observation is no upper limit."""
    tail = (1.0 - confidence) / 2.0
    first, cumulated = binomial.cdf_near(n, p)
    upper = first + int(np.searchsorted(cumulated, 1.0 - tail)) + 1  # smallest u with P(X <= u - 1) >= 1 - tail
    if upper > n:
        return None
    lower = first + int(np.searchsorted(cumulated, tail, side="right"))  # largest l with P(X <= l - 1) <= tail
    return max(1, lower), upper


def needed(p: float, confidence: float = CONFIDENCE) -> int:
    """Independent requests below which no upper limit of the p-quantile exists: p**n <= (1 - confidence) / 2."""
    return math.ceil(math.log((1.0 - confidence) / 2.0) / math.log(p))


def estimate_mean(series: Values, confidence: float = CONFIDENCE, least: int = 6, strata: Strata = None) -> Estimate:
    """The mean of a series in time order, with Student's interval on the effective sample size.

    A series worth fewer than `least` independent values has no interval.
    """
    n = len(series)
    if n == 0:
        return _nothing(confidence)
    mean = float(series.mean())
    if not math.isfinite(mean):
        return Estimate(None, None, None, n, confidence, refusal="not known for every request")
    left = within(series, strata)
    n_eff = memory(left).effective(MARGIN_OF_MEAN)
    if n_eff < least:
        return Estimate(mean, None, None, n, confidence)
    half = binomial.t_quantile(0.5 + confidence / 2.0, n_eff - 1.0) * float(left.std(ddof=1)) / math.sqrt(n_eff)
    low = mean - half if float(series.min()) < 0.0 else max(0.0, mean - half)  # a duration is not negative
    return Estimate(mean, low, mean + half, n, confidence)


def latency_findings(series: Values, strata: Strata = None) -> LatencyFindings:
    """The statistics every report shows of one duration, from its values in time order, seconds.

    A request that failed is infinite: it takes its rank among the percentiles, and has no part in mean and maximum.
    """
    finite = np.isfinite(series)
    answered, of_answered = series[finite], None if strata is None else strata[finite]
    max_s = float(answered.max()) if len(answered) else None
    if len(series) == 0:
        none = _nothing(CONFIDENCE)
        return LatencyFindings(none, none, none, none, none, max_s)
    ordered = np.sort(series)
    ascent = _ascent(series, ordered, LEVELS[-1], strata)
    estimates = [_between_ranks(ordered, p, CONFIDENCE, worst) for p, worst in ascent]
    p50, p90, p95, p99 = estimates
    return LatencyFindings(estimate_mean(answered, strata=of_answered), p50, p90, p95, p99, max_s)


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
