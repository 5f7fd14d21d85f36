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
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis import binomial
from harness.analysis.autocorrelation import Memory, memory
from harness.estimates import Estimate, LatencyFindings

Values = NDArray[np.float64]
CONFIDENCE = 0.95
LEVELS = (0.50, 0.90, 0.95, 0.99)
"""The percentiles every report shows, and where the memory of a series is looked at on the way up to another one."""
MARGIN = 1.0
"""Standard errors by which memory is taken longer than it was estimated, for shares of requests."""
MARGIN_OF_MEAN = 2.0
"""Likewise for means: their spread is as unsure as their memory, and hides in the same quiet stretches."""
LEAST_SPANS = 5
"""A series that is not this many times as long as its memory carries no quantile."""


def quantile(ordered: Values, p: float) -> float:
    """The p-quantile of sorted values, by the definition above."""
    return float(ordered[_rank(len(ordered), p) - 1])


def _rank(n: int, p: float) -> int:
    # The tolerance keeps 0.95 * 20 = 19.000000000000004 at rank 19.
    return min(n, max(1, math.ceil(n * p - 1e-9)))


def effective_size(series: Values, margin: float = 0.0) -> float:
    """How many independent observations carry as much as this series, in time order: n / memory.

    Never more than n. A constant series counts in full. `margin`: see `Memory.effective`; intervals need one, and so
    does every claim that something is well, but a service that died needs none to have failed.
    """
    return memory(series).effective(margin)


def effective_over(series: Values, threshold: float, margin: float = 0.0) -> float:
    """Effective size of the question "is it over the threshold?", asked of each value in time order."""
    return effective_size((series > threshold).astype(np.float64), margin)


def effective_at(series: Values, p: float, threshold: float) -> float:
    """Effective size of a limit on the p-quantile: no more than the quantile itself has in `estimate_quantile`.

    Where few or none are over a limit, that question alone remembers nothing, however long the requests do. A series
    too short for its memory is worth 0.
    """
    if len(series) == 0:
        return 0.0
    known = _Known.none(len(series))
    for level, _ in _ascent(series, np.sort(series), p):
        known = known.with_level(level)
    return (
        0.0
        if known.spans < LEAST_SPANS
        else min(known.effective(len(series)), effective_over(series, threshold, MARGIN))
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """What the levels met on the way up leave of n.

    What makes one percentile uncertain makes the ones beyond it no more certain, though it shows less and less in
    the few requests over them: they share the smallest effective size and the longest memory.
    """

    worst: Memory
    longest: Memory

    @staticmethod
    def none(n: int) -> _Known:
        return _Known(Memory(n, 1.0, 1.0), Memory(n, 1.0, 1.0))

    def with_level(self, level: Memory) -> _Known:
        return _Known(
            min(self.worst, level, key=lambda m: m.effective(MARGIN)), max(self.longest, level, key=lambda m: m.span)
        )

    @property
    def spans(self) -> float:
        return self.longest.spans

    def effective(self, n: int) -> float:
        return self.worst.effective(MARGIN, n)

    def needs(self, independent: int) -> int:
        """Requests of this memory that are worth so many independent ones; two digits of it, if there is any memory."""
        low, high = independent, independent
        while self.effective(high) < independent:
            low, high = high, 2 * high
        while high - low > max(1, low // 100):
            middle = (low + high) // 2
            low, high = (low, middle) if self.effective(middle) >= independent else (middle, high)
        if self.longest.span <= 1.0:
            return high
        return _round_up(max(high, math.ceil(LEAST_SPANS * self.longest.span)))


def _round_up(n: int) -> int:
    """To two significant digits: more are not known."""
    unit: int = 10 ** max(0, len(str(n)) - 2)
    return -(-n // unit) * unit


def _ascent(series: Values, ordered: Values, p: float) -> Iterator[tuple[Memory, float]]:
    """The memory of "is it over?" at each level up to p, and the level."""
    for level in (*(each for each in LEVELS if each < p), p):
        yield memory((series > quantile(ordered, level)).astype(np.float64)), level


def estimate_quantile(
    series: Values, p: float, confidence: float = CONFIDENCE, at_most: float | None = None
) -> Estimate:
    """The p-quantile of a series in time order, refused when no finite upper limit exists at this n.

    `at_most` caps the effective sample size.
    """
    n = len(series)
    if n == 0:
        return _nothing(confidence)
    ordered, known = np.sort(series), _Known.none(n)
    for level, _ in _ascent(series, ordered, p):
        known = known.with_level(level)
    return _between_ranks(ordered, p, confidence, known, at_most)


def _nothing(confidence: float) -> Estimate:
    return Estimate(None, None, None, 0, confidence, refusal="no request counts here")


def _between_ranks(ordered: Values, p: float, confidence: float, known: _Known, at_most: float | None) -> Estimate:
    n, value = len(ordered), quantile(ordered, p)
    if not math.isfinite(value):
        return Estimate(None, None, None, n, confidence, refusal="lies among the requests that failed")
    n_eff = max(1, math.floor(min(known.effective(n), n if at_most is None else at_most)))
    limits = _rank_limits(n_eff, p, confidence)
    if limits is None or known.spans < LEAST_SPANS:
        need = known.needs(needed(p, confidence))
        if need <= n:  # because of `at_most`
            need = math.ceil(needed(p, confidence) * n / n_eff)
        worth = f" worth {n_eff:,} independent ones" if n_eff < 0.9 * n else ""
        return Estimate(None, None, None, n, confidence, refusal=f"needs {need:,} requests, has {n:,}{worth}")
    # The ranks are those of a sample of n_eff; as shares of the sample they hold for the n observations.
    low, high = (quantile(ordered, rank / n_eff) for rank in limits)
    return Estimate(value, low, high if math.isfinite(high) else None, n, confidence)


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


def estimate_mean(series: Values, confidence: float = CONFIDENCE, least: int = 6) -> Estimate:
    """The mean of a series in time order, with Student's interval on the effective sample size.

    A series worth fewer than `least` independent values has no interval.
    """
    n = len(series)
    if n == 0:
        return _nothing(confidence)
    mean = float(series.mean())
    if not math.isfinite(mean):
        return Estimate(None, None, None, n, confidence, refusal="some of these requests failed")
    n_eff = memory(series).effective(MARGIN_OF_MEAN)
    if n_eff < least:
        return Estimate(mean, None, None, n, confidence)
    half = binomial.t_quantile(0.5 + confidence / 2.0, n_eff - 1.0) * float(series.std(ddof=1)) / math.sqrt(n_eff)
    return Estimate(mean, mean - half, mean + half, n, confidence)


def latency_findings(series: Values) -> LatencyFindings:
    """The statistics every report shows of one duration, from its values in time order, seconds.

    A request that failed is infinite: it takes its rank among the percentiles, and has no part in mean and maximum.
    """
    answered = series[np.isfinite(series)]
    max_s = float(answered.max()) if len(answered) else None
    if len(series) == 0:
        none = _nothing(CONFIDENCE)
        return LatencyFindings(none, none, none, none, none, max_s)
    ordered, known = np.sort(series), _Known.none(len(series))
    estimates: list[Estimate] = []
    for level, p in _ascent(series, ordered, LEVELS[-1]):
        known = known.with_level(level)
        estimates.append(_between_ranks(ordered, p, CONFIDENCE, known, None))
    p50, p90, p95, p99 = estimates
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
