"""Charts of two runs side by side, and of many runs of a scenario over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from harness.report.charts.bars import beside, hues_of, lines_height, named_lines, zero_rule
from harness.report.charts.parts import AnyChart, Layer, finite, log_ms_axis, positive, styled
from harness.report.palette import IN_PAGE, Theme

SHIFT_HEIGHT, TREND_TOP, TREND_HEIGHT = 260, 160, 250


@dataclass(frozen=True, slots=True)
class Shifted:
    """What became of one percentile: the change in milliseconds with its interval, if it has one."""

    label: str
    change: float
    low: float | None
    high: float | None
    words: str


@dataclass(frozen=True, slots=True)
class StageDelta:
    """What became of one stage: the change of its mean with its interval, and its part of the change of the p95, ms."""

    stage: str
    label: str
    mean: float | None
    low: float | None
    high: float | None
    tail: float | None


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """One run of a history."""

    at: int  # its place in the history
    label: str
    p95_ms: float | None
    completed: float | None
    counted: bool


def shifts(points: Sequence[Shifted], theme: Theme = IN_PAGE) -> AnyChart:
    """The shift function: the change of each percentile, slower above the line of no change, with its interval."""
    values: list[dict[str, Any]] = [
        {"label": p.label, "change": finite(p.change), "low": finite(p.low), "high": finite(p.high), "words": p.words}
        for p in points
    ]
    order = [p.label for p in points]
    x = alt.X("label:N", sort=order, title="percentile of the latency", axis=alt.Axis(labelAngle=0, grid=False),
              scale=alt.Scale(type="point", padding=0.6))  # fmt: skip
    y = alt.Y(
        "change:Q", title="change, B - A (ms)", axis=alt.Axis(tickCount=6, format="+,~r"), scale=alt.Scale(zero=True)
    )
    made = alt.Chart(alt.InlineData(values=values))
    known = made.transform_filter("isValid(datum.low) && isValid(datum.high)")
    rule = alt.Chart(alt.InlineData(values=[{"change": 0}])).mark_rule(color=theme.ink_soft, strokeWidth=1.2)
    layers: list[AnyChart | Layer] = [
        rule.encode(y=y),
        made.mark_line(color=theme.accent, strokeWidth=1.5, strokeDash=[4, 3]).encode(x=x, y=y),
        known.mark_rule(color=theme.accent, strokeWidth=2).encode(x=x, y=alt.Y("low:Q"), y2="high:Q"),
        known.mark_tick(color=theme.accent, thickness=2, size=10, orient="horizontal").encode(x=x, y=alt.Y("low:Q")),
        known.mark_tick(color=theme.accent, thickness=2, size=10, orient="horizontal").encode(x=x, y=alt.Y("high:Q")),
        made.mark_point(filled=True, size=70, color=theme.accent, opacity=1).encode(
            x=x, y=y, tooltip=[alt.Tooltip("label:N", title="percentile"), alt.Tooltip("words:N", title="change")]
        ),
    ]
    return styled(layers, theme, SHIFT_HEIGHT)


def deltas(rows: Sequence[StageDelta], theme: Theme = IN_PAGE) -> AnyChart:
    """The change of each stage's mean as a bar with its interval; its part of the change of the p95 as a diamond."""
    labels = [r.label for r in rows]
    y = named_lines(labels)
    values: list[dict[str, Any]] = [
        {"label": r.label, **{name: finite(getattr(r, name)) for name in ("mean", "low", "high", "tail")}} for r in rows
    ]
    x = alt.X(
        "mean:Q", title="change, B - A (ms)", axis=alt.Axis(tickCount=7, format="+,~r"), scale=alt.Scale(zero=True)
    )
    made = alt.Chart(alt.InlineData(values=values))
    known = made.transform_filter("isValid(datum.low) && isValid(datum.high)")
    tooltip = [
        alt.Tooltip("label:N", title="stage"),
        alt.Tooltip("mean:Q", title="mean (ms)", format="+,.4~r"),
        alt.Tooltip("tail:Q", title="part of the p95 (ms)", format="+,.4~r"),
    ]
    hues = hues_of([r.stage for r in rows], theme)
    colour = alt.Color("label:N", legend=None, scale=alt.Scale(domain=labels, range=hues))
    layers: list[AnyChart | Layer] = [
        made.transform_filter("isValid(datum.mean)").mark_bar().encode(x=x, y=y, color=colour, tooltip=tooltip),
        known.mark_rule(color=theme.ink, strokeWidth=1.5).encode(x=alt.X("low:Q"), x2="high:Q", y=y),
        zero_rule(theme),
    ]
    if any(r.tail is not None for r in rows):
        diamond = made.transform_filter("isValid(datum.tail)").mark_point(
            shape="diamond", size=80, filled=True, fill=theme.surface, stroke=theme.ink, strokeWidth=1.5, opacity=1
        )
        layers.append(diamond.encode(x=alt.X("tail:Q"), y=y, tooltip=tooltip))
    return styled(layers, theme, lines_height(len(rows)), width=beside(labels))


def trend_lines(points: Sequence[TrendPoint], theme: Theme = IN_PAGE, changes: Sequence[int] = ()) -> AnyChart:
    """The p95 above and the completed rate below, run by run, oldest first; dashed: where something changed."""
    values: list[dict[str, Any]] = [
        {"at": p.at, "label": p.label, "p95": positive(p.p95_ms), "completed": finite(p.completed),
         "counted": "compared" if p.counted else "not compared"}
        for p in points
    ]  # fmt: skip
    x = alt.X("at:Q", title="run, oldest first", scale=alt.Scale(domain=[0.5, len(points) + 0.5], nice=False),
              axis=alt.Axis(tickMinStep=1, tickCount=10, format="d", grid=False))  # fmt: skip
    p95 = log_ms_axis("p95:Q", "p95 (ms, log)", range=[TREND_TOP - 20, 0])
    rate = alt.Y("completed:Q", title="completed /s", scale=alt.Scale(zero=True, range=[TREND_HEIGHT, TREND_TOP]),
                 axis=alt.Axis(tickCount=3, format=",~r", orient="left", grid=True))  # fmt: skip
    layers: list[AnyChart | Layer] = []
    for y, field, colour in ((p95, "p95", theme.accent), (rate, "completed", theme.stages["preprocess"])):
        if any(v[field] is not None for v in values):
            layers.append(_trend(values, x, y, field, colour, theme))
    if changes:
        marks = alt.Chart(alt.InlineData(values=[{"at": at - 0.5} for at in changes]))
        layers.append(marks.mark_rule(color=theme.attention, strokeDash=[5, 3], strokeWidth=1.5).encode(x=x))
    return styled(layers, theme, TREND_HEIGHT, apart=("y",))


def _trend(values: list[dict[str, Any]], x: alt.X, y: alt.Y, field: str, colour: str, theme: Theme) -> AnyChart:
    made = alt.Chart(alt.InlineData(values=values)).transform_filter(f"isValid(datum.{field})")
    kinds = ["compared", "not compared"]
    legend = alt.Legend(title=None) if any(v["counted"] != kinds[0] for v in values) else None
    points = made.mark_point(size=60, filled=True, color=colour, opacity=1).encode(
        x=x,
        y=y,
        shape=alt.Shape("counted:N", legend=legend, scale=alt.Scale(domain=kinds, range=["circle", "cross"])),
        tooltip=[alt.Tooltip("label:N", title="run"), alt.Tooltip(f"{field}:Q", format=",.4~r")],
    )
    return alt.layer(made.mark_line(color=colour, strokeWidth=1.5).encode(x=x, y=y), points)
