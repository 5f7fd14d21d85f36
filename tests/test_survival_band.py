"""The band around the percentile curve: the tables' own intervals, at every share."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from harness.analysis.statistics.quantiles import LEVELS, latency_findings
from harness.analysis.statistics.survival import survival_band

SHARES = np.array([0.5, 0.1, 0.05, 0.01])


def exact_cdf(n: int, p: Fraction, k: int) -> Fraction:
    """P(X <= k), X ~ Bin(n, p), in fractions."""
    return sum((math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1)), Fraction(0))


@pytest.mark.parametrize("p", [Fraction(1, 2), Fraction(3, 4), Fraction(9, 10)])
def test_the_band_lies_at_the_ranks_that_the_exact_binomial_gives(p: Fraction) -> None:
    n, tail = 60, Fraction(25, 1000)
    lower = max(rank for rank in range(1, n + 1) if exact_cdf(n, p, rank - 1) <= tail)
    upper = min(rank for rank in range(1, n + 1) if exact_cdf(n, p, rank - 1) >= 1 - tail)
    series = np.random.default_rng(5).permutation(np.arange(1.0, n + 1))  # a value is its rank

    band = survival_band(series, np.array([float(1 - p)]))

    assert (band.low[0], band.high[0]) == (lower, upper)


def test_the_band_is_what_the_tables_say_at_their_percentiles() -> None:
    series = np.convolve(np.random.default_rng(3).exponential(1.0, 12_004), np.ones(5), "valid")  # it remembers
    found = latency_findings(series)

    band = survival_band(series, SHARES)

    expected = [(e.value, e.low, e.high) for e in (found.p50, found.p90, found.p95, found.p99)]
    assert [*zip(band.value, band.low, band.high, strict=True)] == expected
    assert len(expected) == len(LEVELS)


def test_the_strata_take_out_what_is_planned() -> None:
    steps = np.repeat([0, 1], 500)
    series = np.random.default_rng(4).random(1_000) + 10.0 * steps

    band = survival_band(series, SHARES[1:2], strata=steps)

    found = latency_findings(series, steps).p90
    assert (band.low[0], band.high[0]) == (found.low, found.high)


def test_beyond_what_n_can_carry_there_is_a_value_and_no_interval() -> None:
    band = survival_band(np.arange(100.0), np.array([0.001]))

    assert band.value[0] == 99.0
    assert np.isnan([band.low[0], band.high[0]]).all()


def test_a_share_among_the_failed_requests_has_nothing() -> None:
    series = np.concatenate([np.arange(1.0, 91.0), np.full(10, np.inf)])

    band = survival_band(series, np.array([0.5, 0.05]))

    assert band.value[0] == 50.0
    assert np.isnan([band.value[1], band.low[1], band.high[1]]).all()


def test_the_lowest_observation_is_no_lower_limit_of_a_percentile_below_it() -> None:
    series = np.random.default_rng(8).permutation(np.arange(1.0, 31.0))

    band = survival_band(series, np.array([0.9, 0.85]))

    # All of 30 lie above the p10 with 0.9 ** 30 = 4.2 %, more than 2.5 %; above the p15 with 0.85 ** 30 = 0.8 %.
    assert np.isnan(band.low).tolist() == [True, False]


@pytest.mark.parametrize("series", [[], [0.2], [math.inf], [0.2] * 50], ids=["none", "one", "one failed", "all equal"])
def test_next_to_nothing_makes_a_band_without_a_surprise(series: list[float]) -> None:
    band = survival_band(np.array(series), np.array([1.0, 0.5, 0.0]))

    assert len(band.value) == len(band.low) == len(band.high) == 3
    assert not np.isinf(band.value).any()
