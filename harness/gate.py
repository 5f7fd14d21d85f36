"""SLOs -> verdict: passed | failed | not_enough_data | invalid, each with a reason. It fails closed.

One rule decides everything that is a share of requests (quantiles, error_rate, completed): early stopping with the
effective sample size. Means and shares of the mean are decided by the interval of the mean. What the data cannot
decide is "not enough data", never "passed".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis.statistics import early_stopping
from harness.analysis.statistics.early_stopping import Decision, decide
from harness.analysis.statistics.quantiles import effective_at, effective_size, estimate_mean, quantile
from harness.evidence import WHOLE_REQUEST, Evidence, series, stage_values, steps_of, why_no_stage
from harness.findings import ABORTED, Health, HealthState, SloFindings, Verdict
from harness.model import RunWarning
from harness.slo import Slo
from harness.units import format_count, format_duration, format_share

PLACED = ("upload", "download", "queue_est")
"""Stages that depend on where the server's window stands on the client's clock."""
MARKED_STAGES = ("preprocess", "inference", "postprocess")
"""Stages that exist only where somebody marks them: zero everywhere means nobody does."""

_VERDICTS = {
    Decision.WITHIN: Verdict.PASSED,
    Decision.OVER: Verdict.FAILED,
    Decision.UNDECIDED: Verdict.NOT_ENOUGH_DATA,
}


def judge_slo(slo: Slo, evidence: Evidence) -> SloFindings:
    """One SLO against one run."""
    if slo.statistic == "error_rate":
        return _judge_share(slo, _counted(evidence, "ok"), 1.0 - slo.limit)
    if slo.statistic == "completed":
        return _judge_share(slo, _counted(evidence, "answered"), slo.limit)
    subject = slo.subject or "latency"
    if subject not in WHOLE_REQUEST and (refused := _refuse_stage(slo, evidence)) is not None:
        return refused
    if slo.statistic == "share":
        return _judge_mean_share(slo, evidence.split_rows, subject)
    values = _values(evidence, subject)
    if slo.statistic == "mean":
        # A stage of a failed request is no stage time: the mean stands on the others, as in the stage table.
        return _judge_mean(slo, values if subject in WHOLE_REQUEST else values.finite())
    judge = _judge_max if slo.statistic == "max" else _judge_quantile
    found = judge(slo, values)
    if subject in WHOLE_REQUEST or not evidence.missing_halves:
        return found
    return _either_way(found, judge(slo, _values(evidence, subject, math.nan)), evidence.missing_halves)


@dataclass(frozen=True, slots=True, eq=False)
class _Values:
    """What is judged, in time order, and the load step of each value."""

    seconds: NDArray[np.float64]
    steps: NDArray[np.int64]

    def finite(self) -> _Values:
        known = np.isfinite(self.seconds)
        return _Values(self.seconds[known], self.steps[known])


def _values(evidence: Evidence, subject: str, missing_s: float = math.inf) -> _Values:
    return _Values(series(evidence, subject, missing_s), steps_of(evidence, subject, missing_s))


def _either_way(slowest: SloFindings, without: SloFindings, missing: int) -> SloFindings:
    """Judged with the missing server halves as the slowest of all, and without them: they must not decide."""
    left_open = slowest.verdict is not without.verdict
    many = f"{format_count(missing)} more without a server half {'decide' if left_open else 'change nothing'}"
    verdict = Verdict.NOT_ENOUGH_DATA if left_open else slowest.verdict
    return replace(without, verdict=verdict, n=slowest.n, reason=f"{without.reason}; {many}")


def _counted(evidence: Evidence, good: str) -> _Values:
    """1 for each request that counts against the limit, in time order."""
    requests = evidence.requests
    bad = (~requests[good]).to_numpy().astype(np.float64)
    return _Values(bad, requests["step"].to_numpy(np.int64))


def _refuse_stage(slo: Slo, evidence: Evidence) -> SloFindings | None:
    """A stage cannot be judged on the requests whose server half happened to arrive, nor if nobody marks it."""
    rows, reason = evidence.split_rows, why_no_stage(evidence)
    if reason is not None:
        reason += ", so no stage can be judged"
    elif slo.subject is not None and stage_values(rows, slo.subject).isna().any():
        reason = f"{slo.subject} is not known for every request"
    elif slo.subject in PLACED and evidence.placed_if is not None:
        reason = f"{slo.subject} is only known if {evidence.placed_if}; an SLO on transfer needs no clock"
    elif slo.subject in MARKED_STAGES and len(rows) and not (rows[f"{slo.subject}_s"] > 0).any():
        reason = f"no request spent any time in {slo.subject}: nothing in the service marks it"
    return _answer(slo, Verdict.INVALID, None, len(rows), reason) if reason else None


def _judge_quantile(slo: Slo, values: _Values) -> SloFindings:
    assert slo.quantile is not None  # noqa: S101 - the grammar knows no other statistic
    seconds = values.seconds
    n = len(seconds)
    if n == 0:
        return _answer(slo, Verdict.NOT_ENOUGH_DATA, None, 0, "no request counts here")
    over = _over(slo, seconds)
    decision, n_eff, needs = _decide(_Values(over, values.steps), slo.quantile)
    observed = quantile(np.sort(seconds), slo.quantile)
    shown = observed if math.isfinite(observed) else None
    counted = _beyond(slo, seconds, over)
    if decision is Decision.WITHIN:
        counted += _less_known(slo, values, over)
    return _answer(slo, _VERDICTS[decision], shown, n, _reason(decision, counted, n, n_eff, needs))


def _less_known(slo: Slo, values: _Values, over: NDArray[np.float64]) -> str:
    """What an SLO that is met leaves open: where the quantile itself lies may be known less well than that."""
    assert slo.quantile is not None  # noqa: S101 - the grammar knows no other statistic
    worth = effective_at(values.seconds, slo.quantile, slo.limit, values.steps)
    if decide(float(over.mean()) * worth, worth, slo.quantile) is Decision.WITHIN:
        return ""
    return f"; where the percentile itself lies they say less, being worth {math.floor(worth):,} independent ones"


def _judge_share(slo: Slo, bad: _Values, p: float) -> SloFindings:
    n, count = len(bad.seconds), int(bad.seconds.sum())
    observed = count / n if n else None
    if slo.statistic == "completed" and observed is not None:
        observed = 1.0 - observed
    what = "got no answer" if slo.statistic == "completed" else "failed"
    counted = f"{format_count(count)} of {format_count(n)} requests {what}"
    if not 0.0 < p < 1.0:  # a limit of none or all is a fact about this run, not a statement about a share
        verdict = Verdict.NOT_ENOUGH_DATA if n == 0 else Verdict.PASSED if count == 0 or p == 0.0 else Verdict.FAILED
        return _answer(slo, verdict, observed, n, counted)
    decision, n_eff, needs = _decide(bad, p)
    return _answer(slo, _VERDICTS[decision], observed, n, _reason(decision, counted, n, n_eff, needs))


def _decide(over: _Values, p: float) -> tuple[Decision, int, int]:
    """The rule on the effective sample; also its size and how many requests would decide."""
    n = len(over.seconds)
    if n == 0:
        return Decision.UNDECIDED, 0, early_stopping.needed(0, p)
    scale = effective_size(over.seconds, strata=over.steps) / n
    count = float(over.seconds.sum()) * scale
    needs = math.ceil(early_stopping.needed(math.ceil(count - 1e-9), p) / scale)
    return decide(count, n * scale, p), max(1, math.floor(n * scale)), needs


def _reason(decision: Decision, counted: str, n: int, n_eff: int, needs: int) -> str:
    known = f" (worth {n_eff:,} independent ones)" if n_eff < 0.9 * n else ""
    if decision is not Decision.UNDECIDED:
        return counted + known
    if n_eff < 0.2 * n:
        return f"{counted}{known}; they came together, in too few clusters to decide: run longer"
    return f"{counted}{known}; deciding takes about {max(1, needs - n):,} more requests, if they are no worse"


def _judge_mean(slo: Slo, values: _Values) -> SloFindings:
    seconds, n = values.seconds, len(values.seconds)
    failed = n - int(np.isfinite(seconds).sum())
    if failed:
        reason = f"{failed:,} of {n:,} requests have no latency because they failed: a mean would hide them"
        return _answer(slo, Verdict.FAILED, None, n, reason)
    return _by_interval(slo, values, float(seconds.mean()) if n else None, slo.limit)


def _judge_mean_share(slo: Slo, rows: pd.DataFrame, stage: str) -> SloFindings:
    """mean(stage) / mean(latency) < limit, decided as mean(stage - limit * latency) < 0."""
    values = stage_values(rows, stage).to_numpy(dtype=np.float64)
    if np.isnan(values).any():
        return _answer(slo, Verdict.INVALID, None, len(values), f"{stage} is not known for every request")
    latency = rows["latency_s"].to_numpy(dtype=np.float64)
    total = float(latency.sum())
    observed = float(values.sum()) / total if total > 0 else None
    excess = _Values(values - slo.limit * latency, rows["step"].to_numpy(np.int64))
    return _by_interval(slo, excess, observed, 0.0)


def _by_interval(slo: Slo, values: _Values, observed: float | None, limit: float) -> SloFindings:
    n = len(values.seconds)
    mean = estimate_mean(values.seconds, strata=values.steps)
    if mean.low is None or mean.high is None:
        reason = f"{n:,} requests are too few for an interval of the mean"
        return _answer(slo, Verdict.NOT_ENOUGH_DATA, observed, n, reason)
    verdict = Verdict.NOT_ENOUGH_DATA
    if mean.high < limit or (slo.op == "<=" and mean.high <= limit):
        verdict = Verdict.PASSED
    elif mean.low > limit or (slo.op == "<" and mean.low >= limit):
        verdict = Verdict.FAILED
    shown = format_duration if slo.unit == "s" else format_share
    if slo.unit == "s":
        reason = f"95% interval {shown(mean.low)} to {shown(mean.high)} over {n:,} requests"
    else:
        reason = f"{shown(observed)} of the mean latency of {n:,} requests"
    return _answer(
        slo, verdict, observed, n, reason if verdict is not Verdict.NOT_ENOUGH_DATA else reason + ": too close"
    )


def _judge_max(slo: Slo, values: _Values) -> SloFindings:
    seconds = values.seconds
    n = len(seconds)
    if n == 0:
        return _answer(slo, Verdict.NOT_ENOUGH_DATA, None, 0, "no request counts here")
    over = _over(slo, seconds)
    observed = float(seconds.max())
    verdict = Verdict.FAILED if over.any() else Verdict.PASSED
    return _answer(slo, verdict, observed if math.isfinite(observed) else None, n, _beyond(slo, seconds, over))


def _beyond(slo: Slo, series: NDArray[np.float64], over: NDArray[np.float64]) -> str:
    """How many requests count against a limit, and how many of them because they failed."""
    counted = f"{int(over.sum()):,} of {len(series):,} requests are beyond {format_duration(slo.limit)}"
    failed = int(np.isinf(series).sum())
    return f"{counted} ({failed:,} of them because they failed)" if failed else counted


def _over(slo: Slo, series: NDArray[np.float64]) -> NDArray[np.float64]:
    beyond = series >= slo.limit if slo.op == "<" else series > slo.limit
    return beyond.astype(np.float64)


def _answer(slo: Slo, verdict: Verdict, observed: float | None, n: int, reason: str) -> SloFindings:
    return SloFindings(slo.expression, verdict, observed, slo.limit, slo.unit, n, reason)


# --- the whole run -----------------------------------------------------------------------------------------


def judge_run(
    slos: Sequence[SloFindings], health: Health, warnings: Sequence[RunWarning], ok: int
) -> tuple[Verdict, tuple[str, ...]]:
    """The run's verdict and its reasons: an invalid measurement is never passed or failed.

    A run that was aborted has failed, whatever the requests before that say of its SLOs.
    """
    invalid = [w.message for w in warnings if w.invalidates and w.code != ABORTED]
    if health.state is HealthState.INVALID:
        invalid.extend(health.reasons)
    if invalid:
        return Verdict.INVALID, tuple(invalid)
    aborted = tuple(w.message for w in warnings if w.code == ABORTED)
    if aborted:
        return Verdict.FAILED, (*aborted, *_reasons(slos, Verdict.FAILED))
    for verdict in (Verdict.FAILED, Verdict.INVALID, Verdict.NOT_ENOUGH_DATA):
        reasons = _reasons(slos, verdict)
        if reasons:
            return verdict, reasons
    if ok == 0:
        return Verdict.NOT_ENOUGH_DATA, ("no request was answered as expected",)
    return Verdict.PASSED, ()


def _reasons(slos: Sequence[SloFindings], verdict: Verdict) -> tuple[str, ...]:
    return tuple(f"{s.expression}: {s.reason}" for s in slos if s.verdict is verdict)
