"""Charts of a few named things, one a line: the tail by stage, the models of a chain, what slow requests share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from harness.report.charts.parts import WIDTH, AnyChart, Layer, finite, styled, width_of
from harness.report.palette import IN_PAGE, Theme

LINE = 30
"""Pixels of height for each line."""
LABEL_WIDTH = 250


@dataclass(frozen=True, slots=True)
class ShareBar:
    """One stage's share of a gap with its interval, 0..1, and the words beside it."""

    stage: str
    label: str
    share: float
    low: float
    high: float
    words: str


@dataclass(frozen=True, slots=True)
class ModelBar:
    """One model of a chain: its part of the mean request, from where the one before ended. Milliseconds."""

    label: str
    from_ms: float
    until_ms: float
    words: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Something that slow and typical requests have more or less often, 0..1."""

    label: str
    slow: float
    typical: float
    words: str


def named_lines(labels: Sequence[str], **changes: Any) -> alt.Y:
    """A line for each label, in their order."""
    room = _room(labels)
    axis = alt.Axis(
        title=None, domain=False, ticks=False, labelLimit=LABEL_WIDTH, labelPadding=8, minExtent=room, **changes
    )
    scale = alt.Scale(paddingInner=0.35, paddingOuter=0.2)
    return alt.Y("label:N", sort=list(labels), axis=axis, scale=scale)


def _room(labels: Sequence[str]) -> float:
    """Pixels that the names take."""
    return min(LABEL_WIDTH, max(map(width_of, labels), default=0.0)) + 8


def beside(labels: Sequence[str]) -> float:
    """The width of a chart whose names are long: with them it is as wide as the others, and its letters as high."""
    return WIDTH - max(0.0, _room(labels) - 60)


def lines_height(lines: int) -> int:
    """Pixels that so many lines take."""
    return max(1, lines) * LINE + 6


def tail_bars(bars: Sequence[ShareBar], theme: Theme = IN_PAGE, of: str = "the gap") -> AnyChart:
    """Which stages make up the gap between slow and typical requests: bars with their intervals as whiskers."""
    values_of = [(finite(b.share), finite(b.low), finite(b.high)) for b in bars]
    rows = alt.InlineData(
        values=[{"label": b.label, "share": value, "low": low, "high": high, "words": b.words}
                for b, (value, low, high) in zip(bars, values_of, strict=True)]
    )  # fmt: skip
    labels = [b.label for b in bars]
    ends = [end for known in values_of for end in known if end is not None]
    low, high = min(0.0, *ends, 0.0), max(1.0, *ends, 1.0)
    room = 0.22 * (high - low)  # for the words beside the last whisker
    scale = alt.Scale(domain=[low, high + room], nice=False)
    values = [v / 100 for v in range(-400, 401, 25 if high - low < 2.5 else 100) if low <= v / 100 <= high]
    x = alt.X("share:Q", title=f"share of {of}", scale=scale, axis=alt.Axis(format=".0%", values=values))
    hues = hues_of([b.stage for b in bars], theme)
    colour = alt.Color("label:N", legend=None, scale=alt.Scale(domain=labels, range=hues))
    y = named_lines(labels)
    base = alt.Chart(rows)
    tooltip = [alt.Tooltip("label:N", title="stage"), alt.Tooltip("words:N", title="share")]
    layers: list[AnyChart | Layer] = [
        base.mark_bar().encode(x=x, y=y, color=colour, tooltip=tooltip),
        base.transform_filter("isValid(datum.low) && isValid(datum.high)")
        .mark_rule(color=theme.ink, strokeWidth=1.5)
        .encode(x=alt.X("low:Q"), x2="high:Q", y=y),
        base.mark_tick(color=theme.ink, thickness=1.5, size=9).encode(x=alt.X("low:Q"), y=y),
        base.mark_tick(color=theme.ink, thickness=1.5, size=9).encode(x=alt.X("high:Q"), y=y),
        zero_rule(theme),
        base.transform_calculate(end="max(datum.high, datum.share, 0)")
        .mark_text(align="left", dx=8, color=theme.ink, fontSize=12)
        .encode(x=alt.X("end:Q"), y=y, text="words:N"),
    ]
    return styled(layers, theme, lines_height(len(bars)), width=beside([b.label for b in bars]))


def hues_of(stages: Sequence[str], theme: Theme) -> list[str]:
    """The colour of each stage; one that is not known is grey."""
    return [theme.stages.get(stage, theme.ink_soft) for stage in stages]


def zero_rule(theme: Theme) -> alt.Chart:
    """Where neither side has more."""
    made: alt.Chart = (
        alt.Chart(alt.InlineData(values=[{"zero": 0}])).mark_rule(color=theme.ink_soft).encode(x=alt.X("zero:Q"))
    )
    return made


def model_bars(bars: Sequence[ModelBar], theme: Theme = IN_PAGE) -> AnyChart:
    """The models of the chain: each bar begins where the one above it ends, so the last ends at their sum."""
    rows = alt.InlineData(
        values=[
            {"label": b.label, "from": finite(b.from_ms), "until": finite(b.until_ms), "words": b.words} for b in bars
        ]
    )
    y = named_lines([b.label for b in bars])
    high = max((b.until_ms for b in bars if math.isfinite(b.until_ms)), default=0.0) or 1.0
    x = alt.X(
        "from:Q", title="milliseconds per request, added up", scale=alt.Scale(domain=[0, high * 1.3], nice=False),
        axis=alt.Axis(tickCount=6, format=",~r"),
    )  # fmt: skip
    base = alt.Chart(rows)
    layers: list[AnyChart | Layer] = [
        base.mark_bar(color=theme.stages["inference"]).encode(x=x, x2="until:Q", y=y, tooltip=["label:N", "words:N"]),
        base.mark_text(align="left", dx=6, color=theme.ink, fontSize=12).encode(
            x=alt.X("until:Q"), y=y, text="words:N"
        ),
    ]
    return styled(layers, theme, lines_height(len(bars)), width=beside([b.label for b in bars]))


def contrast_pairs(pairs: Sequence[Pair], theme: Theme = IN_PAGE) -> AnyChart:
    """What slow requests have in common: how many of them have it, beside how many of the typical ones."""
    groups = ("slow", "typical")
    values = [{"label": p.label, "slow": p.slow, "typical": p.typical, "words": p.words} for p in pairs]
    ends = [{"label": p.label, "of": of, "share": getattr(p, of), "words": p.words} for p in pairs for of in groups]
    y = named_lines([p.label for p in pairs])
    scale = alt.Scale(domain=[-0.015, 1.015], nice=False)  # the marks at the ends need room
    x = alt.X("share:Q", title="share of the requests that have it", scale=scale,
              axis=alt.Axis(format=".0%", values=[0, 0.2, 0.4, 0.6, 0.8, 1]))  # fmt: skip
    legend = alt.Legend(title=None, symbolSize=90)
    layers: list[AnyChart | Layer] = [
        alt.Chart(alt.InlineData(values=values))
        .mark_rule(color=theme.ink_soft, strokeWidth=2, opacity=0.6)
        .encode(x=alt.X("slow:Q"), x2="typical:Q", y=y),
        alt.Chart(alt.InlineData(values=ends))
        .mark_point(filled=True, size=110, opacity=1)
        .encode(
            x=x,
            y=y,
            color=alt.Color(
                "of:N", legend=legend, scale=alt.Scale(domain=list(groups), range=[theme.bad, theme.accent])
            ),
            shape=alt.Shape("of:N", legend=legend, scale=alt.Scale(domain=list(groups), range=["diamond", "circle"])),
            tooltip=[alt.Tooltip("label:N", title="attribute"), alt.Tooltip("words:N", title="requests")],
        ),
    ]
    return styled(layers, theme, lines_height(len(pairs)), width=beside([p.label for p in pairs]))
