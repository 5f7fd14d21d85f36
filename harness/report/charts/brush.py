"""The latency heatmap on which one can draw a selection."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from harness.report.binning import heatmap_cells, requests_over_time
from harness.report.charts.output import as_wide_as_its_element
from harness.report.charts.parts import log_ms_axis, seconds_axis, styled
from harness.report.palette import IN_PAGE, Theme

HEIGHT = 300


def heatmap_spec(ledger: pd.DataFrame, theme: Theme = IN_PAGE) -> dict[str, Any]:
    """The Vega-Lite specification of latency over time with an interval selection named `brush`; {} without a request.

    `ledger` has `scheduled_ns`, `phase`, `ok` and `latency_s`. The value of the signal `brush` is {} without a
    selection, else {"t_s": [from, until], "latency_ms": [from, until]}: seconds since the first scheduled request of
    the run, and milliseconds.
    """
    requests = requests_over_time(ledger)
    if requests.empty:
        return {}
    cells = heatmap_cells(requests).rename(columns={"t0": "t_s", "ms0": "latency_ms"})
    x_scale = alt.Scale(domain=[0, max(float(requests["t_s"].max()), 1e-9)], nice=False)
    brush = alt.selection_interval(name="brush", encodings=["x", "y"])
    rects = (
        alt.Chart(cells)
        .mark_rect(fill=theme.accent)
        .encode(
            x=seconds_axis("t_s:Q", x_scale),
            x2=alt.X2("t1:Q"),
            y=log_ms_axis("latency_ms:Q"),
            y2=alt.Y2("ms1:Q"),
            opacity=alt.Opacity("requests:Q", legend=None, scale=alt.Scale(type="log", range=[0.15, 1.0], nice=False)),
        )
        .add_params(brush)
    )
    return as_wide_as_its_element(styled(alt.layer(rects), theme, HEIGHT))
