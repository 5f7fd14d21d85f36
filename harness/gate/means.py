"""Limits on a mean, on a share of the mean latency and on a coefficient of variation: decided by an interval."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis.statistics.quantiles import estimate_mean
from harness.findings import Estimate, SloFindings, Verdict
from harness.gate.answers import NOTHING, Values, answer, in_words, more
from harness.slo import Slo
from harness.units import format_count, format_share

LEAST = 6
"""A series worth fewer independent values has no interval of its mean."""
LEAST_OF_CV = 30
"""With fewer the spread is too unsure for the delta method."""


def judge_mean(slo: Slo, values: Values, confidence: float, kind: str = "requests") -> SloFindings:
    """mean(SUBJECT): failed requests have no latency, and leaving them out would flatter it."""
    if (lost := _failed(slo, values)) is not None:
        return lost
    return by_interval(slo, values, _mean(values), slo.limit, confidence, kind)


def judge_cv(slo: Slo, values: Values, confidence: float, kind: str = "requests") -> SloFindings:
    """cv(SUBJECT): standard deviation / mean, linearised in both (the delta method: Casella & Berger, Statistical
    Inference, 5.5.4): its interval is that of the mean of the influence of each value.
    """
    if (lost := _failed(slo, values)) is not None:
        return lost
    seconds, n = values.values, len(values)
    if n == 0:
        return answer(slo, Verdict.NOT_ENOUGH_DATA, None, 0, NOTHING)
    mean, deviation = float(seconds.mean()), float(seconds.std())
    if mean <= 0.0:
        reason = f"the mean of {format_count(n)} {kind} is {in_words(slo, mean)}: there is nothing to vary"
        return answer(slo, Verdict.INVALID, None, n, reason)
    cv = deviation / mean
    influence = _influence(seconds, mean, deviation)
    return by_interval(slo, Values(cv + influence, values.steps), cv, slo.limit, confidence, kind, LEAST_OF_CV)


def _influence(values: NDArray[np.float64], mean: float, deviation: float) -> NDArray[np.float64]:
    """What each value adds to the coefficient of variation; they sum to 0."""
    apart = values - mean
    if deviation <= 1e-12 * mean:  # all equal
        return np.zeros(len(values))
    found: NDArray[np.float64] = (apart**2 / deviation - deviation) / (2.0 * mean) - deviation * apart / mean**2
    return found


def judge_mean_share(slo: Slo, rows: pd.DataFrame, values: Values, confidence: float) -> SloFindings:
    """mean(stage) / mean(latency) < limit, decided as mean(stage - limit * latency) < 0."""
    latency = rows["latency_s"].to_numpy(dtype=np.float64)
    total = float(latency.sum())
    observed = float(values.values.sum()) / total if total > 0 else None
    excess = Values(values.values - slo.limit * latency, values.steps)
    n = len(excess)
    mean = estimate_mean(excess.values, confidence, LEAST, excess.steps)
    if mean.low is None or mean.high is None or observed is None:
        return answer(slo, Verdict.NOT_ENOUGH_DATA, observed, n, _too_few(n, mean, LEAST, "requests"))
    verdict = decided(slo, mean.low, mean.high, 0.0)
    reason = f"{format_share(observed)} of the mean latency of {format_count(n)} requests"
    return answer(slo, verdict, observed, n, reason + _open(verdict, mean, 0.0, "requests"))


def by_interval(
    slo: Slo, values: Values, observed: float | None, limit: float, confidence: float, kind: str, least: int = LEAST
) -> SloFindings:
    """Whether the mean of the values is on the right side of the limit."""
    n = len(values)
    if n == 0:
        return answer(slo, Verdict.NOT_ENOUGH_DATA, None, 0, NOTHING)
    mean = estimate_mean(values.values, confidence, least, values.steps)
    if mean.low is None or mean.high is None:
        return answer(slo, Verdict.NOT_ENOUGH_DATA, observed, n, _too_few(n, mean, least, kind))
    verdict = decided(slo, mean.low, mean.high, limit)
    low, high = in_words(slo, mean.low), in_words(slo, mean.high)
    reason = f"{format_share(confidence)} interval {low} to {high} over {format_count(n)} {kind}"
    return answer(slo, verdict, observed, n, reason + _open(verdict, mean, limit, kind))


def decided(slo: Slo, low: float, high: float, limit: float) -> Verdict:
    """The verdict of an interval: all of it has to be on one side of the limit."""
    strict = slo.op in ("<", ">")
    if slo.op[0] == ">":
        low, high, limit = -high, -low, -limit
    if high < limit or (not strict and high <= limit):
        return Verdict.PASSED
    if low > limit or (strict and low >= limit):
        return Verdict.FAILED
    return Verdict.NOT_ENOUGH_DATA


def _failed(slo: Slo, values: Values) -> SloFindings | None:
    failed = int(np.isinf(values.values).sum())
    if not failed:
        return None
    counted = f"{format_count(failed)} of {format_count(len(values))} requests have no latency because they failed"
    return answer(slo, Verdict.FAILED, None, len(values), f"{counted}: a {slo.statistic} would hide them")


def _mean(values: Values) -> float | None:
    return float(values.values.mean()) if len(values) else None


def _too_few(n: int, mean: Estimate, least: int, kind: str) -> str:
    if mean.refusal is not None:
        return mean.refusal
    if n < least:
        return f"{format_count(n)} {kind} are too few for an interval: needs {least - n} more"
    return (
        f"{format_count(n)} {kind} are worth fewer than {least} independent ones: too few for an interval, run longer"
    )


def _open(verdict: Verdict, mean: Estimate, limit: float, kind: str) -> str:
    """What an undecided mean takes: the interval shrinks with the root of n."""
    if verdict is not Verdict.NOT_ENOUGH_DATA or mean.value is None or mean.high is None:
        return ""
    apart, half = abs(mean.value - limit), mean.high - mean.value
    total = mean.n * (half / apart) ** 2 if apart > 0.0 else math.inf
    return f"; {more(mean.n, total, kind)}"
