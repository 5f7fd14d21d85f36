"""Percentiles: latency against the share of requests that are slower."""

from __future__ import annotations

import altair as alt
import pandas as pd

from harness.report.charts.parts import AnyChart, log_ms_axis, styled
from harness.report.palette import IN_PAGE, Theme


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
            y=log_ms_axis("ms:Q"),
            color=alt.Color("clock:N", title=None, sort=[names[c] for c in clocks],
                            scale=alt.Scale(domain=[names[c] for c in clocks], range=[theme.accent, theme.attention])),
            strokeDash=alt.StrokeDash("clock:N", title=None, sort=[names[c] for c in clocks],
                                      scale=alt.Scale(domain=[names[c] for c in clocks], range=[[1, 0], [5, 3]])),
        )
    )  # fmt: skip
    return styled([line], theme)
