"""What each load step gave: the rate achieved, and the percentiles of latency, against the rate offered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from harness.report.charts.parts import AXIS_ROOM, SMALL, AnyChart, Layer, finite, log_ms_axis, pixels, positive, styled
from harness.report.palette import IN_PAGE, Theme

TOP, BETWEEN, LOAD_HEIGHT = 110, 150, 360
"""Where the rates end, the latencies begin and end, in pixels."""
PERCENTILES = ("p50", "p95", "p99")


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """One load step. `offered` is its rate, or its users; a percentile is (value, low, high) in ms, None: refused."""

    offered: float
    achieved: float | None
    unstable: bool
    percentiles: tuple[tuple[float, float | None, float | None] | None, ...]
    words: str


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit on a percentile of latency, milliseconds."""

    ms: float
    label: str


def load_curve(
    points: Sequence[LoadPoint], theme: Theme = IN_PAGE, limits: Sequence[Limit] = (), users: bool = False
) -> AnyChart:
    """Two rows over one axis: rates on top (dashed: all that was offered), percentiles with intervals below.

    A line ends where a step has no figure, and begins anew after it: nothing is known in between. Where no step has a
    percentile there is the upper row alone: a logarithmic axis of nothing has no ends.
    """
    points = [p for p in points if math.isfinite(p.offered)]
    highest = max((p.offered for p in points), default=0.0)
    rows = _percentile_rows(points)
    height = LOAD_HEIGHT if rows else TOP
    x = alt.X(
        "offered:Q", title="users at once" if users else "offered requests per second",
        scale=alt.Scale(domain=[0, highest * 1.08 or 1.0], nice=False),
        axis=alt.Axis(tickCount=8, format=",~r", grid=False),
    )  # fmt: skip
    layers = [_rates(points, x, theme, highest, users), *_unstable(points, x, theme, height)]
    if rows:
        layers.insert(1, _latencies(rows, x, theme, limits))
    return styled(layers, theme, height, apart=("y",))


def _rates(points: Sequence[LoadPoint], x: alt.X, theme: Theme, highest: float, users: bool) -> AnyChart:
    rows: list[dict[str, Any]] = [
        {"offered": p.offered, "achieved": finite(p.achieved), "words": p.words} for p in points
    ]
    most = max((row["achieved"] for row in rows if row["achieved"] is not None), default=1.0)
    top = max(most, 0.0 if users else highest) * 1.08 or 1.0
    y = alt.Y(
        "achieved:Q", title="completed /s", scale=alt.Scale(domain=[0, top], range=[TOP, 0], nice=False),
        axis=alt.Axis(tickCount=4, format=",~r", orient="left", grid=True, minExtent=AXIS_ROOM),
    )  # fmt: skip
    made = alt.Chart(alt.InlineData(values=rows))
    layers: list[Layer] = [
        made.mark_line(color=theme.accent, strokeWidth=2).encode(x=x, y=y),
        made.transform_filter("isValid(datum.achieved)")
        .mark_point(filled=True, size=55, color=theme.accent, opacity=1)
        .encode(x=x, y=y, tooltip=[alt.Tooltip("words:N", title="step")]),
    ]
    if not users:
        ends: list[dict[str, Any]] = [{"offered": end, "achieved": end} for end in (0.0, highest)]
        all_of_it = alt.Chart(alt.InlineData(values=ends))
        layers.insert(0, all_of_it.mark_line(color=theme.ink_soft, strokeDash=[4, 4], strokeWidth=1.2).encode(x=x, y=y))
    return alt.layer(*layers)


def _percentile_rows(points: Sequence[LoadPoint]) -> list[dict[str, Any]]:
    """A row a step of each percentile that any step has; what a logarithmic axis has no place for is not known."""
    rows: list[dict[str, Any]] = [
        {"offered": p.offered, "of": name, "words": p.words,
         **{part: positive(value) for part, value in zip(("ms", "low", "high"), found, strict=True)}}
        for p in points
        for name, found in zip(PERCENTILES, (f or (None, None, None) for f in p.percentiles), strict=True)
    ]  # fmt: skip
    known = {row["of"] for row in rows if row["ms"] is not None}
    return [row for row in rows if row["of"] in known]


def _latencies(rows: list[dict[str, Any]], x: alt.X, theme: Theme, limits: Sequence[Limit]) -> AnyChart:
    y = log_ms_axis("ms:Q", range=[LOAD_HEIGHT, BETWEEN])
    looks = {"p50": (theme.good, "circle"), "p95": (theme.accent, "square"), "p99": (theme.bad, "triangle-up")}
    names = [name for name in PERCENTILES if any(row["of"] == name for row in rows)]
    colour = alt.Color("of:N", title=None, scale=alt.Scale(domain=names, range=[looks[name][0] for name in names]))
    shapes = alt.Scale(domain=names, range=[looks[name][1] for name in names])
    made = alt.Chart(alt.InlineData(values=rows))
    layers: list[Layer] = [
        made.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour),
        made.transform_filter("isValid(datum.low) && isValid(datum.high)")
        .mark_rule(strokeWidth=1.5)
        .encode(x=x, y=log_ms_axis("low:Q", range=[LOAD_HEIGHT, BETWEEN]), y2="high:Q", color=colour),
        made.transform_filter("isValid(datum.ms)").mark_point(filled=True, size=60, opacity=1).encode(
            x=x, y=y, color=colour, shape=alt.Shape("of:N", title=None, scale=shapes),
            tooltip=["of:N", alt.Tooltip("ms:Q", format=",.4~r"), alt.Tooltip("low:Q", format=",.4~r"),
                     alt.Tooltip("high:Q", format=",.4~r"), alt.Tooltip("words:N", title="step")],
        ),
    ]  # fmt: skip
    if limits:
        drawn = alt.Chart(alt.InlineData(values=[{"ms": limit.ms, "label": limit.label} for limit in limits]))
        layers.append(drawn.mark_rule(color=theme.ink, strokeDash=[6, 3]).encode(y=y))
        words = drawn.mark_text(align="left", baseline="bottom", dx=4, dy=-2, color=theme.ink, fontSize=SMALL)
        layers.append(words.encode(y=y, text="label:N", **pixels(x=0)))
    return alt.layer(*layers)


def _unstable(points: Sequence[LoadPoint], x: alt.X, theme: Theme, height: int) -> list[Layer]:
    """Steps at which more came than was answered, named where their percentiles would be."""
    rows = [{"offered": p.offered, "label": "unstable"} for p in points if p.unstable]
    if not rows:
        return []
    made = alt.Chart(alt.InlineData(values=rows))
    return [
        made.mark_rule(color=theme.bad, strokeDash=[2, 3]).encode(x=x, **pixels(y=0, y2=height)),
        made.mark_text(align="right", baseline="bottom", dx=-4, dy=-4, color=theme.bad, fontSize=SMALL).encode(
            x=x, text="label:N", **pixels(y=height)
        ),
    ]
