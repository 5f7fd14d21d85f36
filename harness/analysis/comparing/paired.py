"""Is side B slower? Decided over interleaved pairs of runs, one run of each side a pair.

Requests of one run share its luck and are no replicates; runs are. Each pair gives one difference d = ln(B / A) per
metric, turned so that above zero is worse, and Student's t over the pairs says how large the change is
(Kalibera & Jones, "Quantifying Performance Changes with Effect Size Confidence Intervals", 2012). B is worse when the
lower limit is beyond what is allowed, for any gating metric, with one probability of a false alarm for all metrics and
all looks together: each look has its part, and Holm's procedure shares it out over the metrics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.analysis.comparing import family, words
from harness.analysis.comparing.failed import failure_change, failure_p
from harness.analysis.comparing.failures import Failures as Failures
from harness.analysis.comparing.failures import failure_test
from harness.analysis.comparing.spread import LEAST_PAIRS, Spread, log_ratios, sign_flip_p, sign_test_p, spread_of
from harness.analysis.comparing.spread import detectable as detectable
from harness.comparison import Change, MetricChange
from harness.estimates import Estimate

ERROR_RATE = "error_rate"
TURNED = {"throughput": "1/s"}
"""Metrics of which less is worse, with their unit."""

Values = Mapping[str, NDArray[np.float64]]
"""Metric -> shape (pairs, 2), A and B of each pair: NaN where not known, infinite where it lies among failures."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What is worse, what is within, and how sure of it the whole procedure is."""

    allowed: float = 0.05  # a slow-down of so much is no reason to fail
    strict_limit: float = 0.15  # a slow-down of so much has to be ruled out for `within`
    confidence: float = 0.95  # of never failing by chance, over all gating metrics and looks
    looks: tuple[int, ...] = (5, 7, 9)  # pairs after which it is judged


def alpha_at(rule: Rule, look: int) -> float:
    """The probability of a false alarm that a look has; they sum to 1 - confidence. (5, 7, 9): 0.02, 0.015, 0.015."""
    return (1.0 - rule.confidence) * family.shares(len(rule.looks))[look]


def metric_changes(
    values: Values, failures: Failures, rule: Rule, look: int, gating: Sequence[str]
) -> tuple[MetricChange, ...]:
    """Every metric over the pairs so far, judged at `look` (an index into rule.looks); gating ones first.

    A gating metric that is missing is unknown. The ratio's own interval, and `at_most`, hold over all looks; `at_least`
    is at the level that Holm's procedure tested the metric at, so that it is beyond the allowed where B is worse.
    """
    alpha, gating = alpha_at(rule, look), tuple(dict.fromkeys(gating))
    order = [*gating, *(metric for metric in values if metric not in gating)]
    if ERROR_RATE not in order:
        order.append(ERROR_RATE)
    timed = {metric: _timed(metric, values.get(metric)) for metric in order if metric != ERROR_RATE}
    failed = failure_test(failures, rule.allowed)
    limit = math.log1p(rule.allowed)
    p_values = {metric: pairs.p_value(limit) for metric, pairs in timed.items()} | {ERROR_RATE: failure_p(failed)}
    gated = family.holm({metric: p_values[metric] for metric in gating}, family.weights(gating, ERROR_RATE), alpha)
    changes = []
    for metric in order:
        test = gated.get(metric, family.Tested(alpha, p_values[metric] <= alpha))
        is_gating = metric in gated
        if metric == ERROR_RATE:
            changes.append(failure_change(failures, failed, test, alpha, rule.strict_limit, gating=is_gating))
        else:
            changes.append(_changed(timed[metric], test, alpha, rule, gating=is_gating))
    return tuple(changes)


def overall(changes: Sequence[MetricChange]) -> Change:
    """What the gating metrics show together: worse if one is, within if all are; unknown if one is not known."""
    found = {change.change for change in changes if change.gating}
    if Change.WORSE in found:
        return Change.WORSE
    if not found or Change.UNKNOWN in found:
        return Change.UNKNOWN
    return Change.WITHIN if found == {Change.WITHIN} else Change.NOT_FOUND


def is_decided(changes: Sequence[MetricChange]) -> bool:
    """Whether further pairs would not be asked for."""
    return overall(changes) in (Change.WORSE, Change.WITHIN)


@dataclass(frozen=True, slots=True, eq=False)
class _Timed:
    """One metric over the pairs in which both sides are known; d may be infinite."""

    metric: str
    a: float | None
    b: float | None
    d: NDArray[np.float64]
    among_failures: tuple[int, int]  # runs of A and of B in which it lies among the failed requests
    spread: Spread | None

    def p_value(self, limit: float) -> float:
        if self.spread is not None:
            return self.spread.p_beyond(limit)
        return sign_test_p(self.d, limit) if len(self.d) >= LEAST_PAIRS else 1.0


def _timed(metric: str, both: NDArray[np.float64] | None) -> _Timed:
    pairs = np.zeros((0, 2)) if both is None else np.asarray(both, np.float64).reshape(-1, 2)
    a, b = pairs[:, 0], pairs[:, 1]
    d = log_ratios(b, a) if metric in TURNED else log_ratios(a, b)
    known = ~np.isnan(d)
    infinite = (int(np.isposinf(a).sum()), int(np.isposinf(b).sum()))
    return _Timed(metric, _typical(a[known]), _typical(b[known]), d[known], infinite, spread_of(d[known]))


def _typical(values: NDArray[np.float64]) -> float | None:
    """The geometric mean; None when nothing, or something infinite, is among the values."""
    if len(values) == 0 or not np.isfinite(values).all():
        return None
    return 0.0 if (values == 0.0).any() else float(np.exp(np.log(values).mean()))


def _changed(pairs: _Timed, test: family.Tested, alpha: float, rule: Rule, *, gating: bool) -> MetricChange:
    spread = pairs.spread
    if spread is None:
        return _without_interval(pairs, test, alpha, rule, gating=gating)
    low, high = (_ratio(spread.limit(alpha / 2.0, upper=upper)) for upper in (False, True))
    at_most = _ratio(spread.limit(alpha, upper=True))
    change = Change.WITHIN if at_most < 1.0 + rule.strict_limit else Change.NOT_FOUND
    found = MetricChange(
        metric=pairs.metric,
        unit=TURNED.get(pairs.metric, "s"),
        gating=gating,
        a=pairs.a,
        b=pairs.b,
        ratio=Estimate(_ratio(spread.mean), low, high, spread.pairs, 1.0 - alpha),
        at_most=at_most,
        at_least=_ratio(spread.limit(test.level, upper=False)),
        detectable=detectable(spread.deviation, spread.pairs, test.level, rule.allowed),
        p_value=spread.p_beyond(math.log1p(rule.allowed)),
        sign_flip_p=sign_flip_p(pairs.d),
        change=Change.WORSE if test.rejected else change,
        reason="",
    )
    return replace(found, reason=_reason(found, rule))


def _without_interval(pairs: _Timed, test: family.Tested, alpha: float, rule: Rule, *, gating: bool) -> MetricChange:
    """Too few pairs, or some in which one side alone lies among the failures: only signs are left to count."""
    n, why = len(pairs.d), _unknown(pairs)
    change, reason = Change.UNKNOWN, why
    if test.rejected:
        change, reason = Change.WORSE, f"{why}; B is the slower one in too many pairs for chance"
    elif n >= LEAST_PAIRS and sign_test_p(-pairs.d, -math.log1p(rule.strict_limit)) <= alpha:
        strict = words.percent(rule.strict_limit)
        change, reason = Change.WITHIN, f"{why}; in too many pairs for chance B is not slower by {strict}"
    value = _ratio(float(pairs.d.mean())) if n and np.isfinite(pairs.d).all() else None
    return MetricChange(
        metric=pairs.metric,
        unit=TURNED.get(pairs.metric, "s"),
        gating=gating,
        a=pairs.a,
        b=pairs.b,
        ratio=Estimate(value, None, None, n, 1.0 - alpha, refusal=why),
        at_most=None,
        at_least=None,
        detectable=None,
        p_value=pairs.p_value(math.log1p(rule.allowed)) if n >= LEAST_PAIRS else None,
        sign_flip_p=sign_flip_p(pairs.d),
        change=change,
        reason=reason,
    )


def _ratio(logarithm: float) -> float:
    return math.exp(max(-700.0, min(700.0, logarithm)))


def _unknown(pairs: _Timed) -> str:
    a, b = pairs.among_failures
    if a or b:
        return f"lies among the failed requests in {a} runs of A and {b} of B"
    return f"needs {LEAST_PAIRS} pairs in which both sides are known, has {len(pairs.d)}"


def _reason(found: MetricChange, rule: Rule) -> str:
    value, allowed, strict = (
        words.change(found.ratio.value),
        words.percent(rule.allowed),
        words.percent(rule.strict_limit),
    )
    if found.change is Change.WORSE:
        slower = "A has more by" if found.metric in TURNED else "slower by"
        return f"{slower} {value}, at least {words.change(found.at_least)}: more than the {allowed} allowed"
    if found.change is Change.WITHIN:
        return f"{value}, at most {words.change(found.at_most)}: a slow-down of {strict} is ruled out"
    return (
        f"{value}, at most {words.change(found.at_most)}: no slow-down of more than {allowed} found; "
        f"one of {words.change(found.detectable)} would be found in 8 of 10 such comparisons"
    )
