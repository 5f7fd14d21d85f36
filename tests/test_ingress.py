"""The wait before the server window: what upload takes longer than under a low load."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.ingress import Ingress, estimate

MS = 1e-3

Floats = NDArray[np.floating]


def judged(
    uploads_s: Sequence[Floats], levels: Sequence[float], sizes: Sequence[NDArray[np.int64]] | None = None
) -> Ingress | None:
    """One array of uploads per step; all of them usable, all of one size unless told otherwise."""
    step = np.repeat(np.arange(len(uploads_s)), [len(part) for part in uploads_s])
    upload_s = np.concatenate(uploads_s).astype(np.float64)
    size = np.full(len(step), 1000) if sizes is None else np.concatenate(sizes)
    return estimate(upload_s, size, step, levels, np.ones(len(step), bool))


def found(
    uploads_s: Sequence[Floats], levels: Sequence[float], sizes: Sequence[NDArray[np.int64]] | None = None
) -> Ingress:
    ingress = judged(uploads_s, levels, sizes)
    assert ingress is not None
    return ingress


def network(n: int, seed: int = 0, floor_s: float = 1 * MS, jitter_s: float = 0.5 * MS) -> Floats:
    uploads: Floats = floor_s + np.random.default_rng(seed).exponential(jitter_s, n)
    return uploads


# --- by hand -----------------------------------------------------------------------------------------------


def test_the_wait_is_what_upload_takes_beyond_the_fastest_at_the_lowest_load() -> None:
    quiet = np.arange(1, 101) * 0.1 * MS  # the 5th of 100 is 0.5 ms
    busy = np.full(60, 20.0 * MS)

    ingress = found([quiet, busy], [2, 10])

    assert (ingress.reference_step, ingress.reference_n) == (0, 100)
    assert ingress.u0_s == pytest.approx(0.5 * MS)
    assert ingress.beta_s_per_byte == 0
    assert ingress.significant == (False, True)
    assert ingress.queue_est_s[100:] == pytest.approx(19.5 * MS)
    # (0.1 + ... + 9.5 ms) / 100
    assert ingress.noise_s == pytest.approx(4.56 * MS)
    assert np.isnan(ingress.queue_est_s[:100]).all()


def test_larger_bodies_take_longer_without_a_wait() -> None:
    size = np.tile(np.arange(1, 11) * 100_000, 10)
    quiet = 1 * MS + size * 1e-8  # 1 ms per 100 kB
    quiet[::7] += 3 * MS
    busy_size = np.repeat([100_000, 1_000_000], 30)
    busy = 5 * MS + busy_size * 1e-8

    ingress = found([quiet, busy], [1, 4], [size, busy_size])

    assert ingress.beta_s_per_byte == pytest.approx(1e-8, rel=1e-6)
    assert ingress.u0_s == pytest.approx(1 * MS, rel=1e-6)
    assert ingress.queue_est_s[100:] == pytest.approx(4 * MS, rel=1e-4)


def test_sizes_that_hardly_differ_have_no_price_per_byte() -> None:
    size = 50_000 + np.arange(100) * 5
    quiet = size * 1e-7

    assert found([quiet, quiet + 1], [1, 4], [size, size]).beta_s_per_byte == 0


def test_bodies_that_are_faster_the_larger_they_are_have_no_negative_price() -> None:
    size = np.arange(1, 101) * 10_000
    quiet = 20 * MS - size * 1e-8

    ingress = found([quiet, quiet + 1], [1, 4], [size, size])

    assert ingress.beta_s_per_byte == 0
    assert ingress.u0_s == pytest.approx(10.4 * MS)  # the 5th from below: 960 kB


def test_a_request_without_upload_has_no_estimate_and_one_that_failed_has() -> None:
    upload_s = np.concatenate([network(80), np.full(80, 0.05)])
    upload_s[100] = np.nan
    usable = np.ones(160, bool)
    usable[101] = False

    ingress = estimate(upload_s, np.full(160, 10), np.repeat([0, 1], 80), [1, 9], usable)

    assert ingress is not None
    assert np.isnan(ingress.queue_est_s[100])
    assert ingress.queue_est_s[101] == pytest.approx(0.049, rel=0.01)


def test_a_step_that_is_no_step_has_no_estimate() -> None:
    step = np.repeat([0, 1, -1], 60)

    ingress = estimate(
        np.concatenate([network(60), network(120) + 1]), np.full(180, 10), step, [1, 9], np.ones(180, bool)
    )

    assert ingress is not None
    assert np.isnan(ingress.queue_est_s[120:]).all()
    assert not np.isnan(ingress.queue_est_s[60:120]).any()


# --- the reference -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "levels"),
    [
        ((100,), (5,)),  # nothing to compare with
        ((49, 100), (1, 10)),  # too few
        ((100, 100), (6, 10)),  # not low enough
        ((0, 0), (1, 10)),
        ((), ()),
    ],
)
def test_without_a_step_of_low_load_there_is_no_estimate(counts: tuple[int, ...], levels: tuple[float, ...]) -> None:
    assert judged([np.zeros(0), *(network(n) for n in counts)], [0, *levels][: len(counts) + 1]) is None


def test_half_of_the_highest_level_is_low_enough_wherever_the_step_stands() -> None:
    ingress = found([network(100) + 10 * MS, network(50)], [10, 5])

    assert ingress.reference_step == 1
    assert ingress.significant == (True, False)


def test_a_lowest_step_with_too_few_requests_gives_way_to_the_next() -> None:
    ingress = found([network(10), network(60), network(200) + 10 * MS], [1, 4, 10])

    assert ingress.reference_step == 1
    assert ingress.significant == (False, False, True)


def test_of_two_steps_at_the_lowest_level_the_larger_is_the_reference() -> None:
    assert found([network(60), network(100) + 1, network(90)], [1, 9, 1]).reference_step == 2


# --- queue or noise ----------------------------------------------------------------------------------------


def test_a_step_like_the_reference_has_no_estimate() -> None:
    ingress = found([network(500, seed=1), network(500, seed=2)], [1, 10])

    assert ingress.significant == (False, False)
    assert np.isnan(ingress.queue_est_s).all()
    assert ingress.sentence.endswith("no wait can be told.")


def test_noise_is_seldom_taken_for_a_queue() -> None:
    told = sum(
        found([network(200, seed=2 * k), network(200, seed=2 * k + 1)], [1, 10]).significant[1] for k in range(200)
    )

    assert told <= 15  # 2.5 % would be 5


def test_a_wait_smaller_than_the_noise_is_not_told_however_many_requests_show_it() -> None:
    ingress = found([network(20_000, seed=1), network(20_000, seed=2) + 0.4 * MS], [1, 10])

    assert ingress.noise_s == pytest.approx(0.475 * MS, rel=0.05)  # 0.5 less what one in twenty is below
    assert ingress.significant == (False, False)


def test_one_long_wait_is_no_queue() -> None:
    busy = network(500, seed=2)
    busy[77] += 1

    assert found([network(500, seed=1), busy], [1, 10]).significant == (False, False)


def test_each_step_is_judged_on_its_own() -> None:
    ingress = found([network(300, 1), network(300, 2), network(300, 3) + 4 * MS], [1, 2, 10])

    assert ingress.significant == (False, False, True)
    assert np.isnan(ingress.queue_est_s[:600]).all()
    assert not np.isnan(ingress.queue_est_s[600:]).any()
    assert "in 1 of 2 other steps" in ingress.sentence


def test_the_sentence_tells_what_was_compared() -> None:
    quiet = np.concatenate([np.full(40, 2.0 * MS), np.full(40, 3.0 * MS)])

    assert found([quiet, quiet + 10 * MS], [2, 10]).sentence == (
        "Waits before the service took a request are estimated: its upload beyond 2.00 ms, the fastest of 80 requests "
        "at the lowest load; the mean one took 500 us more there."
    )


# --- properties --------------------------------------------------------------------------------------------

uploads = st.lists(st.floats(0, 10, width=32), min_size=50, max_size=80)
sizes = st.lists(st.integers(0, 10**7), min_size=160, max_size=160)


@settings(deadline=None, max_examples=60)
@given(uploads, uploads, sizes)
def test_a_wait_is_never_negative_and_never_more_than_the_upload(
    quiet: list[float], busy: list[float], size: list[int]
) -> None:
    n, m = len(quiet), len(busy)
    parts = [np.array(size[:n]), np.array(size[n : n + m])]

    ingress = found([np.array(quiet), np.array(busy)], [1, 10], parts)
    told = ingress.queue_est_s[n:]

    assert ingress.beta_s_per_byte >= 0
    assert np.isnan(told).all() or ((told >= 0) & (told <= np.array(busy))).all()
    assert ingress.significant[1] != np.isnan(told).all()


@settings(deadline=None, max_examples=30)
@given(st.floats(0, 1), st.integers(0, 1000))
def test_a_network_that_is_slower_for_all_changes_no_wait(by_s: float, seed: int) -> None:
    size = np.random.default_rng(seed).integers(1000, 10**6, 100)
    quiet, busy = network(100, seed) + size * 1e-8, network(100, seed + 1) + size * 1e-8 + 20 * MS

    here = found([quiet, busy], [1, 10], [size, size])
    there = found([quiet + by_s, busy + by_s], [1, 10], [size, size])

    assert there.queue_est_s[100:] == pytest.approx(here.queue_est_s[100:], abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.floats(5 * MS, 1), st.integers(0, 1000), st.booleans())
def test_a_known_wait_is_recovered_within_a_tenth(wait_s: float, seed: int, one_size: bool) -> None:
    random = np.random.default_rng(seed)
    size = [np.full(400, 5000) if one_size else random.integers(1000, 10**6, 400) for _ in range(2)]
    jitter = 0.1 * MS  # of the network: part of the estimate, and told as noise
    quiet, busy = (network(400, seed + k, jitter_s=jitter) + part * 1e-8 for k, part in enumerate(size))
    waits = random.exponential(wait_s, 400)

    ingress = found([quiet, busy + waits], [1, 10], size)

    assert ingress.significant == (False, True)
    assert ingress.queue_est_s[400:].mean() == pytest.approx(waits.mean(), rel=0.1)


def test_the_slope_is_that_of_an_exhaustive_search() -> None:
    random = np.random.default_rng(4)
    size = random.integers(1000, 10**6, 60)
    upload = 1 * MS + size * 2e-8 + random.exponential(3 * MS, 60)

    def loss(u0: float, beta: float) -> float:
        left = upload - u0 - beta * size
        return float(np.where(left < 0, -0.95 * left, 0.05 * left).sum())

    ingress = found([upload, upload + 1], [1, 4], [size, size])
    through_two = [  # the best line goes through two of the points
        (upload[i] - slope * size[i], slope)
        for i in range(60)
        for j in range(i)
        for slope in [(upload[i] - upload[j]) / (size[i] - size[j])]
    ]

    best = min(loss(*line) for line in through_two)
    assert loss(ingress.u0_s, ingress.beta_s_per_byte) == pytest.approx(best, rel=1e-9)


def test_a_million_requests_take_seconds() -> None:
    size = np.random.default_rng(1).integers(1000, 10**6, 500_000)
    parts = [network(500_000, seed) + size * 1e-8 for seed in (1, 2)]
    began = time.process_time()

    found([parts[0], parts[1] + 3 * MS], [1, 10], [size, size])

    assert time.process_time() - began < 3
