"""What every chart shares: its size, its axes, its style. Each is one layered view, so that a page can stretch it.

Rows of a chart with scales of their own (a rate above a latency, one vital above the other) are stretches of pixels of
that view.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import altair as alt
import pandas as pd

from harness.report.palette import Theme

AnyChart: TypeAlias = "alt.LayerChart | alt.FacetChart"
Layer: TypeAlias = "alt.Chart | alt.LayerChart"

WIDTH, HEIGHT = 900, 290
FONT = "system-ui, sans-serif"
SMALL = 11
AXIS_ROOM = 58
"""Pixels of the labels of an upright axis, so that words above it, left of a row without one, have room, too."""


def seconds_axis(field: str, scale: alt.Scale, title: str = "seconds since the first request") -> alt.X:
    """Time since the first scheduled request."""
    return alt.X(field, scale=scale, title=title, axis=alt.Axis(tickCount=10, format=",~f", grid=False))


def log_ms_axis(field: str, title: str = "latency (ms, log)", **scale: Any) -> alt.Y:
    """Milliseconds on a logarithmic axis. `scale` adds to it, e.g. its range of pixels."""
    axis = alt.Axis(tickCount=6, format=",~r", labelOverlap=True, orient="left", grid=True,
                    minExtent=AXIS_ROOM)  # fmt: skip
    return alt.Y(field, scale=alt.Scale(type="log", **{"nice": False, "padding": 12, **scale}), title=title, axis=axis)


def finite(value: float | None) -> float | None:
    """What an axis has a place for: an end at infinity would make the picture as large."""
    return value if value is not None and math.isfinite(value) else None


def positive(value: float | None) -> float | None:
    """What a logarithmic axis has a place for."""
    known = finite(value)
    return known if known is not None and known > 0 else None


def chart_of(**columns: Any) -> alt.Chart:
    """A chart over columns of numbers: each row is a short text in the specification, taken apart where it is drawn.

    (Rows of named fields are three times as long; a reader of CSV would be made with eval, which our pages forbid.)
    """
    text = pd.DataFrame(columns).to_csv(index=False, header=False, float_format="%.6g", lineterminator="\n")
    taken = {name: f"datum.row[{i}] === '' ? null : toNumber(datum.row[{i}])" for i, name in enumerate(columns)}
    rows = alt.InlineData(values=[])
    rows["values"] = text.splitlines()  # set afterwards: thousands of them are not looked at one by one
    made: alt.Chart = alt.Chart(rows).transform_calculate(row="split(datum.data, ',')").transform_calculate(**taken)
    return made


_VALUES: dict[str, Any] = {
    "x": alt.XValue,
    "x2": alt.X2Value,
    "y": alt.YValue,
    "y2": alt.Y2Value,
    "text": alt.TextValue,
}


def pixels(**places: float | str) -> dict[str, Any]:
    """Places of the view in pixels, as encodings. (alt.value says the same and is slow to understand.)"""
    return {channel: _VALUES[channel](place) for channel, place in places.items()}


def legend_columns(entries: int, most: int = 8) -> int:
    """Columns of a legend whose rows are of one length, as far as they can be."""
    lines = -(-entries // most)
    return -(-entries // max(1, lines))


def width_of(text: str) -> float:
    """Pixels that a label may need: the reader's font is not known here, and those of some systems are wide."""
    return 7.4 * len(text)


def note_at(text: str, y: float, theme: Theme, x: float = -8, align: str = "right", **mark: Any) -> alt.Chart:
    """A few words at a place of the view, in pixels: by default left of a row without an axis."""
    made: alt.Chart = (
        alt.Chart(alt.InlineData(values=[{}]))
        .mark_text(**{"align": align, "baseline": "middle", "color": theme.ink_soft, "fontSize": SMALL, **mark})
        .encode(**pixels(x=x, y=y, text=text))
    )
    return made


def styled(
    layers: Sequence[AnyChart | Layer],
    theme: Theme,
    height: int = HEIGHT,
    apart: Sequence[str] = (),
    width: float = WIDTH,
) -> AnyChart:
    """The layers in their frame, as every chart of ours looks; of the channels `apart` each has a scale of its own."""
    words: dict[str, Any] = {"labelColor": theme.ink_soft, "titleColor": theme.ink_soft, "labelFont": FONT,
             "titleFont": FONT, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}  # fmt: skip
    config = alt.Config(
        aria=False,
        font=FONT,
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            **words, gridColor=theme.line, domainColor=theme.line, tickColor=theme.line, titlePadding=8, gridOpacity=0.7
        ),
        legend=alt.LegendConfig(
            **words, orient="top", symbolOpacity=1, columns=12, labelLimit=0, columnPadding=20, offset=12
        ),
        text=alt.MarkConfig(font=FONT),
    )
    own: dict[str, Any] = dict.fromkeys(apart, "independent")
    return alt.layer(
        *layers,
        width=width,
        height=height,
        background="transparent",
        padding=4,
        config=config,
        resolve=alt.Resolve(scale=alt.ScaleResolveMap(**own)),
    )
