"""Which stage the p95 of one run has more of than that of another.

A quantile of a sum is the sum of conditional means, E[stage | latency = p95] (Tasche, "Capital Allocation to Business
Units and Sub-Portfolios: the Euler Principle", arXiv 0708.2542). Taken in each run around its own p95, and subtracted,
they add up to the change of the p95. Each is a mean over a window of ranks, moved onto the quantile along the straight
line of stage against latency inside the window: the slopes of all stages sum to 1.

Intervals come from a bootstrap of time blocks, because neighbouring requests share their fate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis.slow.tail import STAGES_BLAMED
from harness.analysis.statistics.bootstrap import block_length, block_weights
from harness.analysis.statistics.quantiles import quantile
from harness.estimates import Estimate

Floats = NDArray[np.float64]

P = 0.95
WINDOW = 30
"""Requests around the quantile that are looked at, at least."""
LEAST = 334
"""With fewer, the window would reach the slowest requests."""
DRAWS = 400
_WIDEST, _NARROWEST = 0.045, 0.01  # of the window, to each side of P
_SMALLEST_S = 1e-9  # what instants are recorded to
_COARSE = 0.7  # ranks below are one bin: no draw moves the window so far
_MOST_BINS = 600


@dataclass(frozen=True, slots=True, eq=False)
class AtP95:
    """One run's p95 and the mean of each stage there, seconds: they sum to it.

    `drawn` has a row per draw of the bootstrap: by how much the means came out differently.
    """

    level_s: float
    n: int
    means: tuple[tuple[str, float], ...]
    drawn: Floats


def at_p95(rows: pd.DataFrame, seed: int = 0, draws: int = DRAWS) -> AtP95 | str:
    """The p95 of ledger rows in time order, split over STAGES_BLAMED; in words, why not.

    A stage that is not known of a request counts as nothing there: its time is in `other`.
    """
    latency = rows["latency_s"].to_numpy(dtype=np.float64)
    finite = np.isfinite(latency)
    if not finite.all():
        rows, latency = rows[finite], latency[finite]
    n = len(latency)
    if n < LEAST:
        return f"needs {LEAST:,} requests with a server half, has {n:,}"
    parts = _parts(rows, latency)
    order = np.argsort(latency, kind="stable")
    half = min(_WIDEST, max(_NARROWEST, WINDOW / 2 / n))
    level, means = _means_at(latency, parts, order, half)
    length = block_length(n, (latency > level).astype(np.float64))
    drawn = _drawn(parts, order, half, block_weights(n, length, draws, np.random.default_rng(seed)), length)
    return AtP95(level, n, tuple(zip(STAGES_BLAMED, means.tolist(), strict=True)), drawn)


def _parts(rows: pd.DataFrame, latency: Floats) -> Floats:
    """A row per stage of STAGES_BLAMED; `other`, the last one, is what nobody claims."""
    parts = np.empty((len(STAGES_BLAMED), len(latency)))
    for k, stage in enumerate(STAGES_BLAMED[:-1]):
        parts[k] = np.nan_to_num(rows[f"{stage}_s"].to_numpy(dtype=np.float64))
    parts[-1] = latency - parts[:-1].sum(axis=0)
    return parts


def _means_at(latency: Floats, parts: Floats, order: NDArray[np.intp], half: float) -> tuple[float, Floats]:
    n = len(latency)
    inside = order[round((P - half) * n) : round((P + half) * n)]
    level = quantile(latency[order], P)
    near, means = latency[inside], parts[:, inside].mean(axis=1)
    if np.ptp(near) >= _SMALLEST_S:
        centred = near - near.mean()
        slopes = (parts[:, inside] - means[:, None]) @ centred / float(centred @ centred)
        means = means + slopes * (level - float(near.mean()))
    means[-1] += level - means.sum()  # rounding
    return level, means


def _drawn(parts: Floats, order: NDArray[np.intp], half: float, taken: NDArray[np.int32], length: int) -> Floats:
    """Deviations of the means in the window over draws of time blocks (`taken`); shape (draws, stages).

    Sums over blocks and bins of ranks say all about a draw: no request is touched again.
    """
    n, (draws, blocks) = len(order), taken.shape
    fine = min(n - int(_COARSE * n), _MOST_BINS)
    bins = fine + 1
    cells = np.arange(n) // length * bins
    cells[order] += np.maximum(0, np.floor((np.arange(n) / n - _COARSE) / (1.0 - _COARSE) * fine).astype(np.intp) + 1)
    weights = np.vstack([np.ones((1, blocks)), taken])

    def cumulated(values: Floats | None) -> Floats:
        of_cells = np.bincount(cells, values, minlength=blocks * bins).reshape(blocks, bins)
        found = np.zeros((draws + 1, bins + 1))
        np.cumsum(weights @ of_cells, axis=1, out=found[:, 1:])
        return found

    counts = cumulated(None)
    edges = counts[:, -1:] * np.array([P - half, P + half])
    means = np.empty((draws + 1, len(parts)))
    for k, values in enumerate(parts):
        if not values.any():
            means[:, k] = 0.0
            continue
        sums = cumulated(values)
        at = np.array([np.interp(edge, count, each) for edge, count, each in zip(edges, counts, sums, strict=True)])
        means[:, k] = (at[:, 1] - at[:, 0]) / (edges[:, 1] - edges[:, 0])
    deviations: Floats = means[1:] - means[0]
    return deviations


# --- two runs ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TailDelta:
    """What B's p95 has more than A's, seconds: the stages sum to `total`; n is that of the smaller run."""

    total: Estimate
    stages: tuple[tuple[str, Estimate], ...]


def tail_delta(a: AtP95, b: AtP95) -> TailDelta:
    """B less A. A stage of neither run is left out."""
    change = np.array([mean for _, mean in b.means]) - np.array([mean for _, mean in a.means])
    drawn = b.drawn[::-1] - a.drawn  # turned round: both sides may have drawn the same blocks
    total = b.level_s - a.level_s
    change[-1] += total - change.sum()  # rounding
    n = min(a.n, b.n)
    kept = [k for k, (_, mean) in enumerate(a.means) if k == len(change) - 1 or mean or b.means[k][1]]
    return TailDelta(
        total=_estimate(total, drawn.sum(axis=1), n),
        stages=tuple((STAGES_BLAMED[k], _estimate(float(change[k]), drawn[:, k], n)) for k in kept),
    )


def _estimate(value: float, drawn: Floats, n: int) -> Estimate:
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Estimate(value, value + min(-_SMALLEST_S, float(low)), value + max(_SMALLEST_S, float(high)), n)
