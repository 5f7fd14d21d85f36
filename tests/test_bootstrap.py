"""Resampling blocks of time: sums worked by hand, lengths against series whose memory is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.statistics.bootstrap import (
    block_count,
    block_length,
    block_sums,
    block_weights,
    percentile_interval,
)
from tests.simulated_queues import mm1


def test_block_sums_are_those_of_consecutive_rows_and_the_last_block_may_be_short() -> None:
    assert block_sums(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), 2).tolist() == [3.0, 7.0, 5.0]
    assert block_sums(np.array([[1, 10], [2, 20], [3, 30]]), 2).tolist() == [[3.0, 30.0], [3.0, 30.0]]
    assert block_sums(np.array([True, True, False]), 2).tolist() == [2.0, 0.0]


@given(st.integers(0, 5_000), st.integers(1, 300))
def test_a_draw_takes_as_many_blocks_as_there_are(n: int, length: int) -> None:
    counts = block_weights(n, length, 3, np.random.default_rng(1))

    assert counts.shape == (3, math.ceil(n / length)) == (3, len(block_sums(np.zeros(n), length)))
    assert counts.sum(axis=1).tolist() == [block_count(n, length)] * 3


def test_the_same_seed_draws_the_same_blocks() -> None:
    one, two = (block_weights(100, 5, 10, np.random.default_rng(7)) for _ in range(2))

    assert np.array_equal(one, two)


def test_blocks_of_requests_that_queue_are_longer_than_their_memory() -> None:
    independent = np.random.default_rng(1).exponential(size=10_000)

    assert block_length(10_000, independent) == 5  # the shortest: no more than 2,000 blocks
    # At half load an M/M/1 system remembers about 20 requests, at 0.8 about 200.
    assert 30 <= block_length(10_000, mm1(10_000, 0.5, 1)) <= 150
    assert 100 <= block_length(10_000, mm1(10_000, 0.8, 1)) <= 500


def test_a_length_is_sound_for_every_kind_of_series() -> None:
    assert [block_length(n) for n in (0, 1, 5, 400, 1_000_000)] == [1, 1, 1, 20, 1_000]
    assert block_length(100, np.full(100, 3.0)) == 1
    assert block_length(2, np.array([1.0, 2.0])) == 1
    assert block_length(1_000, np.repeat([0.0, 1.0], 500)) == 50  # 20 blocks are left


def test_a_million_rows_are_drawn_in_thousands_of_blocks() -> None:
    length = block_length(1_000_000, np.random.default_rng(1).random(1_000_000))

    assert block_count(1_000_000, length) == 2_000


def test_an_interval_of_few_blocks_is_wider_than_the_draws() -> None:
    drawn = np.linspace(-1.0, 1.0, 2_001)

    low, high = percentile_interval(0.0, drawn, 11) or (0.0, 0.0)

    # t(0.975, 10) / z(0.975) = 2.228 / 1.960, times sqrt(11 / 10); the draws' own limits are -0.95 and 0.95.
    assert high == pytest.approx(0.95 * 2.228 / 1.960 * math.sqrt(1.1), rel=1e-3)
    assert low == pytest.approx(-high)


def test_draws_that_hold_nothing_are_left_out_and_too_few_give_no_interval() -> None:
    drawn = np.array([1.0, 2.0, math.nan, 3.0])

    assert percentile_interval(2.0, drawn, 50) is not None
    assert percentile_interval(2.0, np.array([1.0, math.nan, math.nan]), 50) is None
    assert percentile_interval(2.0, drawn, 4) is None
    assert percentile_interval(math.nan, drawn, 50) is None
    assert percentile_interval(2.0, np.empty(0), 50) is None
