"""Resampling whole stretches of time, because requests that queue behind each other share their fate.

The rows, in time order, are cut into consecutive blocks of `length` rows (the last one may be shorter). A draw takes
as many blocks as there are, with replacement; what was drawn is a count for each block, so that a draw costs one
product over the blocks and never touches the rows again:

    length = block_length(n, (latency > p95).astype(float))
    counts = block_weights(n, length, 400, np.random.default_rng(seed))   # (400, blocks)
    slow = counts @ block_sums(is_slow, length)                            # rows that are slow, in each draw
    work = counts @ block_sums(np.where(is_slow, inference, 0.0), length)  # their seconds of inference, likewise
    with np.errstate(invalid="ignore"):
        low, high = percentile_interval(value, work / slow, block_count(n, length))

A mask such as `is_slow` is best held fixed over the draws: means over fixed masks are ratios of such sums. A draw
that holds no row of the mask gives NaN, and is left out by `percentile_interval`.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from harness.analysis.statistics import binomial
from harness.analysis.statistics.autocorrelation import autocorrelations

Values = NDArray[np.float64]
MOST_BLOCKS = 2_000
"""More blocks make a draw dearer and an interval no better."""
LEAST_BLOCKS = 20
"""Blocks are kept so short that there are this many, while n allows it."""


def block_length(n: int, series: Values | None = None) -> int:
    """Rows in a block, at least 1, so that there are between LEAST_BLOCKS and MOST_BLOCKS blocks where n allows it.

    With a series in time order (best the indicator that decides the statistic, such as "is it over the p95?"): the
    length that suits its memory (Politis & White 2004, corrected 2009, for blocks that do not overlap in a circle),
    (2 G^2 n / D)^(1/3), and never less than what its memory spans. Without one: the square root of n.
    """
    if n <= 1:
        return 1
    wanted = math.sqrt(n) if series is None or len(series) < 4 else _politis_white(series)
    shortest, longest = -(-n // MOST_BLOCKS), max(1, n // LEAST_BLOCKS)
    return min(max(math.ceil(wanted), shortest), longest)


def _politis_white(series: Values) -> float:
    """Length in rows. Long series are looked at in means of a few neighbours, as `autocorrelations` gives them."""
    rho, step = autocorrelations(series)
    n = len(series) // step
    if n < 8 or not len(rho):
        return 1.0
    run = max(5, math.ceil(math.sqrt(math.log10(n))))
    small = np.abs(rho[1:]) < 2.0 * math.sqrt(math.log10(n) / n)
    # The first lag from which `run` in a row are indistinguishable from zero.
    quiet = np.flatnonzero(np.convolve(small, np.ones(run), "valid") >= run - 0.5)
    memory = min(int(quiet[0]) if len(quiet) else n, n // 4)
    lags = np.arange(1, 2 * max(memory, 1) + 1)
    window = np.clip(2.0 * (1.0 - lags / (lags[-1] + 1.0)), 0.0, 1.0)
    spectrum = 1.0 + 2.0 * float(window @ rho[lags])
    slope = 2.0 * float((window * lags) @ rho[lags])
    if spectrum <= 0.0:
        return float(step)
    return step * max(1.0, float(memory), math.cbrt(1.5 * n * (slope / spectrum) ** 2))


def block_count(n: int, length: int) -> int:
    """How many blocks n rows make."""
    return -(-n // length)


def block_weights(n: int, length: int, draws: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """How often each draw takes each block; shape (draws, blocks), every row sums to the number of blocks."""
    blocks = block_count(n, length)
    if blocks == 0:
        return np.zeros((draws, 0), np.int32)
    taken = rng.integers(0, blocks, (draws, blocks)) + np.arange(draws)[:, None] * blocks
    return np.bincount(taken.ravel(), minlength=draws * blocks).reshape(draws, blocks).astype(np.int32)


def block_sums(values: NDArray[np.generic], length: int) -> Values:
    """Sums of each block of `values`, (n,) or (n, columns); shape (blocks,) or (blocks, columns)."""
    if len(values) == 0:
        return np.zeros((0, *values.shape[1:]))
    sums: Values = np.add.reduceat(values, np.arange(0, len(values), length), axis=0, dtype=np.float64)
    return sums


def percentile_interval(
    value: float, drawn: Values, blocks: int, confidence: float = 0.95
) -> tuple[float, float] | None:
    """(low, high) from a statistic's draws; None when fewer than 5 blocks or half of the draws carry it.

    The percentile interval, stretched about `value` by what a variance known from so few blocks leaves open
    (Student's t in place of the normal, and blocks / (blocks - 1)).
    """
    finite = drawn[np.isfinite(drawn)]
    if blocks < 5 or 2 * len(finite) < len(drawn) or not len(finite) or not math.isfinite(value):
        return None
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(finite, (tail, 1.0 - tail))
    stretch = binomial.t_quantile(1.0 - tail, blocks - 1.0) / NormalDist().inv_cdf(1.0 - tail)
    stretch *= math.sqrt(blocks / (blocks - 1.0))
    return value - stretch * max(0.0, value - float(low)), value + stretch * max(0.0, float(high) - value)
