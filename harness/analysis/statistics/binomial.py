"""The binomial distribution, as far as order statistics and early stopping need it."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray


def log_pmf(n: int, p: float) -> NDArray[np.float64]:
    """ln P(X = k) for k = 0..n, X ~ Bin(n, p), 0 < p < 1; shape (n + 1,)."""
    k = np.arange(1, n + 1, dtype=np.float64)
    log_choose = np.concatenate(([0.0], np.cumsum(np.log((n - k + 1) / k))))
    counts = np.arange(n + 1, dtype=np.float64)
    logs: NDArray[np.float64] = log_choose + counts * math.log(p) + (n - counts) * math.log1p(-p)
    return logs


@lru_cache(maxsize=8)
def cdf(n: int, p: float) -> NDArray[np.float64]:
    """P(X <= k) for k = 0..n; shape (n + 1,)."""
    cumulated: NDArray[np.float64] = np.minimum(np.cumsum(np.exp(log_pmf(n, p))), 1.0)
    return cumulated


def cdf_near(n: int, p: float) -> tuple[int, NDArray[np.float64]]:
    """The first k, and P(X <= k) from there on, as far as the probabilities are not negligible (10 deviations)."""
    reach = 10.0 * math.sqrt(n * p * (1.0 - p)) + 20.0
    first, last = max(0, math.floor(n * p - reach)), min(n, math.ceil(n * p + reach))
    log_first = math.lgamma(n + 1.0) - math.lgamma(first + 1.0) - math.lgamma(n - first + 1.0)
    log_first += first * math.log(p) + (n - first) * math.log1p(-p)
    k = np.arange(first + 1, last + 1, dtype=np.float64)
    ratios = np.log((n - k + 1) / k) + (math.log(p) - math.log1p(-p))
    logs = log_first + np.concatenate(([0.0], np.cumsum(ratios)))
    return first, np.minimum(np.cumsum(np.exp(logs)), 1.0)


def at_most(k: float, n: float, p: float) -> float:
    """P(X <= k), X ~ Bin(n, p), continued to fractions of k and n by the incomplete beta function."""
    return 1.0 if k >= n else incomplete_beta(n - k, k + 1.0, 1.0 - p)


def at_least(k: float, n: float, p: float) -> float:
    """P(X >= k), X ~ Bin(n, p), continued likewise."""
    return 1.0 if k <= 0 else incomplete_beta(k, n - k + 1.0, p)


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for a, b > 0.

    By its continued fraction (Abramowitz & Stegun 26.5.8), evaluated with Lentz's method on the side where it
    converges fast.
    """
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - incomplete_beta(b, a, 1.0 - x)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    tiny = 1e-300
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0) or tiny)
    fraction = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        change = 1.0
        for step in (even, odd):
            d = 1.0 / (1.0 + step * d or tiny)
            c = 1.0 + step / c or tiny
            change *= c * d
        fraction *= change
        if abs(change - 1.0) < 1e-12:
            break
    return min(1.0, math.exp(log_front) * fraction / a)


def t_quantile(probability: float, df: float) -> float:
    """Quantile of Student's t, by the expansion around the normal (Abramowitz & Stegun 26.7.5).

    Good to 0.2 % for df >= 5 at the levels used here; below that the interval is refused by the callers.
    """
    z = NormalDist().inv_cdf(probability)
    z3, z5, z7 = z**3, z**5, z**7
    return (
        z
        + (z3 + z) / (4 * df)
        + (5 * z5 + 16 * z3 + 3 * z) / (96 * df**2)
        + (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * df**3)
    )
