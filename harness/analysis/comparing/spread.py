"""The logarithms of B / A over the pairs of one metric, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.analysis.statistics import student

Floats = NDArray[np.float64]

LEAST_PAIRS = 3
"""Two pairs that happen to agree would claim anything."""
MOST_FLIPPED = 14
"""Up to so many pairs all their signs are tried."""
FINDS = 0.8
_NO_SPREAD = 1e-12


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and standard deviation of the differences of one metric over `pairs` pairs; all finite."""

    mean: float
    deviation: float
    pairs: int

    @property
    def error(self) -> float:
        return self.deviation / math.sqrt(self.pairs)

    def limit(self, tail: float, *, upper: bool) -> float:
        """One-sided limit of the mean (Student's t)."""
        half = student.quantile(1.0 - tail, self.pairs - 1.0) * self.error
        return self.mean + half if upper else self.mean - half

    def p_beyond(self, allowed: float) -> float:
        """One-sided p of "no larger than `allowed`"."""
        if self.error <= _NO_SPREAD * max(1.0, abs(self.mean)):
            return 0.0 if self.mean > allowed + _NO_SPREAD else 1.0
        return student.beyond((self.mean - allowed) / self.error, self.pairs - 1.0)


def spread_of(differences: Floats) -> Spread | None:
    """None with too few pairs, or when one of them is infinite."""
    if len(differences) < LEAST_PAIRS or not np.isfinite(differences).all():
        return None
    return Spread(float(differences.mean()), float(differences.std(ddof=1)), len(differences))


def log_ratios(of_a: Floats, of_b: Floats) -> Floats:
    """ln(B / A) of each pair, shape (pairs,); NaN where it is not known.

    Infinite where a value is infinite or zero on one side alone; the same value on both sides is no change.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios: Floats = np.where(of_a == of_b, 0.0, np.log(of_b) - np.log(of_a))
    unknown = (np.isinf(of_a) & np.isinf(of_b)) | (of_a < 0.0) | (of_b < 0.0)
    return np.where(unknown, np.nan, ratios)


def sign_flip_p(differences: Floats) -> float | None:
    """One-sided p of "the sides are the same": how often other signs give as large a sum. At least 1 / 2^pairs.

    Exact up to MOST_FLIPPED pairs, from as many seeded draws beyond. Infinite differences count by their sign alone,
    and then so do the others.
    """
    if len(differences) == 0:
        return None
    sizes = differences if np.isfinite(differences).all() else np.sign(differences)
    sums = _signs(len(sizes)) @ np.abs(sizes)
    slack = 1e-9 * float(np.abs(sizes).sum())
    return float(np.mean(sums >= float(sizes.sum()) - slack))


@lru_cache(maxsize=32)
def _signs(pairs: int) -> Floats:
    """Every pattern of signs, shape (2^pairs, pairs); the first of them has none turned."""
    if pairs <= MOST_FLIPPED:
        patterns = np.arange(2**pairs)[:, None] >> np.arange(pairs) & 1
    else:
        patterns = np.random.default_rng(pairs).integers(0, 2, (2**MOST_FLIPPED, pairs))
        patterns[0] = 0
    return 1.0 - 2.0 * patterns.astype(np.float64)


def sign_test_p(differences: Sequence[float] | Floats, allowed: float) -> float:
    """P(so many pairs beyond `allowed` or more) if each were as likely to be on either side of it."""
    n = len(differences)
    beyond = int(np.sum(np.asarray(differences) > allowed))
    return sum(math.comb(n, k) for k in range(beyond, n + 1)) / 2.0**n


def detectable(deviation: float, pairs: int, alpha: float, allowed: float) -> float:
    """The smallest ratio that 80 % of comparisons of so many pairs find to be more than `allowed`, at level `alpha`.

    `deviation`: of ln(B / A) between pairs. The power of Student's test, by the non-central t.
    """
    if pairs < 2 or not math.isfinite(deviation):
        return math.inf
    shift = student.shift_for_power(alpha, pairs - 1, FINDS)
    return (1.0 + allowed) * math.exp(min(700.0, shift * deviation / math.sqrt(pairs)))
