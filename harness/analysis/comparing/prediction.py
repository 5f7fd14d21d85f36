"""One new run against several earlier ones of the same thing: would they have predicted it?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis.comparing import words
from harness.analysis.comparing.failures import SMALL
from harness.analysis.comparing.paired import ERROR_RATE, TURNED
from harness.analysis.statistics import student
from harness.comparison import BaselineMetric, Change

LEAST_RUNS = 8
"""With fewer, Student's t leaves so much open that only a disaster would be found."""


@dataclass(frozen=True, slots=True)
class _Predicted:
    typical: float
    deviation: float | None
    limit: float


def judge_against(
    metric: str, baseline: NDArray[np.float64], new: float, allowed: float, alpha: float
) -> BaselineMetric:
    """Whether `new` is beyond what the baseline runs (shape (runs,)) predict for one more run, plus what is allowed.

    The limit is that of a prediction interval of the normal distribution for ln of the metric (Hahn & Meeker,
    Statistical Intervals, 4.6): mean + ln(1 + allowed) + t s sqrt(1 + 1/n); for the error rate, of which no logarithm
    can be had, on the rate itself and one percentage point wider. NaN: not known; infinite: lies among failures.
    """
    unit = "ratio" if metric == ERROR_RATE else TURNED.get(metric, "s")
    runs = np.asarray(baseline, np.float64)
    usable = np.isfinite(runs) & ((runs >= 0.0) if metric == ERROR_RATE else (runs > 0.0))
    known, n = runs[usable], int(usable.sum())
    value = float(new) if math.isfinite(new) else None
    if n < LEAST_RUNS:
        reason = f"needs {LEAST_RUNS} baseline runs, has {n}"
        return BaselineMetric(metric, unit, n, None, None, value, None, Change.UNKNOWN, reason)
    found = _of_rate(known, allowed, alpha) if metric == ERROR_RATE else _predicted(metric, known, allowed, alpha)
    change, reason = _judged(metric, found, new, allowed, among_failures=bool(np.isposinf(runs).any()))
    return BaselineMetric(metric, unit, n, found.typical, found.deviation, value, found.limit, change, reason)


def _predicted(metric: str, known: NDArray[np.float64], allowed: float, alpha: float) -> _Predicted:
    n, logs = len(known), np.log(known)
    deviation = float(logs.std(ddof=1))
    reach = math.log1p(allowed) + student.quantile(1.0 - alpha, n - 1.0) * deviation * math.sqrt(1.0 + 1.0 / n)
    mean = float(logs.mean())
    beyond = mean - reach if metric in TURNED else mean + reach
    return _Predicted(math.exp(mean), deviation, math.exp(max(-700.0, min(700.0, beyond))))


def _of_rate(known: NDArray[np.float64], allowed: float, alpha: float) -> _Predicted:
    n, mean = len(known), float(known.mean())
    reach = student.quantile(1.0 - alpha, n - 1.0) * float(known.std(ddof=1)) * math.sqrt(1.0 + 1.0 / n)
    return _Predicted(mean, None, min(1.0, mean * (1.0 + allowed) + SMALL + reach))


def _judged(metric: str, found: _Predicted, new: float, allowed: float, *, among_failures: bool) -> tuple[Change, str]:
    if math.isnan(new) or new < 0.0:
        return Change.UNKNOWN, "not known of the new run"
    if math.isinf(new):
        if among_failures:
            return Change.UNKNOWN, "lies among the failed requests, as in some of the baseline runs"
        return Change.WORSE, "lies among the failed requests, in none of the baseline runs"
    if metric == ERROR_RATE:
        moved = f"{words.percent(new)} of the requests failed, {words.percent(found.typical)} in the baseline"
    elif new == 0.0:
        moved = "is zero"
    else:
        moved = f"{words.change(new / found.typical)} against the baseline runs"
    is_worse = new < found.limit if metric in TURNED else new > found.limit
    limit = words.percent(found.limit) if metric == ERROR_RATE else words.change(found.limit / found.typical)
    if is_worse:
        return Change.WORSE, f"{moved}: beyond {limit}, the limit of what they predict and {words.percent(allowed)}"
    return Change.NOT_FOUND, f"{moved}: within what they predict; found would be a change beyond {limit}"
