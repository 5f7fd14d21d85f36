"""Ledger rows -> the few thousand numbers a drawing can show. Nothing here is a statistic one may quote.

Instants are seconds since the first scheduled request of the run, durations milliseconds.
"""

from __future__ import annotations

from harness.report.binning.cells import Grid, grid_of, heatmap_cells
from harness.report.binning.curve import FASTEST_MS, survival_curves
from harness.report.binning.rows import (
    Border,
    borders,
    failed_over_time,
    requests_over_time,
    scheduled_rate,
    since_start,
    slices,
    unmeasured_bands,
)
from harness.report.binning.shares import LEAST_PER_SHARE_BIN, SHARE_BINS, split_rows, stage_shares, tail_shares
from harness.report.binning.vitals import points, thinned

MOST_POINTS = 1500
"""Requests that are drawn one by one; more of them become a heatmap."""
TIME_BINS, LATENCY_BINS = 90, 72

__all__ = [
    "FASTEST_MS",
    "LATENCY_BINS",
    "LEAST_PER_SHARE_BIN",
    "MOST_POINTS",
    "SHARE_BINS",
    "TIME_BINS",
    "Border",
    "Grid",
    "borders",
    "failed_over_time",
    "grid_of",
    "heatmap_cells",
    "points",
    "requests_over_time",
    "scheduled_rate",
    "since_start",
    "slices",
    "split_rows",
    "stage_shares",
    "survival_curves",
    "tail_shares",
    "thinned",
    "unmeasured_bands",
]
