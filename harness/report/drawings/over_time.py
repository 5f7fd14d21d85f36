"""Latency over time, drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.findings import Summary
from harness.report import binning, charts
from harness.report.drawings.drawing import ChartTable, Drawing
from harness.report.figures import ms
from harness.report.palette import IN_PAGE, Theme
from harness.views import Views


def latency_drawing(_: Summary | None, ledger: pd.DataFrame, views: Views, theme: Theme = IN_PAGE) -> Drawing | None:
    """Every request of the run by the instant it was scheduled and its latency."""
    requests = binning.requests_over_time(ledger)
    if requests.empty:
        return None
    n_failed = int((~requests["ok"]).sum())
    many = len(requests) > binning.MOST_POINTS
    rows = tuple(
        (f"{start:.1f} – {end:.1f}", f"{int(n):,}", f"{int(failed):,}", ms(float(slowest) / 1000, 1))
        for start, end, n, failed, slowest in binning.slices(requests).to_numpy(dtype=np.float64)
    )
    return Drawing(
        key="latency",
        title="Latency over time",
        label=f"Latency of {len(requests):,} requests against the instant they were scheduled; {n_failed:,} failed.",
        note=(
            "The stronger a cell, the more requests it holds; red ones hold a failed request."
            if many
            else "One mark a request."
        )
        + " A failed request stands at the time it took to fail.",
        chart=charts.latency_over_time(requests, theme),
        table=ChartTable("Requests by time", ("seconds", "requests", "failed", "slowest (ms)"), rows),
    )
