"""What every chart shares: its size, its axes, its style."""

from __future__ import annotations

from typing import TypeAlias

import altair as alt

from harness.report.palette import Theme

AnyChart: TypeAlias = "alt.LayerChart | alt.FacetChart"

WIDTH, HEIGHT = 900, 270
FONT = "system-ui, sans-serif"


def seconds_axis(field: str, scale: alt.Scale) -> alt.X:
    """Time since the first scheduled request."""
    return alt.X(field, scale=scale, title="seconds since the first request", axis=alt.Axis(tickCount=10, format=",~f"))


def log_ms_axis(field: str, title: str = "latency (ms, log)") -> alt.Y:
    """Milliseconds on a logarithmic axis."""
    axis = alt.Axis(tickCount=6, format=",~r", labelOverlap=True, gridOpacity=0.6)
    return alt.Y(field, scale=alt.Scale(type="log", nice=False, padding=12), title=title, axis=axis)


def styled(chart: AnyChart, theme: Theme, height: int = HEIGHT) -> AnyChart:
    """The chart in its frame, as every chart of ours looks."""
    words = {"labelColor": theme.ink_soft, "titleColor": theme.ink_soft, "labelFont": FONT, "titleFont": FONT}
    made: AnyChart = (
        chart.properties(width=WIDTH, height=height, background="transparent", padding=4)
        .configure(aria=False)
        .configure_view(stroke=None)
        .configure_axis(
            **words, gridColor=theme.line, domainColor=theme.line, tickColor=theme.line, labelFontSize=12,
            titleFontSize=12, titleFontWeight="normal", titlePadding=8,
        )
        .configure_legend(**words, orient="top", labelFontSize=12, titleFontSize=12, titleFontWeight="normal",
                          symbolOpacity=1, columns=12, labelLimit=0, columnPadding=24)
        .configure_text(font=FONT)
    )  # fmt: skip
    return made
