"""Limits on a percentile and on the largest value.

A limit on the p-quantile is a limit on the share of requests beyond it, and the rule of shares decides it. Where few or
none are beyond the limit, that alone says nothing of how long bad times last: the requests then count for no more than
they do at the percentile itself, unless the limit is met with SPARE. On an M/M/1 queue (300 runs; p95 and p99, 600 and
3,000 requests, load 0.3 to 0.8), an SLO exactly at the true percentile is met in

    6 % to 79 % of the runs by the share beyond the limit alone,
    5 % to 15 % by this rule (33 % for the p99 of 600 requests at load 0.8),
    0 % to 8 % by the memory of the table of percentiles, that of the median included,

and one at 3 times the true percentile is met in 99 %, 93 % and, by the last, 0 % to 100 % of them: 66 % for the p99 of
3,000 requests at load 0.5, 16 % for the p95 of 600 at load 0.7. An SLO that nobody comes near would stay undecided,
so that the strictest rule is for the table, which says where the percentile lies, and this one for limits.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harness.analysis.statistics.early_stopping import Decision
from harness.analysis.statistics.quantiles import MARGIN, effective_over, quantile
from harness.findings import SloFindings, Verdict
from harness.gate.answers import NOTHING, VERDICTS, Values, answer
from harness.gate.shares import rule, worded
from harness.slo import Slo
from harness.units import format_duration

SPARE = 1.5
"""A limit that would be met if it were so many times lower is met, however long the bad times last."""


def judge_quantile(slo: Slo, values: Values, confidence: float, kind: str = "requests") -> SloFindings:
    """pNN(SUBJECT) < limit; failed requests are infinite."""
    p, n = slo.quantile, len(values)
    assert p is not None  # noqa: S101 - the caller asks for percentiles only
    if n == 0:
        return answer(slo, Verdict.NOT_ENOUGH_DATA, None, 0, NOTHING)
    observed = quantile(np.sort(values.values), p)
    over = beyond(slo, values.values)
    counted = counted_beyond(slo, values.values, over, kind)
    ruling = rule(Values(over, values.steps), p, confidence)
    if ruling.decision is Decision.WITHIN:
        worth = effective_over(values.values, observed, MARGIN, values.steps)
        sure = rule(Values(over, values.steps), p, confidence, at_most=worth)
        if sure.decision is Decision.WITHIN:
            ruling = sure
        elif _with_spare(slo, values, p, confidence):
            counted += (
                f", none of it close; where the percentile itself lies they say less, being worth "
                f"{max(1, math.floor(worth)):,} independent ones"
            )
        else:
            ruling = sure
    return answer(slo, VERDICTS[ruling.decision], observed, n, worded(ruling, counted, n, kind))


def _with_spare(slo: Slo, values: Values, p: float, confidence: float) -> bool:
    over = Values((values.values > slo.limit / SPARE).astype(np.float64), values.steps)
    return rule(over, p, confidence).decision is Decision.WITHIN


def judge_max(slo: Slo, values: Values, kind: str = "requests") -> SloFindings:
    """max(SUBJECT) < limit: a fact about this run."""
    n = len(values)
    if n == 0:
        return answer(slo, Verdict.NOT_ENOUGH_DATA, None, 0, NOTHING)
    over = beyond(slo, values.values)
    verdict = Verdict.FAILED if over.any() else Verdict.PASSED
    return answer(slo, verdict, float(values.values.max()), n, counted_beyond(slo, values.values, over, kind))


def beyond(slo: Slo, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 for each value beyond the limit; one exactly at it is beyond it under `<` only."""
    over = values >= slo.limit if slo.op == "<" else values > slo.limit
    return over.astype(np.float64)


def counted_beyond(slo: Slo, values: NDArray[np.float64], over: NDArray[np.float64], kind: str = "requests") -> str:
    """How many count against a limit, and how many of them because their request failed."""
    counted = f"{int(over.sum()):,} of {len(values):,} {kind} are beyond {format_duration(slo.limit)}"
    failed = int(np.isinf(values).sum())
    return f"{counted} ({failed:,} of them because they failed)" if failed else counted
