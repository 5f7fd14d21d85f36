"""Student's t, its power, and the chi-square: exact at the few degrees of freedom that a handful of pairs has."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.analysis.statistics import binomial

_FAR = 1e9  # a quantile beyond this is no use to anyone


def beyond(t: float, df: float) -> float:
    """P(T >= t), T Student's with `df` degrees of freedom (Abramowitz & Stegun 26.7.1 by the incomplete beta)."""
    if math.isinf(t):
        return 0.0 if t > 0 else 1.0
    tail = 0.5 * binomial.incomplete_beta(df / 2.0, 0.5, df / (df + t * t))
    return tail if t >= 0 else 1.0 - tail


@lru_cache(maxsize=4096)
def quantile(probability: float, df: float) -> float:
    """The t with P(T <= t) = probability, 0 < probability < 1, by bisection of the exact distribution."""
    if probability < 0.5:
        return -quantile(1.0 - probability, df)
    tail, high = 1.0 - probability, 2.0
    while beyond(high, df) > tail and high < _FAR:
        high *= 2.0
    return _bisect(lambda t: beyond(t, df) > tail, 0.0, high)


@lru_cache(maxsize=4096)
def shift_for_power(alpha: float, df: int, power: float = 0.8) -> float:
    """How many standard errors a mean must lie off for a one-sided t test at `alpha` to find it so often.

    The power of a test whose standard error is estimated: E[Phi(shift - t S)], S^2 chi-square over its degrees of
    freedom, which is the non-central t; integrated over a grid of S.
    """
    critical = quantile(1.0 - alpha, df)
    spread, weights = _relative_deviations(df)
    return _bisect(lambda shift: float(weights @ _normal_cdf(shift - critical * spread)) < power, 0.0, 8 + 4 * critical)


@lru_cache(maxsize=64)
def _relative_deviations(df: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A grid of S = estimated over true standard deviation, and the probability at each point."""
    spread = (np.arange(2_000) + 0.5) / 2_000 * (1.0 + 6.0 / math.sqrt(df))
    logs = (df - 1.0) * np.log(spread) - df * spread**2 / 2.0
    weights = np.exp(logs - logs.max())
    return spread, weights / weights.sum()


def _normal_cdf(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([0.5 * math.erfc(-each / math.sqrt(2.0)) for each in z])


@lru_cache(maxsize=256)
def chi_square_quantile(probability: float, df: int) -> float:
    """The x with P(X <= x) = probability, X chi-square."""
    high = 2.0 * df + 10.0
    while _chi_square_cdf(high, df) < probability:
        high *= 2.0
    return _bisect(lambda x: _chi_square_cdf(x, df) < probability, 0.0, high)


def _chi_square_cdf(x: float, df: int) -> float:
    """By the series of the incomplete gamma function (Abramowitz & Stegun 6.5.29)."""
    if x <= 0.0:
        return 0.0
    a, half = df / 2.0, x / 2.0
    term = total = math.exp(a * math.log(half) - half - math.lgamma(a + 1.0))
    for n in range(1, 10_000):
        term *= half / (a + n)
        total += term
        if term < 1e-16 * total:
            break
    return min(1.0, total)


def _bisect(too_low: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(200):
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        low, high = (middle, high) if too_low(middle) else (low, middle)
    return (low + high) / 2.0
