"""The charts, declared once: Altair drawings of binned frames, and their way into a page as inline SVG.

A Theme gives every colour; with palette.IN_PAGE they are CSS variables and follow the page's light or dark.
"""

from __future__ import annotations

import re
from typing import TypeAlias

import altair as alt
import pandas as pd
import vl_convert

from harness.model import STAGES
from harness.report.binning import MOST_POINTS, heatmap_cells, unmeasured_bands
from harness.report.lines import stage_label
from harness.report.palette import IN_PAGE, Theme

AnyChart: TypeAlias = "alt.LayerChart | alt.FacetChart"

WIDTH, HEIGHT = 900, 270
_FONT = "system-ui, sans-serif"


def latency_over_time(requests: pd.DataFrame, theme: Theme = IN_PAGE) -> AnyChart:
    """Latency (log) against the scheduled instant: each request as a point, or a heatmap when there are many."""
    end_s = max(float(requests["t_s"].max()), 1e-9)
    x_scale = alt.Scale(domain=[0, end_s], nice=False)
    layers = [*_bands(requests, theme, x_scale)]
    if len(requests) <= MOST_POINTS:
        layers.append(_points(requests, theme, x_scale))
    else:
        layers += _heatmap(requests, theme, x_scale)
    return _styled(alt.layer(*layers), theme)


def _bands(requests: pd.DataFrame, theme: Theme, x_scale: alt.Scale) -> list[alt.Chart]:
    bands = unmeasured_bands(requests)
    if bands.empty:
        return []
    x = alt.X("start_s:Q", scale=x_scale)
    shade = alt.Chart(bands).mark_rect(fill=theme.ink_soft, fillOpacity=0.12).encode(x=x, x2="end_s:Q")
    words = alt.Chart(bands).mark_text(align="left", baseline="bottom", dx=5, dy=-6, color=theme.ink_soft, fontSize=11)
    return [shade, words.encode(x=x, y=alt.value(HEIGHT), text="phase:N")]


def _x(field: str, x_scale: alt.Scale) -> alt.X:
    return alt.X(
        field, scale=x_scale, title="seconds since the first request", axis=alt.Axis(tickCount=10, format=",~f")
    )


def _log_ms(field: str) -> alt.Y:
    axis = alt.Axis(tickCount=6, format=",~r", labelOverlap=True, gridOpacity=0.6)
    return alt.Y(field, scale=alt.Scale(type="log", nice=False, padding=12), title="latency (ms, log)", axis=axis)


def _points(requests: pd.DataFrame, theme: Theme, x_scale: alt.Scale) -> alt.Chart:
    drawn = requests.assign(outcome=requests["ok"].map({True: "ok", False: "failed"}))
    outcomes = ["ok", "failed"] if not requests["ok"].all() else ["ok"]
    colours = [theme.accent, theme.bad][: len(outcomes)]
    shapes = ["circle", "cross"][: len(outcomes)]
    chart: alt.Chart = (
        alt.Chart(drawn[["t_s", "latency_ms", "outcome"]])
        .mark_point(filled=True, size=26, opacity=0.65)
        .encode(
            x=_x("t_s:Q", x_scale),
            y=_log_ms("latency_ms:Q"),
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
    place = {"x": _x("t0:Q", x_scale), "x2": alt.X2("t1:Q"), "y": _log_ms("ms0:Q"), "y2": alt.Y2("ms1:Q")}
    marks = [alt.Chart(answered).mark_rect(fill=theme.accent).encode(**place, opacity=opacity)]
    if not failed.empty:
        marks.append(alt.Chart(failed).mark_rect(fill=theme.bad, fillOpacity=0.9).encode(**place))
    return marks


def stages_over_time(shares: pd.DataFrame, theme: Theme = IN_PAGE) -> AnyChart:
    """What part of the mean latency each stage took, as a stacked area over time."""
    present = set(shares["stage"])
    stages = [s for s in ("transfer", *STAGES) if s in present]
    drawn = shares.assign(order=shares["stage"].map(stages.index), label=shares["stage"].map(stage_label))
    labels, colours = [stage_label(s) for s in stages], [theme.stages[s] for s in stages]
    area = (
        alt.Chart(drawn[["t_s", "share", "label", "order"]])
        .mark_area(line={"color": theme.surface, "strokeWidth": 0.6}, opacity=1.0)
        .encode(
            x=_x("t_s:Q", alt.Scale(nice=False)),
            y=alt.Y("share:Q", stack="zero", title="share of the mean latency", scale=alt.Scale(domain=[0, 1]),
                    axis=alt.Axis(format=".0%", tickCount=5)),
            color=alt.Color("label:N", title=None, sort=labels, scale=alt.Scale(domain=labels, range=colours)),
            order=alt.Order("order:Q"),
        )
    )  # fmt: skip
    return _styled(alt.layer(area), theme)


def percentile_curve(curve: pd.DataFrame, theme: Theme = IN_PAGE) -> AnyChart:
    """Latency against the share of requests that are slower, log, so that the tail has room."""
    clocks = ["scheduled", "start"]
    names = {"scheduled": "latency", "start": "service"}
    slowest = float(curve["slower"].min())
    ticks = [s for s in (1, 0.5, 0.25, 0.1, 0.05, 0.01, 0.001, 0.0001, 0.00001, 0.000001) if s >= slowest]
    line = (
        alt.Chart(curve.assign(clock=curve["clock"].map(names)))
        .mark_line(interpolate="step-before", strokeWidth=2)
        .encode(
            x=alt.X(
                "slower:Q",
                title="percentile (log of the share that is slower)",
                scale=alt.Scale(type="log", reverse=True, domain=[slowest, 1], nice=False),
                axis=alt.Axis(values=ticks, labelExpr="'p' + format(100 * (1 - datum.value), '.6~f')"),
            ),
            y=_log_ms("ms:Q"),
            color=alt.Color("clock:N", title=None, sort=[names[c] for c in clocks],
                            scale=alt.Scale(domain=[names[c] for c in clocks], range=[theme.accent, theme.attention])),
            strokeDash=alt.StrokeDash("clock:N", title=None, sort=[names[c] for c in clocks],
                                      scale=alt.Scale(domain=[names[c] for c in clocks], range=[[1, 0], [5, 3]])),
        )
    )  # fmt: skip
    return _styled(alt.layer(line), theme)


def _styled(chart: AnyChart, theme: Theme) -> AnyChart:
    words = {"labelColor": theme.ink_soft, "titleColor": theme.ink_soft, "labelFont": _FONT, "titleFont": _FONT}
    styled: AnyChart = (
        chart.properties(width=WIDTH, height=HEIGHT, background="transparent", padding=4)
        .configure_view(stroke=None)
        .configure_axis(
            **words, gridColor=theme.line, domainColor=theme.line, tickColor=theme.line, labelFontSize=12,
            titleFontSize=12, titleFontWeight="normal", titlePadding=8,
        )
        .configure_legend(**words, orient="top", labelFontSize=12, titleFontSize=12, titleFontWeight="normal",
                          symbolOpacity=1, columns=12, labelLimit=0, columnPadding=24)
        .configure_text(font=_FONT)
    )  # fmt: skip
    return styled


# --- into a page ---------------------------------------------------------------------------------------------

_LONG_FRACTION = re.compile(r"(\d\.\d{2})\d{2,}")
_ID = re.compile(r'\bid="([^"]+)"')


def svg(chart: AnyChart) -> str:
    """A standalone SVG document. Nothing is fetched: the renderer is bundled, and no address is allowed."""
    text: str = vl_convert.vegalite_to_svg(chart.to_json(), allowed_base_urls=[])
    return text


def inline_svg(chart: AnyChart, key: str) -> str:
    """The SVG to stand in an HTML page: scales with the page, ids prefixed with `key`, coordinates of 0.01 px."""
    text = svg(chart)
    text = re.sub(
        r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 aria-hidden="true" focusable="false">', text, count=1
    )
    for name in set(_ID.findall(text)):
        text = text.replace(f'id="{name}"', f'id="{key}-{name}"').replace(f"url(#{name})", f"url(#{key}-{name})")
    return _LONG_FRACTION.sub(r"\1", text)
