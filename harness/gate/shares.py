"""One rule decides every share of requests: early stopping with the effective sample size.

A limit of none or all is a fact about this run, not a statement about a share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from harness.analysis.statistics import early_stopping
from harness.analysis.statistics.early_stopping import Decision, decide
from harness.analysis.statistics.quantiles import effective_size
from harness.evidence import Evidence
from harness.findings import SloFindings, Verdict
from harness.gate.answers import NOTHING, VERDICTS, Refusal, Values, answer, fact, more, refused
from harness.slo import Slo
from harness.units import format_count, quoted

FEW_CLUSTERS = 0.2
"""Requests worth less than this part of their number came in a few clusters: more of them at once would not help."""
_BEYOND_COUNTING = 1e9


@dataclass(frozen=True, slots=True)
class Ruling:
    """What early stopping says: `n_eff` independent requests, `total` is how many requests would decide."""

    decision: Decision
    n_eff: float
    total: float


def rule(bad: Values, p: float, confidence: float, at_most: float = math.inf) -> Ruling:
    """Whether a share of at least p is good, from a 1 for each one that is not. `at_most` caps the effective size."""
    n = len(bad)
    if n == 0:
        return Ruling(Decision.UNDECIDED, 0.0, early_stopping.needed(0, p, confidence))
    n_eff = min(effective_size(bad.values, strata=bad.steps), at_most)
    share = float(bad.values.mean())
    decision = decide(share * n_eff, n_eff, p, confidence)
    total = needed(share, p, confidence) * n / n_eff if decision is Decision.UNDECIDED else float(n)
    return Ruling(decision, n_eff, total)


def needed(share: float, p: float, confidence: float) -> float:
    """Independent requests that decide, if that share of them is bad; infinite when none do."""
    if share == 0.0:
        return early_stopping.needed(0, p, confidence)
    high = 1.0
    while decide(share * high, high, p, confidence) is Decision.UNDECIDED:
        high *= 2.0
        if high > _BEYOND_COUNTING:
            return math.inf
    low = high / 2.0
    while high - low > max(0.5, 1e-3 * high):
        middle = (low + high) / 2.0
        undecided = decide(share * middle, middle, p, confidence) is Decision.UNDECIDED
        low, high = (middle, high) if undecided else (low, middle)
    return high


def worded(ruling: Ruling, counted: str, n: int, kind: str = "requests") -> str:
    """The reason of a ruling: what was counted, what it is worth, how much more it takes."""
    n_eff = max(1, math.floor(ruling.n_eff))
    known = f" (worth {n_eff:,} independent ones)" if n_eff < 0.9 * n else ""
    if ruling.decision is not Decision.UNDECIDED:
        return counted + known
    if n_eff < FEW_CLUSTERS * n:
        return f"{counted}{known}; they came together, in too few clusters to decide: run longer"
    return f"{counted}{known}; {more(n, ruling.total, kind)}"


def judge_share(slo: Slo, evidence: Evidence, confidence: float) -> SloFindings:
    """error_rate, completed, check_rate, coverage, share(ok)."""
    found = _counted(slo, evidence)
    if isinstance(found, Refusal):
        return refused(slo, found)
    true, against = found
    upper = slo.op[0] == "<"
    bad = true if upper else Values(1.0 - true.values, true.steps)
    n, count = len(bad), int(bad.values.sum())
    if n == 0:
        return answer(slo, Verdict.NOT_ENOUGH_DATA, None, 0, NOTHING)
    observed = count / n if upper else (n - count) / n
    counted = f"{format_count(count)} of {format_count(n)} requests {against}"
    p = 1.0 - slo.limit if upper else slo.limit
    if not 0.0 < p < 1.0:
        return _as_far_as_checked(slo, answer(slo, fact(slo, observed), observed, n, counted), evidence)
    ruling = rule(bad, p, confidence)
    judged = answer(slo, VERDICTS[ruling.decision], observed, n, worded(ruling, counted, n))
    return _as_far_as_checked(slo, judged, evidence)


def _as_far_as_checked(slo: Slo, found: SloFindings, evidence: Evidence) -> SloFindings:
    """A body that nobody looked at has passed no check: of some of them a check rate can only be too high."""
    if slo.statistic != "check_rate" or found.verdict is not Verdict.PASSED or not evidence.unchecked:
        return found
    unchecked = sorted(set(evidence.unchecked) & set(evidence.requests["name"].unique()))
    if not unchecked:
        return found
    names = ", ".join(quoted(name) for name in unchecked)
    return replace(found, verdict=Verdict.INVALID, reason=f"{found.reason}; not every body of {names} was checked")


def _counted(slo: Slo, evidence: Evidence) -> tuple[Values, str] | Refusal:
    """1 for each request that is what the statistic is the share of; and words for those against the limit."""
    requests, statistic = evidence.requests, slo.statistic
    if statistic == "error_rate":
        true, against = ~requests["ok"], "failed"
    elif statistic == "completed":
        true, against = requests["answered"], "got no answer"
    elif statistic == "check_rate":
        requests = requests[requests["answered"].to_numpy(dtype=np.bool_)]
        true, against = requests["failed_checks"].isna(), "have an answer that failed a check"
    elif statistic == "coverage":
        if not evidence.asked:
            return Refusal(Verdict.INVALID, "no server half was asked for")
        requests = requests[requests["ok"].to_numpy(dtype=np.bool_)]
        true, against = requests["request_id"].isin(evidence.split_rows["request_id"]), "have no server half"
    else:
        true, against = requests["ok"], "failed"
    steps = requests["step"].to_numpy(dtype=np.int64)
    return Values(true.to_numpy(dtype=np.bool_).astype(np.float64), steps), against
