"""SLOs -> verdict: passed | failed | not_enough_data | invalid, each with a reason. It fails closed.

One rule decides everything that is a share of requests (quantiles, error_rate, completed, ...): early stopping with the
effective sample size. Means, shares of the mean and coefficients of variation are decided by an interval; counts and
largest values are facts about the run. What the data cannot decide is "not enough data", never "passed".
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from harness.analysis.statistics.early_stopping import CONFIDENCE
from harness.evidence import WHOLE_REQUEST, Evidence
from harness.findings import SloFindings, Verdict
from harness.gate.answers import Refusal, Values, answer, refused
from harness.gate.counted import judge_count, judge_rate
from harness.gate.means import judge_cv, judge_mean, judge_mean_share
from harness.gate.quantiles import judge_max, judge_quantile
from harness.gate.select import CALL, model_share_values, narrowed, refuse_stage, seconds_of, values_of
from harness.gate.shares import judge_share
from harness.gate.verdict import CUT_SHORT, Judged, judge_run
from harness.gate.vitals import judge_vital
from harness.slo import VITALS, Slo
from harness.units import format_count

__all__ = ["CONFIDENCE", "CUT_SHORT", "Judged", "agreed", "judge_run", "judge_slo"]

_SHARES = ("error_rate", "completed", "check_rate", "coverage")


def judge_slo(slo: Slo, evidence: Evidence, confidence: float = CONFIDENCE) -> SloFindings:
    """One SLO against one run. `confidence` is that of a single look: a run judged several times needs a higher one."""
    if slo.subject in VITALS:
        return judge_vital(slo, evidence, confidence)
    found = narrowed(evidence, slo.where)
    if isinstance(found, Refusal):
        return refused(slo, found)
    if slo.statistic in _SHARES or (slo.statistic == "share" and slo.subject == "ok"):
        return judge_share(slo, found, confidence)
    if slo.statistic == "count":
        return judge_count(slo, found)
    if slo.statistic in ("rate", "throughput"):
        return judge_rate(slo, found, seconds_of(evidence, slo.where), confidence)
    return _judge_values(slo, found, confidence)


def _judge_values(slo: Slo, evidence: Evidence, confidence: float) -> SloFindings:
    whole = (slo.subject or "latency") in WHOLE_REQUEST
    if not whole and (unjudged := refuse_stage(slo, evidence)) is not None:
        return refused(slo, unjudged)
    if slo.statistic == "share":
        shares = model_share_values(evidence, slo)
        if np.isnan(shares.values).any():
            return answer(slo, Verdict.INVALID, None, len(shares), f"{slo.subject} is not known for every request")
        return judge_mean_share(slo, evidence.split_rows, shares, confidence)
    values = values_of(evidence, slo)
    if isinstance(values, Refusal):
        return refused(slo, values)
    found = _judge(slo, values, whole, confidence)
    if whole or slo.statistic in ("mean", "cv") or not evidence.missing_halves:
        return found
    without = values_of(evidence, slo, math.nan)
    assert isinstance(without, Values)  # noqa: S101 - what refuses the one refuses the other
    return _either_way(found, _judge(slo, without, whole, confidence), evidence.missing_halves)


def _judge(slo: Slo, values: Values, whole: bool, confidence: float) -> SloFindings:
    kind = "calls" if slo.subject == CALL else "requests"
    if slo.statistic in ("mean", "cv"):
        # A stage of a failed request is no stage time: the mean stands on the others, as in the stage table.
        judge = judge_mean if slo.statistic == "mean" else judge_cv
        return judge(slo, values if whole else values.finite(), confidence, kind)
    if slo.statistic == "max":
        return judge_max(slo, values, kind)
    return judge_quantile(slo, values, confidence, kind)


def _either_way(slowest: SloFindings, without: SloFindings, missing: int) -> SloFindings:
    """Judged with the missing server halves as the slowest of all, and without them: they must not decide."""
    left_open = slowest.verdict is not without.verdict
    many = f"{format_count(missing)} more without a server half {'decide' if left_open else 'change nothing'}"
    verdict = Verdict.NOT_ENOUGH_DATA if left_open else slowest.verdict
    return replace(without, verdict=verdict, n=slowest.n, reason=f"{without.reason}; {many}")


def agreed(without: SloFindings, worst: SloFindings) -> SloFindings:
    """Judged without the requests whose end nobody knows, and with them as failed ones: they must not decide."""
    if without.verdict is worst.verdict:
        return without
    return replace(without, verdict=Verdict.NOT_ENOUGH_DATA, reason="requests that were still in flight decide")
