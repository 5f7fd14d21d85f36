"""Schedules: when requests are meant to be sent."""

from __future__ import annotations

import dataclasses
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.arrivals import schedule
from harness.model import Arrivals, LoadProfile, Step

BASE = LoadProfile(Arrivals.POISSON, (Step(20.0, 60.0),), warmup_s=10.0, drain_s=30.0, seed=7)

LOADS = st.builds(
    LoadProfile,
    arrivals=st.sampled_from((Arrivals.POISSON, Arrivals.CONSTANT)),
    steps=st.lists(st.builds(Step, st.floats(0.05, 500.0), st.floats(0.1, 20.0)), min_size=1, max_size=4).map(tuple),
    warmup_s=st.just(0.0) | st.floats(0.1, 10.0),
    drain_s=st.just(30.0),
    seed=st.integers(0, 2**63 - 1),
)


@given(LOADS)
def test_arrivals_are_sorted_and_within_their_step(load: LoadProfile) -> None:
    plan = schedule(load)

    assert (np.diff(plan.at_s) >= 0).all()
    lengths_s = np.array([step.duration_s for step in load.steps])
    begins_s = load.warmup_s + np.cumsum([0.0, *lengths_s[:-1]])
    starts = np.where(plan.measured, begins_s[plan.step], 0.0)
    lengths = np.where(plan.measured, lengths_s[plan.step], load.warmup_s)
    assert (plan.at_s >= starts - 1e-9).all()
    assert (plan.at_s <= starts + lengths + 1e-9).all()
    assert plan.end_s == pytest.approx(load.warmup_s + lengths_s.sum())


@given(LOADS)
def test_the_same_load_profile_gives_the_same_schedule(load: LoadProfile) -> None:
    first, second = schedule(load), schedule(load)

    assert np.array_equal(first.at_s, second.at_s)
    assert np.array_equal(first.step, second.step)
    assert np.array_equal(first.measured, second.measured)


def test_another_seed_gives_another_schedule() -> None:
    other = dataclasses.replace(BASE, seed=8)

    assert not np.array_equal(schedule(BASE).at_s[:100], schedule(other).at_s[:100])


def test_types_and_phases_are_as_documented() -> None:
    plan = schedule(BASE)

    assert (plan.at_s.dtype, plan.step.dtype, plan.measured.dtype) == (np.float64, np.int16, np.bool_)
    assert len(plan) == len(plan.at_s) == len(plan.step) == len(plan.measured)
    assert set(plan.phase[plan.at_s < 10.0]) == {"warmup"}
    assert set(plan.phase[plan.at_s >= 10.0]) == {"measure"}


@given(rate=st.floats(10.0, 2000.0), seed=st.integers(0, 10**6))
@settings(max_examples=50)
def test_the_poisson_rate_is_met_within_five_sigma(rate: float, seed: int) -> None:
    load = dataclasses.replace(BASE, steps=(Step(rate, 60.0),), warmup_s=0.0, seed=seed)

    assert abs(len(schedule(load)) - rate * 60.0) < 5 * math.sqrt(rate * 60.0)


def test_poisson_gaps_have_the_mean_and_the_spread_of_an_exponential() -> None:
    load = dataclasses.replace(BASE, steps=(Step(1000.0, 100.0),), warmup_s=0.0)

    gaps = np.diff(schedule(load).at_s)

    assert gaps.mean() == pytest.approx(0.001, rel=0.02)
    assert gaps.std() == pytest.approx(0.001, rel=0.02)
    assert (gaps > 0.001).mean() == pytest.approx(0.3679, abs=0.01)  # e^-1


def test_constant_arrivals_are_evenly_spaced_from_the_start() -> None:
    load = LoadProfile(Arrivals.CONSTANT, (Step(4.0, 1.0),), warmup_s=0.5, drain_s=0.0, seed=1)

    plan = schedule(load)

    assert plan.at_s.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
    assert plan.phase.tolist() == ["warmup", "warmup", "measure", "measure", "measure", "measure"]


def test_a_rounding_error_adds_no_arrival() -> None:
    load = LoadProfile(Arrivals.CONSTANT, (Step(100.0, 1.1),), warmup_s=0.0, drain_s=0.0, seed=1)

    assert 1.1 * 100.0 > 110.0
    assert len(schedule(load)) == 110


def test_steps_follow_each_other_at_their_own_rates() -> None:
    load = LoadProfile(Arrivals.CONSTANT, (Step(2.0, 1.0), Step(4.0, 1.0)), warmup_s=1.0, drain_s=0.0, seed=1)

    plan = schedule(load)

    assert plan.at_s.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.25, 2.5, 2.75]
    assert plan.step.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert plan.measured.tolist() == [False, False] + [True] * 6


def test_a_longer_warmup_leaves_the_measured_arrivals_where_they_were() -> None:
    short, long = schedule(BASE), schedule(dataclasses.replace(BASE, warmup_s=25.0))

    moved = long.at_s[long.measured] - 15.0
    assert np.allclose(short.at_s[short.measured], moved, rtol=0, atol=1e-9)


def test_a_longer_run_begins_like_the_shorter_one() -> None:
    short, long = schedule(BASE), schedule(dataclasses.replace(BASE, steps=(Step(20.0, 600.0),)))

    assert np.array_equal(short.at_s, long.at_s[: len(short)])


def test_one_more_step_leaves_the_others_alone() -> None:
    one, two = schedule(BASE), schedule(dataclasses.replace(BASE, steps=(Step(20.0, 60.0), Step(40.0, 60.0))))

    assert np.array_equal(one.at_s, two.at_s[two.step == 0])


def test_a_rate_too_slow_for_the_time_gives_an_empty_schedule() -> None:
    load = dataclasses.replace(BASE, steps=(Step(1e-9, 1.0),), warmup_s=1.0)

    assert len(schedule(load)) == 0


def test_ten_million_arrivals_fit_in_half_a_gigabyte() -> None:
    load = dataclasses.replace(BASE, steps=(Step(100_000.0, 100.0),), warmup_s=0.0)

    tracemalloc.start()
    try:
        plan = schedule(load)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert abs(len(plan) - 10_000_000) < 5 * math.sqrt(10_000_000)
    assert peak < 512 * 2**20
