"""Can this many requests decide a limit? The early-stopping rule of MLPerf LoadGen, in both directions.

A limit on the p-quantile allows a share 1 - p of the requests to be over it. With t of n over, the claim "the
quantile is within the limit" is accepted when so few would be seen with probability <= 1 - confidence if the share
were really 1 - p; the claim "it is not" when so many would. Between the two lies "not decided yet".
Source: MLCommons inference rules, appendix "Early Stopping Criterion" (tolerance d = 0).
"""

from __future__ import annotations

import math
from enum import StrEnum

from harness.analysis.statistics import binomial

CONFIDENCE = 0.95


class Decision(StrEnum):
    """What the data allow to say about a limit."""

    WITHIN = "within"
    OVER = "over"
    UNDECIDED = "undecided"


def decide(over: float, n: float, p: float, confidence: float = CONFIDENCE) -> Decision:
    """Judge `over` requests beyond the limit among n independent ones, for the p-quantile.

    Both may be fractions, as effective sample sizes are: the binomial probabilities are then those of the incomplete
    beta function that they equal at whole numbers.
    """
    if n <= 0:
        return Decision.UNDECIDED
    if binomial.at_most(over, n, 1.0 - p) <= 1.0 - confidence:
        return Decision.WITHIN
    return Decision.OVER if binomial.at_least(over, n, 1.0 - p) <= 1.0 - confidence else Decision.UNDECIDED


def needed(over: int, p: float, confidence: float = CONFIDENCE) -> int:
    """The smallest number of requests that decides WITHIN with `over` of them beyond the limit.

    needed(0, 0.99) = 299, needed(0, 0.95) = 59.
    """
    high = max(over + 1, math.ceil(math.log(1.0 - confidence) / math.log(p)))
    while not _within(over, high, p, confidence):
        high *= 2
    low = over
    while high - low > 1:
        middle = (low + high) // 2
        if _within(over, middle, p, confidence):
            high = middle
        else:
            low = middle
    return high


def _within(over: int, n: int, p: float, confidence: float) -> bool:
    return n > over and _at_most(over, n, 1.0 - p) <= 1.0 - confidence


def _at_most(k: int, n: int, p: float) -> float:
    """P(X <= k), X ~ Bin(n, p), from the k + 1 terms alone: n may be large here."""
    term = n * math.log1p(-p)
    total = math.exp(term)
    for i in range(1, k + 1):
        term += math.log((n - i + 1) / i) + math.log(p) - math.log1p(-p)
        total += math.exp(term)
    return min(1.0, total)
