"""Which stage makes the slow requests slow.

A quantile of a sum is split over its parts by conditional means, which add up (Tasche, "Capital Allocation to Business
Units and Sub-Portfolios: the Euler Principle", arXiv 0708.2542): p99 - p50 = sum over the stages of

    C_k = E[stage_k | latency = p99] - E[stage_k | latency = p50]

Each is a mean over a window of ranks around its quantile, moved onto the quantile along the straight line of stage_k
against latency inside the window (local linear regression): the slopes of all stages sum to 1, so the means sum to the
quantile. With fewer requests than that takes, the slowest 5 % are held against the 10 % in the middle.

Intervals come from a bootstrap of time blocks, because neighbouring requests share their fate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis.statistics.quantiles import quantile
from harness.diagnosis import TailFindings, TailShare
from harness.model import SERVER_STAGES

Floats: TypeAlias = NDArray[np.float64]

STAGES_BLAMED = ("backlog", "transfer", "queue_est", *SERVER_STAGES, "other")
LEAST_SLOW = 10
"""Fewer slow requests than this carry no attribution."""
LEAST_FOR_QUANTILE = 3_000
"""From here on 30 requests lie in the window around p99."""
BOOTSTRAPS = 400
_SMALLEST_GAP_S = 1e-9  # what instants are recorded to
_MOST_BINS = 2_000
_MOST_BLOCKS = 2_000


@dataclass(frozen=True, slots=True)
class _Split:
    """What is held against what: windows of ranks, as shares of all. With `at` the quantiles in them are meant."""

    of: str
    slow: tuple[float, float]
    typical: tuple[float, float]
    at: tuple[float, float] | None


_QUANTILES = _Split("p99 - p50", (0.985, 0.995), (0.45, 0.55), (0.99, 0.50))
_SHORTFALL = _Split("the slowest 5% - typical requests", (0.95, 1.0), (0.45, 0.55), None)


@dataclass(frozen=True, slots=True, eq=False)
class _Requests:
    """The latency of each request in time order, and the stages it is the sum of, a row per stage; seconds."""

    latency: Floats
    stages: tuple[str, ...]
    parts: Floats
    order: NDArray[np.intp]  # from fast to slow


def attribute_tail(rows: pd.DataFrame, seed: int = 0, bootstraps: int = BOOTSTRAPS) -> TailFindings | None:
    """Attribution over ledger rows in time order; None when there are too few of them or no gap.

    A stage that is not known of a request counts as nothing there: its time is in `other`.
    """
    requests = _requests(rows)
    n = len(requests.latency)
    if n < 20 * LEAST_SLOW or len(requests.stages) < 2:
        return None
    split = _QUANTILES if n >= LEAST_FOR_QUANTILE else _SHORTFALL
    slow_s, slow, n_slow = _level(requests, split.slow, split.at[0] if split.at else None)
    typical_s, typical, _ = _level(requests, split.typical, split.at[1] if split.at else None)
    gap = slow_s - typical_s
    if gap < _SMALLEST_GAP_S:
        return None
    shares = (slow - typical) / gap
    limits = _limits(requests, split, shares, seed, bootstraps)
    if limits is None:
        return None
    low, high = limits
    return TailFindings(
        of=split.of,
        gap_s=gap,
        slow_s=slow_s,
        typical_s=typical_s,
        n=n,
        n_slow=n_slow,
        shares=tuple(
            TailShare(requests.stages[k], float(shares[k]), float(low[k]), float(high[k])) for k in np.argsort(-shares)
        ),
    )


def _requests(rows: pd.DataFrame) -> _Requests:
    latency = rows["latency_s"].to_numpy(dtype=np.float64)
    finite = np.isfinite(latency)
    if not finite.all():
        rows, latency = rows[finite], latency[finite]
    known = [s for s in STAGES_BLAMED if s != "other" and rows[f"{s}_s"].notna().any()]
    parts = np.empty((len(known) + 1, len(latency)))
    for k, stage in enumerate(known):
        parts[k] = np.nan_to_num(rows[f"{stage}_s"].to_numpy(dtype=np.float64))
    parts[-1] = latency - parts[:-1].sum(axis=0)  # nobody claims the rest: that is what `other` means
    return _Requests(latency, (*known, "other"), parts, np.argsort(latency, kind="stable"))


# --- the split ---------------------------------------------------------------------------------------------


def _level(requests: _Requests, window: tuple[float, float], p: float | None) -> tuple[float, Floats, int]:
    """The p-quantile of the latency (None: its mean in the window), the stages it is made of, requests looked at."""
    n = len(requests.latency)
    rows = requests.order[round(window[0] * n) : round(window[1] * n)]
    latency, parts = requests.latency[rows], requests.parts[:, rows]
    level, means = float(latency.mean()), parts.mean(axis=1)
    if p is not None:
        level, mean = quantile(requests.latency[requests.order], p), level
        if np.ptp(latency) >= _SMALLEST_GAP_S:
            centred = latency - mean
            means = means + (parts - means[:, None]) @ centred / float(centred @ centred) * (level - mean)
    return level, means, len(rows)


# --- its uncertainty ---------------------------------------------------------------------------------------


def _limits(
    requests: _Requests, split: _Split, shares: Floats, seed: int, bootstraps: int
) -> tuple[Floats, Floats] | None:
    """The 95 % interval of each share; None when half of the draws have no gap to split."""
    blocks, cells = _cells(len(requests.latency), requests.order)
    random = np.random.default_rng(seed)
    # The first row is the run itself: what binning does to it is taken off the others.
    weights = np.vstack([np.ones((1, blocks)), random.multinomial(blocks, np.full(blocks, 1 / blocks), bootstraps)])
    gaps = np.stack(list(_gaps(requests.parts, weights, cells, split)), axis=1)
    total = gaps.sum(axis=1)
    usable = total > _SMALLEST_GAP_S
    if not usable[0] or usable[1:].sum() < max(1, bootstraps / 2):
        return None
    drawn = gaps[usable] / total[usable, None]
    low, high = np.quantile(drawn[1:], (0.025, 0.975), axis=0) - drawn[0]
    return shares + np.minimum(low, 0.0), shares + np.maximum(high, 0.0)


def _cells(n: int, order: NDArray[np.intp]) -> tuple[int, NDArray[np.intp]]:
    """Number of time blocks, and the cell of each request: (block of neighbours in time, bin of neighbours in rank)."""
    length = max(round(n**0.5), -(-n // _MOST_BLOCKS))
    bins = min(n, _MOST_BINS)
    bin_of = np.empty(n, np.intp)
    bin_of[order] = np.arange(n) * bins // n
    return -(-n // length), np.arange(n) // length * bins + bin_of


def _gaps(parts: Floats, weights: Floats, cells: NDArray[np.intp], split: _Split) -> Iterator[Floats]:
    """For each stage its mean among slow less that among typical requests, in each draw.

    A draw takes every block `weights` times. Sums over blocks and bins say all about it: no request is touched again.
    """
    draws, blocks = weights.shape
    bins = min(parts.shape[1], _MOST_BINS)

    def cumulated(values: Floats | None) -> Floats:
        of_cells = np.bincount(cells, values, minlength=blocks * bins).reshape(blocks, bins)
        found = np.zeros((draws, bins + 1))
        np.cumsum(weights @ of_cells, axis=1, out=found[:, 1:])
        return found

    counts = cumulated(None)
    edges = counts[:, -1:] * np.array([*split.slow, *split.typical])
    for values in parts:
        sums = cumulated(values)
        at = np.array([np.interp(edge, count, each) for edge, count, each in zip(edges, counts, sums, strict=True)])
        slow = (at[:, 1] - at[:, 0]) / (edges[:, 1] - edges[:, 0])
        yield slow - (at[:, 3] - at[:, 2]) / (edges[:, 3] - edges[:, 2])
