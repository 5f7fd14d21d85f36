"""How two groups differ: effect sizes, their p-values, and the control of false discoveries over many of them.

`weight` is how much of an observation each one is worth (effective size / n): the p-values are those of a sample that
much smaller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = tuple[int, int, int, int]
"""(with it in the one group, size of that group, with it in the other group, size of that)."""

_LEAST_EXPECTED = 5.0  # below it the chi-square distribution is no fair picture of a count (Cochran 1954)


def cliffs_delta(one: Floats, other: Floats) -> tuple[float, float]:
    """P(a > b) - P(a < b) for a of the one group and b of the other, and its standard error under no difference.

    Neither may be empty. The error is that of the rank sum with the correction for ties (Mann & Whitney 1947, Cliff
    1993); 0 where all values are equal.
    """
    n, m = len(one), len(other)
    ordered = np.sort(other)
    below, not_above = np.searchsorted(ordered, one, "left"), np.searchsorted(ordered, one, "right")
    delta = float((below + not_above - m).mean()) / m
    ties = np.unique(np.concatenate([one, other]), return_counts=True)[1].astype(np.float64)
    total = float(n + m)
    variance = (total + 1.0 - float((ties**3 - ties).sum()) / (total * (total - 1.0))) / (3.0 * n * m)
    return delta, math.sqrt(variance) if len(ties) > 1 else 0.0


def delta_p(delta: float, error: float, weight: float) -> float:
    """Two-sided p-value of a Cliff's delta, by the normal distribution; 1 where all values are equal."""
    return math.erfc(abs(delta) / error * math.sqrt(weight / 2.0)) if error > 0.0 else 1.0


def cuts(one: Floats, other: Floats, upwards: bool) -> tuple[float, float]:
    """The number that parts the groups best, and the largest difference in their shares of numbers at or beyond any.

    Beyond is above (`upwards`) or below. The best parting is the one with the largest chi-square: of two with nearly
    the same difference it is the purer one.
    """
    sign = 1.0 if upwards else -1.0
    ones, others = np.sort(one * sign), np.sort(other * sign)
    n, m = len(ones), len(others)
    numbers = np.unique(ones)
    share, against = 1.0 - np.searchsorted(ones, numbers) / n, 1.0 - np.searchsorted(others, numbers) / m
    gap, having = np.maximum(share - against, 0.0), (share * n + against * m) / (n + m)
    chi2 = gap**2 / np.maximum(having * (1.0 - having), 1.0 / (n + m) ** 2)
    return float(numbers[np.argmax(chi2)]) * sign, float(gap.max())


def gap_p(gap: float, n: int, m: int, weight: float) -> float:
    """P-value of the largest difference between the distributions of two groups of `n` and `m` (Smirnov, Stephens)."""
    size = math.sqrt(weight * n * m / (n + m))
    return min(1.0, 2.0 * math.exp(-2.0 * (gap * (size + 0.12 + 0.11 / size)) ** 2))


def divergence(one: Floats, other: Floats) -> float:
    """Jensen-Shannon divergence of two distributions over the same values, in bits: 0 equal, 1 nothing in common."""
    middle = (one + other) / 2.0

    def from_middle(shares: Floats) -> float:
        some = shares > 0.0
        return float((shares[some] * np.log2(shares[some] / middle[some])).sum())

    return max(0.0, (from_middle(one) + from_middle(other)) / 2.0)


def share_p(counts: Counts, weight: float = 1.0) -> float:
    """Two-sided p-value of equal shares in both groups: chi-square, or Fisher's exact test where counts are small."""
    a, n, b, m = counts
    having, total = a + b, n + m
    if min(n, m, having, total - having) == 0:
        return 1.0
    if weight * min(n, m) * min(having, total - having) / total < _LEAST_EXPECTED:
        exact = min(1.0, 2.0 * min(_hypergeometric(a, n, b, m), _hypergeometric(n - a, n, m - b, m)))
        return float(exact**weight)
    chi2 = weight * total * (a * (m - b) - b * (n - a)) ** 2 / (n * m * having * (total - having))
    return math.erfc(math.sqrt(chi2 / 2.0))


def _hypergeometric(a: int, n: int, b: int, m: int) -> float:
    """P(at least `a` of the `a + b` are in the group of `n`, the others in that of `m`)."""
    having = a + b
    terms = [
        _log_choose(n, x) + _log_choose(m, having - x) - _log_choose(n + m, having)
        for x in range(max(a, having - m), min(n, having) + 1)
    ]
    return min(1.0, math.fsum(map(math.exp, terms)))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def weights(one: Floats) -> Callable[[Floats], float]:
    """How much each of the observations is worth for a correlation of this series in time order with another one.

    By Bartlett's formula for independent series: 1 / (sum over all lags of the product of their autocorrelations), up
    to the lag at which those of this series can no longer be told from zero. Never more than 1. A series beside one
    without memory counts in full.
    """
    n = len(one)
    own = _autocorrelations(one)
    insignificant = np.flatnonzero(own < 2.0 / math.sqrt(n)) if n else np.zeros(0)
    lags = int(insignificant[0]) if len(insignificant) else len(own)

    def weight(other: Floats) -> float:
        return 1.0 / max(1.0, 1.0 + 2.0 * float(own[1:lags] @ _autocorrelations(other)[1:lags]))

    return weight


def _autocorrelations(series: Floats) -> Floats:
    """Of all lags, from lag 0; zeros for a series that does not vary."""
    n = len(series)
    if n < 2 or np.ptp(series) == 0.0:
        return np.zeros(n)
    spectrum = np.fft.rfft(series - series.mean(), 1 << (2 * n - 1).bit_length())
    sums = np.fft.irfft(spectrum.real**2 + spectrum.imag**2)[:n]
    found: Floats = sums / sums[0]
    return found


def discoveries(p_values: Sequence[float], rate: float) -> list[bool]:
    """Which to believe, so that on average at most `rate` of these are false (Benjamini & Hochberg 1995)."""
    m = len(p_values)
    passed = [p for rank, p in enumerate(sorted(p_values), 1) if p <= rate * rank / m]
    return [bool(passed) and p <= passed[-1] for p in p_values]
