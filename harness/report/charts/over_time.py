"""Latency over time: a point a request, or a heatmap of many; above it what was scheduled, and what failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from harness.report import binning
from harness.report.binning import LATENCY_BINS, MOST_POINTS, TIME_BINS
from harness.report.charts.parts import (
    HEIGHT,
    SMALL,
    AnyChart,
    Layer,
    chart_of,
    log_ms_axis,
    note_at,
    pixels,
    seconds_axis,
    styled,
)
from harness.report.palette import IN_PAGE, Theme

RATE_TOP, RATE_BOTTOM = 4, 36
FAILED_TOP, FAILED_BOTTOM = 46, 58
FAINTEST = [0.35, 1.0]
"""Opacity of the cells of a heatmap: one request alone is to be seen."""
MOST_BORDERS = 16
MOST_NAMED_BORDERS = 9


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A single request worth looking at."""

    t_s: float
    latency_ms: float
    request: str


def latency_over_time(
    requests: pd.DataFrame,
    theme: Theme = IN_PAGE,
    exemplars: Sequence[Exemplar] = (),
    step_names: Sequence[str] = (),
) -> AnyChart:
    """Latency (log) against the scheduled instant. `requests` are those of binning.requests_over_time, not empty."""
    x_scale = alt.Scale(domain=[0, max(float(requests["t_s"].max()), 1e-9)], nice=False)
    ok = requests["ok"].to_numpy(dtype=bool)
    answered, top = requests.loc[ok, ["t_s", "latency_ms"]], FAILED_TOP if ok.all() else FAILED_BOTTOM + 8
    height = HEIGHT if ok.any() else FAILED_BOTTOM + 8
    layers: list[AnyChart | Layer] = [*_bands(requests, theme, x_scale, height), *_rate(requests, theme, x_scale)]
    if not ok.all():
        layers += _failed(requests, theme, x_scale)
    if len(answered):
        many = len(requests) > MOST_POINTS
        marks = (_heatmap if many else _points)(answered, requests, theme, x_scale, top)
        layers.append(alt.layer(marks, *_exemplars(exemplars, theme, x_scale, top)))
    layers += _borders(requests, theme, x_scale, step_names, height)
    return styled(layers, theme, height, apart=("y", "opacity"))


def _bands(requests: pd.DataFrame, theme: Theme, x_scale: alt.Scale, height: int) -> list[Layer]:
    bands = binning.unmeasured_bands(requests)
    if bands.empty:
        return []
    x = seconds_axis("start_s:Q", x_scale)
    shade = alt.Chart(bands).mark_rect(fill=theme.ink_soft, fillOpacity=0.12)
    words = alt.Chart(bands).mark_text(
        align="left", baseline="bottom", dx=5, dy=-5, color=theme.ink_soft, fontSize=SMALL
    )
    return [
        shade.encode(x=x, x2="end_s:Q", **pixels(y=0, y2=height)),
        words.encode(x=x, **pixels(y=height), text="phase:N"),
    ]


def _rate(requests: pd.DataFrame, theme: Theme, x_scale: alt.Scale) -> list[Layer]:
    """What the schedule asked for, as a strip without an axis: its highest value stands beside it."""
    rate = binning.scheduled_rate(requests, min(TIME_BINS, max(1, len(requests) // 10)))
    highest = float(rate["per_s"].max())
    area = (
        chart_of(t0=rate["t0"], t1=rate["t1"], per_s=rate["per_s"])
        .mark_rect(fill=theme.ink_soft, fillOpacity=0.45)
        .encode(
            x=seconds_axis("t0:Q", x_scale),
            x2="t1:Q",
            y=alt.Y("per_s:Q", axis=None, scale=alt.Scale(domain=[0, highest], range=[RATE_BOTTOM, RATE_TOP])),
            y2=alt.Y2Datum(0),
            tooltip=[
                alt.Tooltip("t0:Q", title="from (s)", format=",.1f"),
                alt.Tooltip("per_s:Q", title="scheduled per second", format=",.3~r"),
            ],
        )
    )
    middle = (RATE_TOP + RATE_BOTTOM) / 2
    return [area, note_at("scheduled", middle - 7, theme), note_at(f"up to {highest:,.3g}/s", middle + 7, theme)]


def _failed(requests: pd.DataFrame, theme: Theme, x_scale: alt.Scale) -> list[Layer]:
    failed = binning.failed_over_time(requests, TIME_BINS)
    most = int(failed["failed"].max())
    marks = (
        chart_of(t0=failed["t0"], t1=failed["t1"], failed=failed["failed"])
        .mark_rect(fill=theme.bad)
        .encode(
            x=seconds_axis("t0:Q", x_scale),
            x2="t1:Q",
            **pixels(y=FAILED_TOP, y2=FAILED_BOTTOM),
            opacity=alt.Opacity(
                "failed:Q", legend=None, scale=alt.Scale(domain=[0, most], range=[0.4, 1.0], nice=False)
            ),
            tooltip=[alt.Tooltip("t0:Q", title="from (s)", format=",.1f"), alt.Tooltip("failed:Q", title="failed")],
        )
    )
    middle = (FAILED_TOP + FAILED_BOTTOM) / 2
    floor = (
        alt.Chart(alt.InlineData(values=[{}]))
        .mark_rule(color=theme.line)
        .encode(**pixels(x=0, x2="width", y=FAILED_BOTTOM))
    )
    return [floor, marks, note_at("× failed", middle, theme, color=theme.bad)]


def _points(answered: pd.DataFrame, _: pd.DataFrame, theme: Theme, x_scale: alt.Scale, top: int) -> alt.Chart:
    made: alt.Chart = (
        chart_of(t_s=answered["t_s"], latency_ms=answered["latency_ms"])
        .mark_point(filled=True, size=24, opacity=0.6, color=theme.accent)
        .encode(
            x=seconds_axis("t_s:Q", x_scale),
            y=log_ms_axis("latency_ms:Q", range=[HEIGHT, top]),
            tooltip=[
                alt.Tooltip("t_s:Q", title="scheduled (s)", format=",.2f"),
                alt.Tooltip("latency_ms:Q", title="latency (ms)", format=",.4~r"),
            ],
        )
    )
    return made


def _heatmap(answered: pd.DataFrame, requests: pd.DataFrame, theme: Theme, x_scale: alt.Scale, top: int) -> alt.Chart:
    grid = binning.grid_of(answered, TIME_BINS, LATENCY_BINS, float(requests["t_s"].max()))
    made: alt.Chart = cells(grid, theme, x_scale, range=[HEIGHT, top]).encode(
        opacity=alt.Opacity(
            "n:Q", title="requests in a cell", legend=alt.Legend(
                tickCount=4, format="~s", titleOrient="left", titlePadding=24),
            scale=alt.Scale(type="log", range=FAINTEST, nice=False),
        )
    )  # fmt: skip
    return made


def cells(grid: binning.Grid, theme: Theme, x_scale: alt.Scale, **y_scale: Any) -> alt.Chart:
    """The cells of a heatmap as rectangles with the fields `t_s`, `t_end_s`, `latency_ms`, `ms_end` and `n`."""
    made: alt.Chart = (
        chart_of(c=grid.column, r=grid.row, n=grid.requests)
        .transform_calculate(
            t_s=f"datum.c * {grid.width_s!r}",
            t_end_s=f"(datum.c + 1) * {grid.width_s!r}",
            latency_ms=f"{grid.fastest_ms!r} * pow({grid.ratio!r}, datum.r)",
            ms_end=f"{grid.fastest_ms!r} * pow({grid.ratio!r}, datum.r + 1)",
        )
        .mark_rect(fill=theme.accent)
        .encode(
            x=seconds_axis("t_s:Q", x_scale),
            x2=alt.X2("t_end_s:Q"),
            y=log_ms_axis("latency_ms:Q", **y_scale),
            y2=alt.Y2("ms_end:Q"),
            tooltip=[
                alt.Tooltip("n:Q", title="requests", format=","),
                alt.Tooltip("t_s:Q", title="from (s)", format=",.1f"),
                alt.Tooltip("latency_ms:Q", title="from (ms)", format=",.4~r"),
                alt.Tooltip("ms_end:Q", title="to (ms)", format=",.4~r"),
            ],
        )
    )
    return made


def _exemplars(exemplars: Sequence[Exemplar], theme: Theme, x_scale: alt.Scale, top: int) -> list[Layer]:
    """Single requests as diamonds that name themselves under the pointer."""
    if not exemplars:
        return []
    drawn = [{"t_s": e.t_s, "latency_ms": e.latency_ms, "request": e.request} for e in exemplars]
    diamonds = (
        alt.Chart(alt.InlineData(values=drawn))
        .mark_point(shape="diamond", filled=True, size=90, fill=theme.attention, stroke=theme.surface, strokeWidth=1.5,
                    opacity=1)
        .encode(
            x=seconds_axis("t_s:Q", x_scale),
            y=log_ms_axis("latency_ms:Q", range=[HEIGHT, top]),
            tooltip=[
                alt.Tooltip("request:N", title="request"),
                alt.Tooltip("t_s:Q", title="scheduled (s)", format=",.2f"),
                alt.Tooltip("latency_ms:Q", title="latency (ms)", format=",.4~r"),
            ],
        )
    )  # fmt: skip
    return [diamonds]


def _borders(
    requests: pd.DataFrame, theme: Theme, x_scale: alt.Scale, step_names: Sequence[str], height: int
) -> list[Layer]:
    found = binning.borders(requests)
    if not found or len(found) > MOST_BORDERS:
        return []
    named = step_names if len(found) == len(step_names) <= MOST_NAMED_BORDERS else [""] * len(found)
    drawn = alt.InlineData(values=[{"t_s": b.start_s, "step": name} for b, name in zip(found, named, strict=True)])
    x = seconds_axis("t_s:Q", x_scale)
    rules = alt.Chart(drawn).mark_rule(color=theme.ink_soft, strokeDash=[3, 3], opacity=0.8)
    words = alt.Chart(drawn).mark_text(align="left", baseline="middle", dx=4, color=theme.ink, fontSize=SMALL)
    above = -14 if any(named) else 0  # a name has a line to itself, above the strip of the schedule
    return [
        rules.encode(x=x, **pixels(y=above, y2=height)),
        words.encode(x=x, **pixels(y=above / 2), text="step:N"),
    ]
