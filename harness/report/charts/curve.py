"""Percentiles: latency against the share of requests that are slower."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from harness.report.charts.parts import AnyChart, Layer, chart_of, log_ms_axis, styled
from harness.report.palette import IN_PAGE, Theme

TICKS = (0.5, 0.25, 0.1, 0.05, 0.01, 0.001, 0.0001, 0.00001, 0.000001)


def percentile_curve(curves: pd.DataFrame, theme: Theme = IN_PAGE) -> AnyChart:
    """`slower, ms, low_ms, high_ms, curve`: curves of `latency`, `service`, `baseline`; a band where low and high are.

    The share of slower requests is logarithmic, so that the tail has room.
    """
    curves = curves[np.isfinite(curves["ms"]) & (curves["ms"] > 0)].replace(np.inf, np.nan)
    names = [n for n in ("latency", "service", "baseline") if n in set(curves["curve"])]
    looks = {
        "latency": (theme.accent, [1, 0]), "service": (theme.attention, [5, 3]), "baseline": (theme.ink_soft, [2, 2]),
    }  # fmt: skip
    slowest = float(curves["slower"].min()) if len(curves) else TICKS[0]
    most = float(curves["slower"].max()) if len(curves) else 1.0
    x = _slower_axis(slowest, max(most, slowest * 1.0001))
    y = log_ms_axis("ms:Q") if len(curves) else log_ms_axis("ms:Q", domain=[1.0, 10.0])
    legend = alt.Legend(title=None) if names else None  # one without an entry would have no size
    place = curves["curve"].map(names.index)
    data = chart_of(slower=curves["slower"], ms=curves["ms"], place=place)
    colours, dashes = ([looks[n][i] for n in names] for i in (0, 1))
    layers: list[AnyChart | Layer] = [*_band(curves, x, theme)]
    line: Any = (
        data.transform_calculate(curve=f"{names!r}[datum.place]", percentile="100 * (1 - datum.slower)")
        .mark_line(interpolate="step-after", strokeWidth=2)
        .encode(
            x=x,
            y=y,
            color=alt.Color("curve:N", legend=legend, sort=names, scale=alt.Scale(domain=names, range=colours)),
            strokeDash=alt.StrokeDash(
                "curve:N", legend=legend, sort=names, scale=alt.Scale(domain=names, range=dashes)
            ),
            tooltip=[
                alt.Tooltip("curve:N", title="of"),
                alt.Tooltip("percentile:Q", title="percentile", format=".6~r"),
                alt.Tooltip("ms:Q", title="ms", format=",.4~r"),
            ],
        )
    )
    return styled([*layers, line], theme)


def _slower_axis(slowest: float, most: float) -> alt.X:
    ticks = [s for s in TICKS if slowest <= s <= most]
    return alt.X(
        "slower:Q",
        title="percentile (the share that is slower, log)",
        scale=alt.Scale(type="log", reverse=True, domain=[slowest, most], nice=False),
        axis=alt.Axis(values=ticks, labelExpr="'p' + format(100 * (1 - datum.value), '.6~f')"),
    )


def _band(curves: pd.DataFrame, x: alt.X, theme: Theme) -> list[Layer]:
    known = curves.dropna(subset=["low_ms", "high_ms"])
    if len(known) < 2:
        return []
    area = (
        chart_of(slower=known["slower"], low_ms=known["low_ms"], high_ms=known["high_ms"])
        .mark_area(interpolate="step-after", color=theme.accent, opacity=0.22)
        .encode(x=x, y=log_ms_axis("low_ms:Q"), y2="high_ms:Q")
    )
    return [area]
