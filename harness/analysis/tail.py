"""Which stage makes the slow requests slow.

The difference between slow and typical requests is split over the stages by conditional means, which add up
(Tasche, "Capital Allocation to Business Units and Sub-Portfolios: the Euler Principle", arXiv 0708.2542):

    C_k = E[stage_k | latency >= its 95 % quantile] - E[stage_k | latency between its 45 % and 55 % quantiles]

Intervals come from a bootstrap of time blocks, because neighbouring requests share their fate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.model import SERVER_STAGES

STAGES_BLAMED = ("backlog", "transfer", "queue_est", *SERVER_STAGES, "other")
LEAST_SLOW = 10
"""Fewer slow requests than this carry no attribution."""
CLEAR_SHARE = 0.40
"""A stage is named only if the lower end of its interval reaches this share."""
BOOTSTRAPS = 400


@dataclass(frozen=True, slots=True)
class TailShare:
    """One stage's share of (slow - typical), with its 95 % interval. Shares of all stages sum to 1."""

    stage: str
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TailAttribution:
    """`gap_s` is mean(slow) - mean(typical); shares are largest first."""

    gap_s: float
    slow_s: float
    typical_s: float
    n: int
    n_slow: int
    shares: tuple[TailShare, ...]

    @property
    def clear(self) -> TailShare | None:
        """The stage that can be named, if one can."""
        top = self.shares[0]
        return top if top.low >= CLEAR_SHARE else None


def attribute_tail(rows: pd.DataFrame, seed: int = 0, bootstraps: int = BOOTSTRAPS) -> TailAttribution | None:
    """Attribution over ledger rows in time order; None when there are too few of them or no gap."""
    if rows["queue_est_s"].notna().any():  # a request without an estimate has that wait in its upload
        rows = rows.assign(queue_est_s=rows["queue_est_s"].fillna(0.0))
    stages = [s for s in STAGES_BLAMED if not rows[f"{s}_s"].isna().any()]
    latency = rows["latency_s"].to_numpy(dtype=np.float64)
    n = len(latency)
    if n * 0.05 < LEAST_SLOW or not stages:
        return None
    parts = rows[[f"{s}_s" for s in stages]].to_numpy(dtype=np.float64)
    contributions, slow_s, typical_s = _contributions(latency, parts)
    gap = float(contributions.sum())
    if gap <= 0.0:
        return None
    low, high = _intervals(latency, parts, seed, bootstraps)
    shares = contributions / gap
    order = np.argsort(-shares)
    return TailAttribution(
        gap_s=gap,
        slow_s=slow_s,
        typical_s=typical_s,
        n=n,
        n_slow=int((latency >= np.quantile(latency, 0.95)).sum()),
        shares=tuple(TailShare(stages[i], float(shares[i]), float(low[i]), float(high[i])) for i in order),
    )


def _contributions(
    latency: NDArray[np.float64], parts: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, float]:
    low, high, slow = np.quantile(latency, (0.45, 0.55, 0.95))
    is_slow = latency >= slow
    is_typical = (latency >= low) & (latency <= high)
    contributions = parts[is_slow].mean(axis=0) - parts[is_typical].mean(axis=0)
    return contributions, float(latency[is_slow].mean()), float(latency[is_typical].mean())


def _intervals(
    latency: NDArray[np.float64], parts: NDArray[np.float64], seed: int, bootstraps: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % percentile intervals of the shares; about sqrt(n) blocks of sqrt(n) neighbouring requests."""
    n = len(latency)
    length = max(1, round(n**0.5))
    starts = np.arange(0, n - length + 1)
    blocks = -(-n // length)
    rng = np.random.default_rng(seed)
    drawn: list[NDArray[np.float64]] = []
    for _ in range(bootstraps):
        index = (rng.choice(starts, blocks)[:, None] + np.arange(length)).ravel()[:n]
        contributions, _, _ = _contributions(latency[index], parts[index])
        gap = contributions.sum()
        if gap > 0.0:
            drawn.append(contributions / gap)
    shares = np.array(drawn)
    return np.quantile(shares, 0.025, axis=0), np.quantile(shares, 0.975, axis=0)
