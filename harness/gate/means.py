"""Limits on a mean, on a share of the mean latency and on a coefficient of variation: decided by an interval."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis.statistics.quantiles import estimate_mean
from harness.findings import Estimate, SloFindings, Verdict
from harness.gate.answers import NOTHING, Values, answer, in_words, more
from harness.slo import Slo
from harness.units import format_count, format_duration, format_share

LEAST = 6
"""A series worth fewer independent values has no interval of its mean."""
ROUNDING = 1e-12
LEAST_OF_CV = 100
"""With fewer the spread is too unsure for the delta method."""
SKEWED = 0.2
"""So much of the tail probability is left for the interval of a spread."""


def judge_mean(slo: Slo, values: Values, confidence: float, kind: str = "requests") -> SloFindings:
    """mean(SUBJECT): failed requests have no latency, and leaving them out would flatter it."""
    if (lost := _failed(slo, values)) is not None:
        return lost
    return by_interval(slo, values, _mean(values), slo.limit, confidence, kind)


def judge_cv(slo: Slo, values: Values, confidence: float, kind: str = "requests") -> SloFindings:
    """cv(SUBJECT): standard deviation / mean, linearised in both (the delta method: Casella & Berger, Statistical
    Inference, 5.5.4), so that its interval is that of a mean: of the influence of each value, on the scale of the
    logarithm. Samples that miss the tail miss it in their spread and in its error at once: at 95 % the upper limit is
    too low in 5 % to 20 % of lognormal samples and M/M/1 queues, at 99 % in 1 % to 10 % of them, which is taken.
    """
    if (lost := _failed(slo, values)) is not None:
        return lost
    seconds, n = values.values, len(values)
    if n == 0:
        return answer(slo, Verdict.NOT_ENOUGH_DATA, None, 0, NOTHING)
    mean, deviation = float(seconds.mean()), float(seconds.std())
    if mean <= 0.0:
        reason = f"the mean of {format_count(n)} {kind} is {format_duration(mean)}: there is nothing to vary"
        return answer(slo, Verdict.INVALID, None, n, reason)
    if deviation <= ROUNDING * mean:
        deviation = 0.0  # all equal
    cv = deviation / mean
    found = estimate_mean(
        cv + _influence(seconds, mean, deviation), 1.0 - (1.0 - confidence) * SKEWED, LEAST_OF_CV, values.steps
    )
    if found.high is None:
        return answer(slo, Verdict.NOT_ENOUGH_DATA, cv, n, _too_few(n, found, LEAST_OF_CV, kind))
    reach = math.exp(min((found.high - cv) / cv, 50.0)) if cv > 0.0 else 1.0
    low, high = cv / reach, cv * reach
    verdict = decided(slo, low, high, slo.limit)
    reason = f"{format_share(confidence)} interval {low:.3g} to {high:.3g} over {format_count(n)} {kind}"
    return answer(slo, verdict, cv, n, reason + _open(verdict, replace(found, high=high), slo.limit, kind))


def _influence(values: NDArray[np.float64], mean: float, deviation: float) -> NDArray[np.float64]:
    """What each value adds to the coefficient of variation; they sum to 0."""
    apart = values - mean
    if deviation == 0.0:
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
    if n and observed is None:
        return answer(slo, Verdict.NOT_ENOUGH_DATA, None, n, "the requests took no time at all")
    mean = estimate_mean(excess.values, confidence, LEAST, excess.steps)
    if mean.low is None or mean.high is None or observed is None:
        return answer(slo, Verdict.NOT_ENOUGH_DATA, observed, n, _too_few(n, mean, LEAST, "requests"))
    verdict = decided(slo, mean.low, mean.high, 0.0)
    reason = f"{format_share(observed)} of the mean latency of {format_count(n)} requests"
    return answer(slo, verdict, observed, n, reason + _open(verdict, mean, 0.0, "requests"))


def by_interval(
    slo: Slo, values: Values, observed: float | None, limit: float, confidence: float, kind: str
) -> SloFindings:
    """Whether the mean of the values is on the right side of the limit."""
    n = len(values)
    if n == 0:
        return answer(slo, Verdict.NOT_ENOUGH_DATA, None, 0, NOTHING)
    mean = estimate_mean(values.values, confidence, LEAST, values.steps)
    if mean.low is None or mean.high is None:
        return answer(slo, Verdict.NOT_ENOUGH_DATA, observed, n, _too_few(n, mean, LEAST, kind))
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
        return f"an interval needs {least} {kind}, there are {n}: {least - n} more"
    return (
        f"{format_count(n)} {kind} are worth fewer than {least} independent ones, too few for an interval: run longer"
    )


def _open(verdict: Verdict, mean: Estimate, limit: float, kind: str) -> str:
    """What an undecided mean takes: the interval shrinks with the root of n."""
    if verdict is not Verdict.NOT_ENOUGH_DATA or mean.value is None or mean.high is None:
        return ""
    apart, half = abs(mean.value - limit), mean.high - mean.value
    total = mean.n * (half / apart) ** 2 if apart > 0.0 else math.inf
    return f"; {more(mean.n, total, kind)}"
