"""The percentile curve, drawn."""

from __future__ import annotations

import pandas as pd

from harness.findings import Summary
from harness.report import binning, charts
from harness.report.drawings.drawing import ChartTable, Drawing
from harness.report.figures import ms
from harness.report.palette import IN_PAGE, Theme
from harness.views import Views

CURVE_TABLE = (0.5, 0.25, 0.1, 0.05, 0.01, 0.001)
"""Shares of slower requests in the table behind the percentile curve."""


def curve_drawing(_: Summary | None, ledger: pd.DataFrame, views: Views, theme: Theme = IN_PAGE) -> Drawing | None:
    """Latency against the share of measured requests that are slower."""
    curve = binning.survival_curve(ledger)
    if curve.empty:
        return None
    by_clock = {clock: part for clock, part in curve.groupby("clock")}
    rows = []
    for slower in CURVE_TABLE:
        found = [_at(by_clock.get(clock), slower) for clock in ("scheduled", "start")]
        if any(f is not None for f in found):
            rows.append((f"{slower * 100:g}%", *(ms(f, 1) for f in found)))
    return Drawing(
        key="curve",
        title="Percentiles",
        label="Latency against the share of measured requests that are slower, on a logarithmic axis.",
        note="As observed, without intervals. A failed request is slower than any answer, so the curves end where the"
        " failed ones begin.",
        chart=charts.percentile_curve(curve, theme),
        table=ChartTable(
            "Observed latency by share of slower requests",
            ("this share is at least as slow", "latency (ms)", "service (ms)"),
            tuple(rows),
        ),
    )


def _at(curve: pd.DataFrame | None, slower: float) -> float | None:
    """The fastest of the slowest `slower` part, seconds; None where that part is not on the curve."""
    if curve is None or curve["slower"].min() > slower:
        return None
    return float(curve.loc[curve["slower"] <= slower, "ms"].min()) / 1000
