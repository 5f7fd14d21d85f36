"""The top of the page: the figures that people ask for first, and how far each SLO is from its limit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.findings import Estimate, SloFindings, Summary, Verdict
from harness.report.figures import decimals_for, in_unit, interval, ms, share
from harness.report.lines import confidence
from harness.report.text import visible
from harness.report.verdict_text import slo_verdict, slo_word
from harness.units import format_rate


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure with what it stands on."""

    name: str
    value: str
    unit: str
    below: str


def tiles(summary: Summary) -> tuple[Tile, ...]:
    """Percentiles, rate and failures; none of a run that measured nothing."""
    counts = summary.counts
    ended = counts.ok + counts.failed + counts.censored
    if not ended:
        return ()
    latency = summary.latency
    decimals = decimals_for(latency.p50.value)
    found = [_percentile(summary, name, estimate, decimals) for name, estimate in
             (("p50", latency.p50), ("p95", latency.p95), ("p99", latency.p99))]  # fmt: skip
    rate, _, unit = format_rate(counts.completed_per_s).partition("/")
    offered = "" if counts.offered_per_s is None else f"of {format_rate(counts.offered_per_s)} offered"
    lost = counts.failed + counts.censored
    found.append(Tile("completed", rate, f"/{unit}" if unit else "", offered))
    found.append(Tile("failed", share(lost / ended).removesuffix("%"), "%", f"{lost:,} of {ended:,} requests"))
    return tuple(found)


def _percentile(summary: Summary, name: str, estimate: Estimate, decimals: int) -> Tile:
    if estimate.value is None:
        return Tile(f"{name} latency", "–", "", visible(estimate.refusal or "", 160))
    around = interval(estimate, decimals)
    below = f"{confidence(summary)}: {around}" if around else f"n = {estimate.n:,}"
    return Tile(f"{name} latency", ms(estimate.value, decimals), "ms", below)


# --- SLOs ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Margin:
    """Observed against the limit on one axis from 0: both as parts of it, 0..1, and how far apart in words."""

    width: float
    limit: float
    words: str


@dataclass(frozen=True, slots=True)
class SloLine:
    """One SLO as it is shown. `tone` is a class of the style sheet."""

    slo: SloFindings
    tone: str
    word: str
    margin: Margin | None


_ROOM = 1.25
"""The longer of the two leaves a fifth of the axis free, so that the mark of the limit is not at the edge."""


def slo_lines(summary: Summary) -> tuple[SloLine, ...]:
    """The SLOs in their order."""
    lines = []
    for slo in summary.slo:
        answer: Verdict | None = slo_verdict(summary, slo)
        lines.append(SloLine(slo, "unjudged" if answer is None else answer.value, slo_word(answer), margin(slo)))
    return tuple(lines)


def margin(slo: SloFindings) -> Margin | None:
    """How far the observed value is from the limit; None without one, or where there is no axis to draw it on."""
    seen, limit = slo.observed, slo.limit
    if seen is None or math.isnan(seen) or not math.isfinite(limit) or limit < 0 or seen < 0:
        return None
    if math.isinf(seen):
        return Margin(1.0, 1 / _ROOM, "beyond any limit")
    axis = max(seen, limit) * _ROOM
    if slo.unit == "ratio" and max(seen, limit) <= 1:
        axis = min(axis, 1.0)
    if axis <= 0:
        return Margin(0.0, 0.0, "at the limit")
    return Margin(min(seen / axis, 1.0), min(limit / axis, 1.0), _apart(slo, seen))


def _apart(slo: SloFindings, seen: float) -> str:
    """`38% below the limit`; shares in points, since half of 2% is not what anybody means by far away."""
    gap = abs(seen - slo.limit)
    side = "below" if seen < slo.limit else "above"
    if gap <= 1e-9 * max(seen, slo.limit):
        return "at the limit"
    if slo.unit == "ratio":
        return f"{gap * 100:.3g} points {side}"
    if slo.limit > 0 and seen >= 2 * slo.limit:
        return f"{seen / slo.limit:,.3g} times the limit"
    return f"{share(gap / slo.limit)} {side}" if slo.limit > 0 else f"{in_unit(gap, slo.unit)} {side}"
