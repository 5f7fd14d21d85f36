"""Limits on counts and rates.

A count is a fact about this run. A rate of a run whose arrivals were drawn up front is what was offered times the share
that counts: the offered rate is planned and no chance, so the rule of shares decides the rest. In a closed loop the
service itself sets the rate: there the counts of each second are looked at, and the interval of their mean decides.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.evidence import WHOLE_REQUEST, Evidence
from harness.findings import SloFindings, Verdict
from harness.gate.answers import NOTHING, VERDICTS, Values, answer, fact
from harness.gate.means import by_interval
from harness.gate.shares import rule, worded
from harness.slo import Slo
from harness.units import format_count, format_duration, format_rate

LEAST_SECONDS = 10
SLACK = 0.005
"""The measured time is not known better: a limit so little above what was offered asks for all of it."""


def judge_count(slo: Slo, evidence: Evidence) -> SloFindings:
    """count(COLUMN): how many requests have a known value (of ok: are ok)."""
    n = len(evidence.requests)
    if n == 0:
        return answer(slo, Verdict.NOT_ENOUGH_DATA, None, 0, NOTHING)
    if (lacking := _unknown(slo, evidence)) is not None:
        return lacking
    count = int(counts_of(evidence, slo.subject or "ok").sum())
    return answer(slo, fact(slo, count), count, n, f"{format_count(count)} of {format_count(n)} requests")


def judge_rate(slo: Slo, evidence: Evidence, seconds: float | None, confidence: float) -> SloFindings:
    """rate(COLUMN) and throughput: the same per second of the measured time."""
    n = len(evidence.requests)
    if n == 0:
        return answer(slo, Verdict.NOT_ENOUGH_DATA, None, 0, NOTHING)
    if not seconds:
        return answer(slo, Verdict.INVALID, None, n, "how long that was measured is not known")
    if (lacking := _unknown(slo, evidence)) is not None:
        return lacking
    counted = counts_of(evidence, slo.subject or "ok")
    if evidence.planned:
        return _planned(slo, evidence, counted, seconds, confidence)
    return _closed(slo, evidence, counted, seconds, confidence)


def _unknown(slo: Slo, evidence: Evidence) -> SloFindings | None:
    if evidence.asked or slo.subject in (None, "ok", *WHOLE_REQUEST):
        return None
    return answer(slo, Verdict.INVALID, None, len(evidence.requests), "no server half was asked for")


def counts_of(evidence: Evidence, column: str) -> NDArray[np.bool_]:
    """Which requests have that column. Stages are known of ok requests with a server half."""
    requests = evidence.requests
    if column == "ok":
        known = requests["ok"]
    elif column in WHOLE_REQUEST:
        known = requests[f"{column}_s"].notna()
    else:
        rows = evidence.split_rows
        known = requests["request_id"].isin(rows.loc[rows[f"{column}_s"].notna(), "request_id"])
    found: NDArray[np.bool_] = known.to_numpy(dtype=np.bool_)
    return found


def _planned(
    slo: Slo, evidence: Evidence, counted: NDArray[np.bool_], seconds: float, confidence: float
) -> SloFindings:
    n, count = len(counted), int(counted.sum())
    observed, offered = count / seconds, n / seconds
    said = f"{format_count(count)} of {format_count(n)} requests in {format_duration(seconds)}"
    p = slo.limit / offered
    if count and p > 1.0 + (SLACK if slo.op == ">=" else 0.0):
        reason = f"{said}: no more than {format_rate(offered)} were offered, which cannot show it; raise the load"
        return answer(slo, Verdict.INVALID, observed, n, reason)
    if p <= 0.0:
        return answer(slo, fact(slo, observed), observed, n, said)
    if p >= 1.0:
        return answer(slo, Verdict.PASSED if count == n and slo.op == ">=" else Verdict.FAILED, observed, n, said)
    bad = Values(1.0 - counted.astype(np.float64), evidence.requests["step"].to_numpy(dtype=np.int64))
    ruling = rule(bad, p, confidence)
    return answer(slo, VERDICTS[ruling.decision], observed, n, worded(ruling, said, n))


def _closed(slo: Slo, evidence: Evidence, counted: NDArray[np.bool_], seconds: float, confidence: float) -> SloFindings:
    observed = float(counted.sum()) / seconds
    per_second, steps = _seconds(evidence.requests, counted, seconds)
    if len(per_second) < LEAST_SECONDS:
        reason = f"{format_duration(seconds)} is too short for an interval: needs {LEAST_SECONDS} s"
        return answer(slo, Verdict.NOT_ENOUGH_DATA, observed, len(counted), reason)
    return by_interval(slo, Values(per_second, steps), observed, slo.limit, confidence, "seconds")


def _seconds(
    requests: pd.DataFrame, counted: NDArray[np.bool_], seconds: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """How many count in each whole second, by the instant they were sent; and the load step of the second."""
    at_ns = requests["scheduled_ns"].to_numpy(dtype=np.int64)
    second = (at_ns - at_ns.min()) // 1_000_000_000
    whole = max(1, int(seconds))
    inside = second < whole
    counts: NDArray[np.float64] = np.bincount(second[inside & counted], minlength=whole).astype(np.float64)
    steps = np.zeros(whole, np.int64)
    np.maximum.at(steps, second[inside], requests["step"].to_numpy(dtype=np.int64)[inside])
    np.maximum.accumulate(steps, out=steps)
    return counts, steps
