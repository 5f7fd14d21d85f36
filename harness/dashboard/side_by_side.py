"""Two summaries beside each other: what is on disk already, shown while the differences are being estimated."""

from __future__ import annotations

from harness.estimates import Estimate
from harness.findings import Summary
from harness.report.compare_text import Table
from harness.report.figures import decimals_for, interval, ms, share
from harness.report.lines import stage_label
from harness.units import MISSING, format_rate

_STATISTICS = ("p50", "p95", "p99", "mean")


def tables(a: Summary, b: Summary) -> tuple[Table, ...]:
    """The whole request and the mean of each stage, as each run's own report has them; no differences."""
    return tuple(table for table in (_whole(a, b), _stages(a, b)) if table.rows)


def _whole(a: Summary, b: Summary) -> Table:
    rows = [(name, *_estimate(getattr(a.latency, name)), *_estimate(getattr(b.latency, name))) for name in _STATISTICS]
    rows.append(("failed", share(_failed(a)), "", share(_failed(b)), ""))
    rows.append(("answers ok", *_rate(a), *_rate(b)))
    note = "latency in milliseconds from the scheduled instant, as each run's own report has it"
    return Table("The whole request", ("", "A", "95% interval", "B", "95% interval"), tuple(rows), (0, 2, 4), note)


def _estimate(found: Estimate) -> tuple[str, str]:
    """The figure and its interval; instead of a figure that is refused, why."""
    if found.value is None:
        return MISSING, found.refusal or ""
    decimals = decimals_for(found.value)
    return ms(found.value, decimals), interval(found, decimals)


def _rate(side: Summary) -> tuple[str, str]:
    return format_rate(side.counts.completed_per_s), ""


def _failed(side: Summary) -> float | None:
    counts = side.counts
    return (counts.failed + counts.censored) / counts.scheduled if counts.scheduled else None


def _stages(a: Summary, b: Summary) -> Table:
    means = [{stage.stage: stage.mean.value for stage in side.stages} for side in (a, b)]
    names = [name for name in dict.fromkeys([*means[0], *means[1]]) if any(side.get(name) != 0.0 for side in means)]
    known = [value for side in means for value in side.values() if value is not None]
    decimals = decimals_for(max(known, default=None))
    rows = tuple((stage_label(name), *(ms(side.get(name), decimals) for side in means)) for name in names)
    return Table("Stages, mean per request (ms)", ("", "A", "B"), rows, (0,), "")
