"""The cells of a heatmap of requests: time by the logarithm of latency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.report.binning.rows import LEAST_S, bin_of, end_of

LEAST_RATIO = 1.01
"""Of the slowest to the fastest: an axis has two ends."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the cells of a heatmap lie, and how many requests each of those that are not empty holds.

    Column c reaches from c * width_s to (c + 1) * width_s; row r from fastest_ms * ratio ** r to the next power.
    """

    width_s: float
    fastest_ms: float
    ratio: float
    column: NDArray[np.int64]
    row: NDArray[np.int64]
    requests: NDArray[np.int64]


def grid_of(requests: pd.DataFrame, time_bins: int, latency_bins: int, end_s: float | None = None) -> Grid:
    """The cells of some requests (at least one), on an axis that ends with the last of them or at `end_s`."""
    end_s = end_of(requests) if end_s is None else max(end_s, LEAST_S)
    low, high = float(requests["latency_ms"].min()), float(requests["latency_ms"].max())
    ratio = (max(high / low, LEAST_RATIO) * 1.000001) ** (1.0 / latency_bins)
    logs = np.log(requests["latency_ms"].to_numpy(dtype=np.float64) / low)
    row = np.clip((logs / np.log(ratio)).astype(np.int64), 0, latency_bins - 1)
    cell = bin_of(requests["t_s"].to_numpy(dtype=np.float64), end_s, time_bins) * latency_bins + row
    counts = np.bincount(cell, minlength=time_bins * latency_bins)
    hit = np.flatnonzero(counts)
    hit = hit[np.argsort(counts[hit], kind="stable")]  # cells of one shade follow each other
    return Grid(end_s / time_bins, low, ratio, hit // latency_bins, hit % latency_bins, counts[hit])


def heatmap_cells(requests: pd.DataFrame, time_bins: int = 90, latency_bins: int = 72) -> pd.DataFrame:
    """Counts of requests by time and logarithm of latency: `t0, t1, ms0, ms1, requests`."""
    grid = grid_of(requests, time_bins, latency_bins)
    return pd.DataFrame(
        {
            "t0": grid.column * grid.width_s, "t1": (grid.column + 1) * grid.width_s,
            "ms0": grid.fastest_ms * grid.ratio**grid.row, "ms1": grid.fastest_ms * grid.ratio ** (grid.row + 1),
            "requests": grid.requests,
        }
    )  # fmt: skip
