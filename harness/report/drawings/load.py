"""The load curve, drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from harness.diagnosis import Steadiness, StepFindings
from harness.findings import Estimate, Summary
from harness.report import charts
from harness.report.charts import Limit, LoadPoint
from harness.report.drawings.drawing import ChartTable, Drawing
from harness.report.palette import IN_PAGE, Theme
from harness.report.steps_text import PERCENTILES, StepLine, level_text, step_lines
from harness.report.text import visible
from harness.slo import SloError, Where, parse_slo
from harness.views import Views

MOST_LIMITS = 4


def load_drawing(
    summary: Summary, _: pd.DataFrame, __: Views, theme: Theme = IN_PAGE, slos: Sequence[str] | None = None
) -> Drawing | None:
    """What was achieved and how long it took, against what was offered; of a run with several load steps.

    The limits drawn are those of the run's own SLOs, or of the expressions that are given.
    """
    steps = [s for s in summary.steps if s.scheduled and math.isfinite(s.level)]
    if len({s.level for s in steps}) < 2:
        return None
    users = all(s.offered_per_s is None for s in steps)
    points = sorted((_point(summary, s, users) for s in steps), key=lambda p: p.offered)
    unstable = [level_text(summary, s) for s in steps if s.state is Steadiness.UNSTABLE]
    said = f"Unstable: {', '.join(unstable)}; percentiles would grow with the length of the test." if unstable else ""
    known = any(found is not None for p in points for found in p.percentiles)
    latency = (_of_latency(points), said) if known else _no_latency(len(unstable) == len(points), said)
    wanted = [each.expression for each in summary.slo] if slos is None else slos
    return Drawing(
        key="load",
        title="Load curve",
        label=f"Completed requests per second{' and percentiles of latency' if known else ''} at {len(points)} loads, "
        f"from {level_text(summary, min(steps, key=lambda s: s.level))} to "
        f"{level_text(summary, max(steps, key=lambda s: s.level))}. {said}".strip(),
        note=" ".join(part for part in ("" if users else "Dashed: all that was offered.", *latency) if part),
        chart=charts.load_curve(points, theme, _limits(wanted), users),
        table=_table(step_lines(summary)),
    )  # fmt: skip


def _of_latency(points: list[LoadPoint]) -> str:
    gaps = any(found is None for p in points if not p.unstable for found in p.percentiles)
    return "Bars are 95% intervals." + (" A line is interrupted where its percentile has no figure." if gaps else "")


def _no_latency(all_unstable: bool, said: str) -> tuple[str, ...]:
    if all_unstable:
        return ("No latency: every step is unstable, so that percentiles would grow with the length of the test.",)
    return "No latency: no step has a percentile (the table says why).", said


def _point(summary: Summary, step: StepFindings, users: bool) -> LoadPoint:
    offered = step.level if users or step.offered_per_s is None else step.offered_per_s
    found = tuple(_percentile(getattr(step.latency, name)) for name in PERCENTILES)
    words = f"{level_text(summary, step)}, {step.state.value}"
    return LoadPoint(offered, step.completed_per_s, step.state is Steadiness.UNSTABLE, found, words)


def _percentile(found: Estimate) -> tuple[float, float | None, float | None] | None:
    if found.value is None or not math.isfinite(found.value) or found.value <= 0:
        return None
    low, high = (None if v is None or not math.isfinite(v) or v <= 0 else v * 1000 for v in (found.low, found.high))
    return found.value * 1000, low, high


def _limits(expressions: Sequence[str]) -> list[Limit]:
    """The limits on percentiles of latency, the strictest first."""
    found = {}
    for expression in expressions:
        try:
            parsed = parse_slo(expression)
        except SloError:
            continue
        whole = parsed.subject == "latency" and parsed.quantile is not None and parsed.where == Where()
        if whole and parsed.unit == "s" and math.isfinite(parsed.limit) and parsed.limit > 0:
            found[visible(expression, 40)] = parsed.limit * 1000
    return [Limit(ms, label) for label, ms in sorted(found.items(), key=lambda each: each[1])][:MOST_LIMITS]


def _table(lines: tuple[StepLine, ...]) -> ChartTable:
    columns = ("step", "state", "offered", "completed", "failed", *(f"{p} (ms)" for p in PERCENTILES))
    rows = tuple(
        (
            line.level, line.state.value, line.offered, line.completed, line.failed,
            *(f"{c.value} ({c.interval})" if c.interval else c.value for c in line.percentiles),
        )
        for line in lines
    )  # fmt: skip
    return ChartTable("Load steps", columns, rows)
