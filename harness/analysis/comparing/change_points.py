"""Where a metric of many runs in a row became another one.

The split of a stretch whose sides differ most is a change if hardly any other order of the same runs has so large a
difference (a permutation test, as of E-divisive: Matteson & James 2014). Splits are sought in windows of many lengths,
not in the whole stretch alone, so that a slow-down that was mended again does not hide itself (seeded binary
segmentation: Kovács et al. 2023). Then both sides of the split are looked at the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis.comparing.ramps import Ramp, steps_and_ramps

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

LEAST = 4
"""Runs on either side of a change: fewer are an episode."""
PERMUTATIONS = 1_999
AT_ONCE = 2_000_000  # differences: what a step of the permutations holds in memory
ALPHA = 0.05
MOST_RUNS = 500
"""Older ones are left out: the time of the search grows with them."""


@dataclass(frozen=True, slots=True)
class Drift:
    """A metric that moved slowly: from the level before run `start` to that at run `end`, `ratio` times as much."""

    start: int
    end: int
    ratio: float


@dataclass(frozen=True, slots=True, eq=False)
class _Windows:
    """Every split of every window of a stretch: indices; shape (splits,) each."""

    start: Places
    split: Places
    end: Places


def change_points(
    values: Floats, alpha: float = ALPHA, metrics: int = 1, least: int = LEAST, seed: int = 0
) -> list[tuple[int, float]]:
    """(index of the first run after the change, p) of each change, in order; `values` shape (runs,), oldest first.

    Unknown runs (NaN, negative) are passed over. `alpha` is divided by the number of `metrics` that are looked at. What
    a slope explains better than steps do is no change but a drift. The same seed gives the same p.
    """
    known, logs = _known(values)
    steps, _ = _segmented(logs, alpha / max(1, metrics), least, seed)
    return [(int(known[at]), p) for at, p in steps]


def drifts(values: Floats, alpha: float = ALPHA, metrics: int = 1, least: int = LEAST, seed: int = 0) -> list[Drift]:
    """Stretches over which the metric moved little by little; arguments as of `change_points`."""
    known, logs = _known(values)
    _, ramps = _segmented(logs, alpha / max(1, metrics), least, seed)
    return [Drift(int(known[ramp.start]), int(known[ramp.end]), float(np.exp(ramp.rise))) for ramp in ramps]


def _known(values: Floats) -> tuple[Places, Floats]:
    """Indices and logarithms of the runs that are known; single odd runs are cut down to their neighbours.

    Infinite and zero values lie a little beyond all others.
    """
    values = np.asarray(values, np.float64)
    known = np.flatnonzero(~np.isnan(values) & (values >= 0.0))[-MOST_RUNS:]
    with np.errstate(divide="ignore"):
        logs = np.log(values[known])
    finite = logs[np.isfinite(logs)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    beyond = max(1.0, high - low)
    return known, np.clip(logs, low - beyond, high + beyond)


def _segmented(logs: Floats, alpha: float, least: int, seed: int) -> tuple[list[tuple[int, float]], list[Ramp]]:
    smooth = _smoothed(logs[None, :])[0]
    found = _split(logs, 0, len(logs), alpha, least, np.random.default_rng(seed))
    return steps_and_ramps(smooth, _moved(smooth, found, least))


def _smoothed(orders: Floats) -> Floats:
    """The median of each value and its neighbours, along the last axis: an odd run moves nothing, a step stays."""
    if orders.shape[1] < 3:
        return orders
    before, at, after = orders[:, :-2], orders[:, 1:-1], orders[:, 2:]
    inner = np.maximum(np.minimum(before, at), np.minimum(np.maximum(before, at), after))
    return np.concatenate((orders[:, :1], inner, orders[:, -1:]), axis=1)


def _split(
    logs: Floats, start: int, end: int, alpha: float, least: int, rng: np.random.Generator
) -> list[tuple[int, float]]:
    stretch = logs[start:end]
    if len(stretch) < 2 * least or float(np.ptp(stretch)) <= 1e-9:
        return []
    windows = _windows(len(stretch), least)
    differences = _differences(_smoothed(stretch[None, :]), windows)[0]
    best = int(np.argmax(differences))
    p = _p_of_orders(stretch, float(differences[best]), windows, alpha, rng)
    if p > alpha:
        return []
    at = start + int(windows.split[best])
    return [*_split(logs, start, at, alpha, least, rng), (at, p), *_split(logs, at, end, alpha, least, rng)]


def _p_of_orders(stretch: Floats, found: float, windows: _Windows, alpha: float, rng: np.random.Generator) -> float:
    """The share of orders with a difference as large; given up as soon as it is sure to be above alpha."""
    chunk, drawn, beyond = max(1, AT_ONCE // len(windows.split)), 0, 0
    while drawn < PERMUTATIONS and beyond + 1 <= alpha * (PERMUTATIONS + 1):
        count = min(chunk, 100, PERMUTATIONS - drawn) if drawn == 0 else min(chunk, PERMUTATIONS - drawn)
        orders = rng.permuted(np.tile(stretch, (count, 1)), axis=1)
        largest = _differences(_smoothed(orders), windows).max(axis=1)
        beyond += int((largest >= found * (1.0 - 1e-9)).sum())
        drawn += count
    return (1.0 + beyond) / (1.0 + drawn)


def _windows(n: int, least: int) -> _Windows:
    """Windows from the whole stretch down to the shortest, each layer shorter by the root of two, half overlapping."""
    found: list[tuple[int, int]] = []
    length = float(n)
    while length >= 2 * least:
        count = 2 * -(-n // round(length)) - 1
        starts = np.unique(np.round(np.linspace(0.0, n - round(length), count)).astype(int))
        found += [(int(start), int(start) + round(length)) for start in starts]
        length /= 2.0**0.5
    splits = [np.arange(start + least, end - least + 1) for start, end in found]
    sizes = [len(each) for each in splits]
    starts, ends = (np.repeat([window[i] for window in found], sizes) for i in (0, 1))
    return _Windows(starts, np.concatenate(splits), ends)


def _differences(orders: Floats, windows: _Windows) -> Floats:
    """How far apart the sides of each split are, in standard errors up to a factor; shape (orders, splits)."""
    sums = np.concatenate((np.zeros((len(orders), 1)), np.cumsum(orders - orders.mean(), axis=1)), axis=1)
    left, right = windows.split - windows.start, windows.end - windows.split
    at_start, at_split, at_end = (sums[:, places] for places in (windows.start, windows.split, windows.end))
    apart = (at_split - at_start) / left - (at_end - at_split) / right
    weighed: Floats = np.abs(apart) * np.sqrt(left * right / (left + right))
    return weighed


def _moved(smooth: Floats, found: list[tuple[int, float]], least: int) -> list[tuple[int, float]]:
    """Each change put where it is best between its neighbours: it was placed before they were known."""
    moved = list(found)
    for i, (_, p) in enumerate(moved):
        start = moved[i - 1][0] if i else 0
        end = moved[i + 1][0] if i + 1 < len(moved) else len(smooth)
        splits = np.arange(least, end - start - least + 1)
        whole = _Windows(np.zeros_like(splits), splits, np.full_like(splits, end - start))
        moved[i] = (start + int(splits[np.argmax(_differences(smooth[None, start:end], whole)[0])]), p)
    return moved
