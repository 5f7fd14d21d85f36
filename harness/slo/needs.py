"""How many requests an SLO needs at the least."""

from __future__ import annotations

import math

from harness.slo.words import Slo

_OF_THE_GOOD = ("completed", "check_rate", "coverage")


def requests_needed(slo: Slo, confidence: float = 0.95) -> int | None:
    """Fewest requests that can pass the SLO, when none of them is against it (of `call`: fewest calls, of a vital:
    fewest readings).

    The smallest n with p^n <= 1 - confidence, where p is the share that must be good: early stopping of MLPerf
    LoadGen with no request over the limit (p95: 59, p99: 299, p99.99: 29,956). A count needs what it asks for. None
    where neither applies: mean, max, peak, cv, the share of a stage, rates, and limits of exactly none or all.
    """
    if slo.statistic == "count":
        return _counted(slo)
    good = slo.quantile
    if slo.statistic == "error_rate":
        good = 1 - slo.limit
    elif slo.statistic in _OF_THE_GOOD or (slo.statistic == "share" and slo.subject == "ok"):
        good = slo.limit
    if good is None or not 0 < good < 1:
        return None
    # The small step back keeps a rounding error of the logarithms from asking for one request too many.
    return max(1, math.ceil(math.log(1 - confidence) / math.log(good) - 1e-9))


def _counted(slo: Slo) -> int | None:
    if slo.op[0] == "<":
        return None
    return math.floor(slo.limit) + 1 if slo.op == ">" else math.ceil(slo.limit)
