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
