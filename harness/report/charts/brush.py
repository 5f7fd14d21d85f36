"""The latency heatmap on which one can draw a selection."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from harness.report import binning
from harness.report.charts.output import as_wide_as_its_element
from harness.report.charts.over_time import FAINTEST, cells
from harness.report.charts.parts import styled
from harness.report.palette import IN_PAGE, Theme

HEIGHT = 300
TIME_BINS, LATENCY_BINS = 100, 48
"""Cells that one can point at; a browser takes a second to draw twice as many."""


def heatmap_spec(ledger: pd.DataFrame, theme: Theme = IN_PAGE) -> dict[str, Any]:
    """The Vega-Lite specification of latency over time with an interval selection named `brush`; {} without an ok one.

    `ledger` has `scheduled_ns`, `phase`, `ok` and `latency_s`. The value of the signal `brush` is {} without a
    selection, else {"t_s": [from, until], "latency_ms": [from, until]}: seconds since the first scheduled request of
    the run, and milliseconds. Failed requests are not in it: they have no latency.
    """
    requests = binning.requests_over_time(ledger)
    answered = requests.loc[requests["ok"].to_numpy(dtype=bool), ["t_s", "latency_ms"]]
    if answered.empty:
        return {}
    end_s = max(float(requests["t_s"].max()), 1e-9)
    grid = binning.grid_of(answered, TIME_BINS, LATENCY_BINS, end_s)
    brush = alt.selection_interval(
        name="brush",
        encodings=["x", "y"],
        mark=alt.BrushConfig(fill=theme.attention, fillOpacity=0.12, stroke=theme.attention, strokeWidth=1.5),
    )
    scale = alt.Scale(type="log", range=FAINTEST, nice=False)
    rects = cells(grid, theme, alt.Scale(domain=[0, end_s], nice=False)).encode(
        opacity=alt.Opacity("n:Q", title="requests in a cell", legend=None, scale=scale)
    )
    return as_wide_as_its_element(styled([rects.add_params(brush)], theme, HEIGHT))
