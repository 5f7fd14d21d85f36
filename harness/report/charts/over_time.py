"""Latency over time: a point a request, or a heatmap of many."""

from __future__ import annotations

import altair as alt
import pandas as pd

from harness.report.binning import MOST_POINTS, heatmap_cells, unmeasured_bands
from harness.report.charts.parts import HEIGHT, AnyChart, log_ms_axis, seconds_axis, styled
from harness.report.palette import IN_PAGE, Theme


def latency_over_time(requests: pd.DataFrame, theme: Theme = IN_PAGE) -> AnyChart:
    """Latency (log) against the scheduled instant: each request as a point, or a heatmap when there are many."""
    end_s = max(float(requests["t_s"].max()), 1e-9)
    x_scale = alt.Scale(domain=[0, end_s], nice=False)
    layers = [*_bands(requests, theme, x_scale)]
    if len(requests) <= MOST_POINTS:
        layers.append(_points(requests, theme, x_scale))
    else:
        layers += _heatmap(requests, theme, x_scale)
    return styled(alt.layer(*layers), theme)


def _bands(requests: pd.DataFrame, theme: Theme, x_scale: alt.Scale) -> list[alt.Chart]:
    bands = unmeasured_bands(requests)
    if bands.empty:
        return []
    x = alt.X("start_s:Q", scale=x_scale)
    shade = alt.Chart(bands).mark_rect(fill=theme.ink_soft, fillOpacity=0.12).encode(x=x, x2="end_s:Q")
    words = alt.Chart(bands).mark_text(align="left", baseline="bottom", dx=5, dy=-6, color=theme.ink_soft, fontSize=11)
    return [shade, words.encode(x=x, y=alt.value(HEIGHT), text="phase:N")]


def _points(requests: pd.DataFrame, theme: Theme, x_scale: alt.Scale) -> alt.Chart:
    drawn = requests.assign(outcome=requests["ok"].map({True: "ok", False: "failed"}))
    outcomes = ["ok", "failed"] if not requests["ok"].all() else ["ok"]
    colours = [theme.accent, theme.bad][: len(outcomes)]
    shapes = ["circle", "cross"][: len(outcomes)]
    chart: alt.Chart = (
        alt.Chart(drawn[["t_s", "latency_ms", "outcome"]])
        .mark_point(filled=True, size=26, opacity=0.65)
        .encode(
            x=seconds_axis("t_s:Q", x_scale),
            y=log_ms_axis("latency_ms:Q"),
            color=alt.Color("outcome:N", title=None, scale=alt.Scale(domain=outcomes, range=colours)),
            shape=alt.Shape("outcome:N", title=None, scale=alt.Scale(domain=outcomes, range=shapes)),
        )
    )
    return chart


def _heatmap(requests: pd.DataFrame, theme: Theme, x_scale: alt.Scale) -> list[alt.Chart]:
    cells = heatmap_cells(requests)
    answered, failed = cells[cells["requests"] > cells["failed"]], cells[cells["failed"] > 0]
    opacity = alt.Opacity(
        "requests:Q", title="requests in a cell", scale=alt.Scale(type="log", range=[0.15, 1.0], nice=False),
        legend=alt.Legend(tickCount=4, format="~s"),
    )  # fmt: skip
    place = {"x": seconds_axis("t0:Q", x_scale), "x2": alt.X2("t1:Q"), "y": log_ms_axis("ms0:Q"), "y2": alt.Y2("ms1:Q")}
    marks = [alt.Chart(answered).mark_rect(fill=theme.accent).encode(**place, opacity=opacity)]
    if not failed.empty:
        marks.append(alt.Chart(failed).mark_rect(fill=theme.bad, fillOpacity=0.9).encode(**place))
    return marks
