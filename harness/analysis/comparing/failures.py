"""Did more requests fail on side B? An exact test of counts that does not mistake restless runs for evidence."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.analysis.comparing.spread import LEAST_PAIRS
from harness.analysis.statistics import binomial, student

TRIVIAL = 0.001
"""A larger share of failed requests than on A is no reason to fail below this difference, however sure it is."""
CAP = 0.05
"""Beyond this difference, and with every run of B worse than every run of A, restless runs excuse nothing."""
SMALL = 0.01
"""A difference that is certainly below this is `within`: a ratio of a handful of failures never would be."""


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed and all measured requests of each pair; shape (pairs,) each."""

    failed_a: NDArray[np.int64]
    n_a: NDArray[np.int64]
    failed_b: NDArray[np.int64]
    n_b: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FailureTest:
    """Shares of failed requests over all pairs, and how sure it is that B's is larger than allowed."""

    pairs: int
    share_a: float
    share_b: float
    ratio: float | None  # None: nothing failed on A
    p_value: float
    plain: bool  # beyond the cap in every run

    @property
    def excess(self) -> float:
        return self.share_b - self.share_a


def usable(failures: Failures) -> Failures:
    """The pairs in which both sides measured something."""
    kept = (failures.n_a > 0) & (failures.n_b > 0)
    return Failures(failures.failed_a[kept], failures.n_a[kept], failures.failed_b[kept], failures.n_b[kept])


def failure_test(failures: Failures, allowed: float) -> FailureTest | None:
    """Whether B's failures are more than 1 + allowed times A's; None with too few pairs.

    Two tests have to agree. Of all failures the number on B is binomial if requests fail independently (exact
    conditional test of two Poisson rates: Przyborowski & Wilenski 1940). Where they do not, as in bursts, the shares
    differ between runs by more than that, and Student's t over the pairs knows it. The cap is for a B that fails in
    every run, but so unevenly that the second test is lost: all K runs of one side beyond all of the other happen by
    chance once in (2K choose K), 252 for 5 pairs.
    """
    kept = usable(failures)
    pairs = len(kept.n_a)
    if pairs < LEAST_PAIRS:
        return None
    a, b = kept.failed_a / kept.n_a, kept.failed_b / kept.n_b
    share_a, share_b = _share(kept.failed_a, kept.n_a), _share(kept.failed_b, kept.n_b)
    plain = bool(share_b - share_a > CAP and b.min() > a.max())
    p_value = _counted(kept, 1.0 + allowed)
    if not plain:
        p_value = max(p_value, _between_pairs(b - (1.0 + allowed) * a))
    return FailureTest(pairs, share_a, share_b, share_b / share_a if share_a > 0.0 else None, p_value, plain)


def ratio_limit(failures: Failures, tail: float, *, upper: bool) -> float | None:
    """The exact one-sided limit of the ratio of the failure rates (Clopper & Pearson, conditionally); None: no limit.

    It knows of the counts alone, not of runs that differ: half of an answer.
    """
    kept = usable(failures)
    failed_b, total = int(kept.failed_b.sum()), int(kept.failed_a.sum() + kept.failed_b.sum())
    if total == 0:
        return None if upper else 0.0
    part = share_limit(failed_b, total, tail, upper=upper)
    if part >= 1.0:
        return None
    return part / (1.0 - part) * float(kept.n_a.sum() / kept.n_b.sum())


def is_ruled_out(failures: Failures, times: float, tail: float) -> bool:
    """Whether B's failures are surely fewer than so many times A's: by the counts, and by how much the runs differ."""
    kept = usable(failures)
    limit = ratio_limit(failures, tail, upper=True)
    less = times * kept.failed_a / kept.n_a - kept.failed_b / kept.n_b
    return limit is not None and limit < times and _between_pairs(less) <= tail


def excess_at_most(failures: Failures, tail: float) -> float:
    """Upper limit of B's share less A's: the larger of what the counts and what the pairs leave open."""
    kept = usable(failures)
    difference = kept.failed_b / kept.n_b - kept.failed_a / kept.n_a
    high_b = share_limit(int(kept.failed_b.sum()), int(kept.n_b.sum()), tail / 2.0, upper=True)
    low_a = share_limit(int(kept.failed_a.sum()), int(kept.n_a.sum()), tail / 2.0, upper=False)
    spread = float(difference.std(ddof=1)) / math.sqrt(len(difference))
    paired = float(difference.mean()) + student.quantile(1.0 - tail, len(difference) - 1.0) * spread
    return min(1.0, max(high_b - low_a, paired))


@lru_cache(maxsize=4096)
def share_limit(k: int, n: int, tail: float, *, upper: bool) -> float:
    """One-sided limit of a share of which k of n were seen (Clopper & Pearson 1934)."""
    if k == (n if upper else 0):
        return 1.0 if upper else 0.0
    if upper:
        return _bisect(lambda share: binomial.at_most(k, n, share) > tail)
    return _bisect(lambda share: binomial.at_least(k, n, share) < tail)


def _bisect(too_low: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2.0
        low, high = (middle, high) if too_low(middle) else (low, middle)
    return (low + high) / 2.0


def _share(failed: NDArray[np.int64], n: NDArray[np.int64]) -> float:
    return float(failed.sum() / n.sum())


def _counted(kept: Failures, times: float) -> float:
    n_a, n_b = float(kept.n_a.sum()), float(kept.n_b.sum())
    failed_b = int(kept.failed_b.sum())
    return binomial.at_least(failed_b, failed_b + int(kept.failed_a.sum()), times * n_b / (n_a + times * n_b))


def _between_pairs(difference: NDArray[np.float64]) -> float:
    mean, spread = float(difference.mean()), float(difference.std(ddof=1)) / math.sqrt(len(difference))
    if spread <= 1e-12 * abs(mean):
        return 0.0 if mean > 0.0 else 1.0
    return student.beyond(mean / spread, len(difference) - 1.0)
