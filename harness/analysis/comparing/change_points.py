"""Where a metric of many runs in a row became another one.

Binary segmentation: the split of a stretch whose two sides differ most in rank is a change if hardly any other order of
the same values has so large a difference (a permutation test, as of E-divisive: Matteson & James 2014; ranks
as of Pettitt 1979, so that one odd run moves nothing). Then both sides are looked at the same way.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST = 4
"""Runs on either side of a change: fewer are an episode."""
PERMUTATIONS = 1_999
ALPHA = 0.01
MOST_RUNS = 2_000
"""Older ones are left out: the time of the search grows with them."""


def change_points(
    values: Floats, alpha: float = ALPHA, metrics: int = 1, least: int = LEAST, seed: int = 0
) -> list[tuple[int, float]]:
    """(index of the first run after the change, p) of each change, in order; `values` shape (runs,), oldest first.

    Unknown runs (NaN, not above zero) are passed over. `alpha` is divided by the number of `metrics` that are looked
    at. What a straight line explains better than steps do is a drift, and no change. The same seed gives the same p.
    """
    values = np.asarray(values, np.float64)
    known = np.flatnonzero(~np.isnan(values) & (values >= 0.0))[-MOST_RUNS:]
    logs = _logarithms(values[known])
    rng = np.random.default_rng(seed)
    found = _moved(logs, _split(logs, 0, len(logs), alpha / max(1, metrics), least, rng), least)
    return [(int(known[at]), p) for at, p in _without_drifts(logs, found)]


def _logarithms(values: Floats) -> Floats:
    """Infinite and zero values a little beyond the others: they keep their rank."""
    with np.errstate(divide="ignore"):
        logs = np.log(values)
    finite = logs[np.isfinite(logs)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    beyond = max(1.0, high - low)
    kept: Floats = np.clip(logs, low - beyond, high + beyond)
    return kept


def _split(
    logs: Floats, start: int, end: int, alpha: float, least: int, rng: np.random.Generator
) -> list[tuple[int, float]]:
    if end - start < 2 * least or float(np.ptp(logs[start:end])) <= 1e-9:
        return []
    ranks = _ranks(logs[start:end])
    differences = _differences(ranks[None, :], least)[0]
    at = int(np.argmax(differences))
    drawn = _differences(rng.permuted(np.tile(ranks, (PERMUTATIONS, 1)), axis=1), least).max(axis=1)
    p = (1.0 + float((drawn >= differences[at] - 1e-9).sum())) / (1.0 + PERMUTATIONS)
    if p > alpha:
        return []
    split = start + least + at
    before = _split(logs, start, split, alpha, least, rng)
    return [*before, (split, p), *_split(logs, split, end, alpha, least, rng)]


def _ranks(values: Floats) -> Floats:
    """Ranks about their mean; equal values share theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts + 1) / 2.0)[inverse]
    return np.asarray(ranks - ranks.mean(), np.float64)


def _differences(ranks: Floats, least: int) -> Floats:
    """How far apart the sides of each split lie, in standard errors up to a factor; shape (orders, splits)."""
    n = ranks.shape[1]
    first = np.arange(least, n - least + 1)
    sums = np.cumsum(ranks, axis=1)[:, first - 1]
    apart: Floats = np.abs(sums) / np.sqrt(first * (n - first))
    return apart


def _moved(logs: Floats, found: list[tuple[int, float]], least: int) -> list[tuple[int, float]]:
    """Each change put where it is best between its neighbours: it was placed before they were known."""
    for i, (_, p) in enumerate(found):
        start = found[i - 1][0] if i else 0
        end = found[i + 1][0] if i + 1 < len(found) else len(logs)
        best = int(np.argmax(_differences(_ranks(logs[start:end])[None, :], least)[0]))
        found[i] = (start + least + best, p)
    return found


def _without_drifts(logs: Floats, found: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Changes that follow each other in one direction, unless a straight line over their stretch does as well."""
    borders = [0, *[at for at, _ in found], len(logs)]
    means = [float(logs[start:end].mean()) for start, end in pairwise(borders)]
    kept: list[tuple[int, float]] = []
    first = 0
    while first < len(found):
        last = first
        up = means[first + 1] > means[first]
        while last + 1 < len(found) and (means[last + 2] > means[last + 1]) == up:
            last += 1
        if not _is_line(logs, borders[first : last + 3]):
            kept += found[first : last + 1]
        first = last + 1
    return kept


def _is_line(logs: Floats, borders: list[int]) -> bool:
    """Whether a line explains the stretch no worse than a step at each inner border (by Schwarz's criterion, 1978)."""
    stretch = logs[borders[0] : borders[-1]]
    n, steps = len(stretch), len(borders) - 2
    x = np.arange(n) - (n - 1) / 2.0
    line = float(x @ stretch) / float(x @ x) * x + stretch.mean()
    left = sum(float(((part := logs[a:b]) - part.mean()) @ (part - part.mean())) for a, b in pairwise(borders))
    of_line = float((stretch - line) @ (stretch - line))
    tiny = 1e-12 * n
    return bool(n * np.log((of_line + tiny) / (left + tiny)) <= (2 * steps - 1) * np.log(n))
