"""How figures are written in every report: milliseconds with aligned decimals, intervals, refusals."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from harness.findings import Estimate, Reading, SloFindings
from harness.units import MISSING, format_bytes, format_count, format_duration, format_rate, format_share


def decimals_for(seconds: float | None) -> int:
    """Decimals of milliseconds that suit a table whose largest value is about `seconds`."""
    if seconds is None or not math.isfinite(seconds) or seconds >= 10:
        return 0
    return 1 if seconds >= 0.1 else 2 if seconds >= 0.01 else 3


def ms(seconds: float | None, decimals: int) -> str:
    """Milliseconds without their unit, thousands grouped; the sign for nothing when there is no figure."""
    if seconds is None or math.isnan(seconds):
        return MISSING
    if math.isinf(seconds):
        return "∞" if seconds > 0 else "-∞"
    shown = f"{seconds * 1000:,.{decimals}f}"
    return shown.removeprefix("-") if not shown.strip("-0.,") else shown


def interval(estimate: Estimate, decimals: int) -> str:
    """`175.1 … 190.4` in milliseconds, `≥ 175.1` when it is open above, nothing when there is none."""
    if estimate.value is None or (estimate.low is None and estimate.high is None):
        return ""
    if estimate.high is None:
        return f"≥ {ms(estimate.low, decimals)}"
    if estimate.low is None:
        return f"≤ {ms(estimate.high, decimals)}"
    return f"{ms(estimate.low, decimals)} … {ms(estimate.high, decimals)}"


def in_unit(value: float | None, unit: str) -> str:
    """A figure in its unit: `s` as a duration, `ratio` as a share, `1/s` as a rate, `B` as bytes, else a number."""
    if unit == "s":
        return format_duration(value)
    if unit == "ratio":
        return format_share(value)
    if unit == "1/s":
        return format_rate(value)
    if unit in {"B", "bytes"}:
        return format_bytes(value)
    if value is None or not math.isfinite(value):
        return MISSING
    number = format_count(int(value)) if value == int(value) else f"{value:,.3g}"
    return number if unit in {"", "1", "count"} else f"{number} {unit}"


def observed(slo: SloFindings) -> str:
    """What was seen, in the unit of the limit."""
    return in_unit(slo.observed, slo.unit)


def share(value: float | None) -> str:
    """A share of 0..1 in percent with one decimal, so that a column of them lines up."""
    if value is None or not math.isfinite(value):
        return MISSING
    shown = f"{value * 100:.1f}%"
    return "0.0%" if shown == "-0.0%" else shown


def beyond(reading: Reading) -> str:
    """`invalid`, `suspect` or `healthy`: which limit the reading passed; `unknown` without a value."""
    return "unknown" if reading.state is None else reading.state.value


def share_interval(low: float | None, high: float | None) -> str:
    """`0.5% … 4.2%`, `≥ 0.5%` when it is open above, nothing when there is none."""
    low, high = (None if x is None or not math.isfinite(x) else x for x in (low, high))
    if low is None and high is None:
        return ""
    if high is None:
        return f"≥ {share(low)}"
    return f"≤ {share(high)}" if low is None else f"{share(low)} … {share(high)}"


def number(value: float | None) -> str:
    """A plain number with about three digits, thousands grouped: `3.2`, `0.045`, `1,204`."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percentile(p: float) -> str:
    """`p50`, `p99.9`."""
    return f"p{p * 100:g}"


def percentiles_listed(every: Sequence[float], wanted: Collection[float], between: str = " or ") -> str:
    """`p10 or p95 to p99.9`: of all percentiles in their order those wanted, neighbours together."""
    runs: list[list[str]] = []
    before = False
    for p in every:
        if p in wanted and before:
            runs[-1].append(percentile(p))
        elif p in wanted:
            runs.append([percentile(p)])
        before = p in wanted
    return between.join(f"{run[0]} to {run[-1]}" if len(run) > 2 else between.join(run) for run in runs)
