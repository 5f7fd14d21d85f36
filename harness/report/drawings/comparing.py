"""Two runs side by side and many over time, drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.comparison import CompareFindings, HistoryFindings, Shift, StageChange
from harness.report import charts
from harness.report.charts import Shifted, StageDelta, TrendPoint
from harness.report.drawings.drawing import ChartTable, Drawing, distinct
from harness.report.figures import decimals_for, interval, ms, percentile, percentiles_listed
from harness.report.lines import stage_label
from harness.report.palette import IN_PAGE, Theme
from harness.report.text import visible
from harness.units import format_duration, format_rate

MOST_RUNS = 200


def shift_chart(found: CompareFindings, theme: Theme = IN_PAGE) -> Drawing | None:
    """What became of each percentile of the latency, B - A, with its interval."""
    known = [s for s in found.shifts if _finite(s.change.value) is not None]
    if not known:
        return None
    decimals = decimals_for(max(abs(s.change.value or 0.0) for s in known))
    points = [_shifted(s, decimals) for s in known]
    return Drawing(
        key="shift",
        title="What became of each percentile",
        label="Change of the latency from A to B at each percentile, above zero is slower. "
        + "; ".join(f"{p.label} {p.words} ms" for p in points),
        note="B - A; above zero B is slower. Bars are 95% intervals, of the requests of these two runs alone."
        + _refused(found.shifts),
        chart=charts.shifts(points, theme),
        table=ChartTable(
            "Latency by percentile, in milliseconds", ("percentile", "A", "B", "change", "its interval"),
            tuple(_shift_row(s, decimals) for s in found.shifts),
        ),
    )  # fmt: skip


def _refused(shifts: Sequence[Shift]) -> str:
    """Which percentiles there is nothing to say of; why stands with each of them in the table."""
    refused = {s.p: s.refusal for s in shifts if s.refusal}
    if not refused:
        return ""
    listed = percentiles_listed([s.p for s in shifts], refused, between=", ")
    few = all("needs " in reason for reason in refused.values())
    why = "too few independent requests (the table says how many)" if few else "the table says why"
    return f" {listed} {'is' if len(refused) == 1 else 'are'} refused: {why}."


def _finite(seconds: float | None) -> float | None:
    return None if seconds is None or not math.isfinite(seconds) else seconds


def _ms(seconds: float | None) -> float | None:
    known = _finite(seconds)
    return None if known is None else known * 1000


def _shifted(shift: Shift, decimals: int) -> Shifted:
    change = shift.change
    written = " ".join(part for part in (ms(change.value, decimals), _in_brackets(interval(change, decimals))) if part)
    return Shifted(percentile(shift.p), (change.value or 0.0) * 1000, _ms(change.low), _ms(change.high), written)


def _in_brackets(text: str) -> str:
    return f"({text})" if text else ""


def _shift_row(shift: Shift, decimals: int) -> tuple[str, ...]:
    refused = visible(shift.refusal or shift.change.refusal or "", 200)
    a, b, change = (ms(v, decimals) for v in (shift.a_s, shift.b_s, shift.change.value))
    return percentile(shift.p), a, b, change, interval(shift.change, decimals) or refused


def delta_chart(found: CompareFindings, theme: Theme = IN_PAGE) -> Drawing | None:
    """What became of each stage, B - A: of its mean, with its interval, and its part of the change of the p95."""
    tail = {stage: _ms(seconds) for stage, seconds in found.tail}
    known = [s for s in found.stages if _finite(s.change.value) is not None or tail.get(s.stage) is not None]
    if not known:
        return None
    labels = distinct([visible(stage_label(s.stage), 32) for s in known])
    rows = [
        StageDelta(s.stage, label, _ms(s.change.value), _ms(s.change.low), _ms(s.change.high), tail.get(s.stage))
        for s, label in zip(known, labels, strict=True)
    ]
    largest = max(known, key=lambda s: abs(_finite(s.change.value) or 0.0))
    note = "B - A; right of zero B takes longer. Bars: the mean with its 95% interval."
    return Drawing(
        key="delta",
        title="What became of each stage",
        label=f"Change of the mean of each stage from A to B. {visible(stage_label(largest.stage), 32)} changed most, "
        f"by {ms(largest.change.value, 3)} ms.",
        note=note + (" Diamonds: its part of the change of the p95." if any(r.tail is not None for r in rows) else ""),
        chart=charts.deltas(rows, theme),
        table=_delta_table(known, labels, dict(found.tail)),
    )


def _delta_table(known: list[StageChange], labels: list[str], tail: dict[str, float]) -> ChartTable:
    decimals = decimals_for(max((v for s in known for v in (s.a_s, s.b_s) if v is not None), default=None))
    rows = tuple(
        (
            label, ms(s.a_s, decimals), ms(s.b_s, decimals), ms(s.change.value, decimals),
            interval(s.change, decimals) or visible(s.change.refusal or "", 80), ms(tail.get(s.stage), decimals),
        )
        for s, label in zip(known, labels, strict=True)
    )  # fmt: skip
    columns = ("stage", "A", "B", "change", "its interval", "of the change of the p95")
    return ChartTable("Mean of each stage, in milliseconds", columns, rows)


def trend(found: HistoryFindings, theme: Theme = IN_PAGE) -> Drawing | None:
    """The p95 and the completed rate of the runs of a scenario, oldest first."""
    rows = found.rows[-MOST_RUNS:]
    points = [
        TrendPoint(i, visible(r.run.run_id, 60), _positive_ms(r.p95_s), _finite(r.completed_per_s), r.counted)
        for i, r in enumerate(rows, 1)
    ]
    if not any(p.p95_ms is not None or p.completed is not None for p in points):
        return None
    places = {r.run.run_id: i for i, r in enumerate(rows, 1)}
    changes = sorted({places[c.after_run] for c in found.changes if c.after_run in places})
    newest = rows[-1]
    return Drawing(
        key="trend",
        title=f"Runs of {visible(found.scenario, 60)} over time",
        label=f"p95 and completed requests per second of {len(rows):,} runs, oldest first; the newest has a p95 of "
        f"{format_duration(newest.p95_s)} and completes {format_rate(newest.completed_per_s)}.",
        note=(f"{len(found.rows) - len(rows):,} older runs are left out. " if len(found.rows) > len(rows) else "")
        + ("Dashed: where a metric became another one." if changes else "No change was found."),
        chart=charts.trend_lines(points, theme, changes),
        table=ChartTable(
            f"Runs of {visible(found.scenario, 60)}", ("run", "p95", "completed", "compared"),
            tuple(
                (visible(r.run.run_id, 60), format_duration(r.p95_s), format_rate(r.completed_per_s),
                 "yes" if r.counted else "no")
                for r in rows
            ),
        ),
    )  # fmt: skip


def _positive_ms(seconds: float | None) -> float | None:
    known = _ms(seconds)
    return known if known is not None and known > 0 else None
