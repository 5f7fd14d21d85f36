"""Schedules: when requests are meant to be sent."""

from __future__ import annotations

import dataclasses
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.arrivals import ALL, Share, phase_at, schedule, users_at
from harness.errors import ScenarioError
from harness.model import Arrivals, LoadProfile, Replay, Step
from harness.scenario.replay_file import Recorded

BASE = LoadProfile(Arrivals.POISSON, (Step(20.0, 60.0),), warmup_s=10.0, drain_s=30.0, seed=7)

RATES = st.floats(0.05, 500.0)
STEPS = st.builds(Step, RATES, st.floats(0.1, 20.0), st.none() | RATES)

LOADS = st.builds(
    LoadProfile,
    arrivals=st.sampled_from((Arrivals.POISSON, Arrivals.CONSTANT)),
    steps=st.lists(STEPS, min_size=1, max_size=4).map(tuple),
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


# --- ramps -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "at_s"),
    [
        # L(t) = 2t + t^2/2 reaches 0..5 at -2 + sqrt(4 + 2n)
        (Step(2.0, 2.0, 4.0), [0.0, 6**0.5 - 2, 8**0.5 - 2, 10**0.5 - 2, 12**0.5 - 2, 14**0.5 - 2]),
        # L(t) = 4t - t^2/2 reaches 0..5 at 4 - sqrt(16 - 2n)
        (Step(4.0, 2.0, 2.0), [0.0, 4 - 14**0.5, 4 - 12**0.5, 4 - 10**0.5, 4 - 8**0.5, 4 - 6**0.5]),
        (Step(2.0, 2.0, 2.0), [0.0, 0.5, 1.0, 1.5]),
    ],
)
def test_constant_arrivals_of_a_ramp_are_where_its_cumulative_rate_is_whole(step: Step, at_s: list[float]) -> None:
    load = LoadProfile(Arrivals.CONSTANT, (step,), warmup_s=0.0, drain_s=0.0, seed=1)

    assert schedule(load).at_s == pytest.approx(at_s)


@given(low=st.floats(20.0, 500.0), high=st.floats(20.0, 500.0), seed=st.integers(0, 10**6))
@settings(max_examples=50)
def test_each_half_of_a_ramp_has_its_own_rate_within_five_sigma(low: float, high: float, seed: int) -> None:
    load = dataclasses.replace(BASE, steps=(Step(low, 40.0, high),), warmup_s=0.0, seed=seed)

    at_s = schedule(load).at_s

    for arrived, rate in (
        ((at_s < 20.0).sum(), 0.75 * low + 0.25 * high),
        ((at_s >= 20.0).sum(), 0.25 * low + 0.75 * high),
    ):
        assert abs(arrived - rate * 20.0) < 5 * math.sqrt(rate * 20.0)


def test_a_ramp_that_hardly_rises_is_almost_the_steady_rate() -> None:
    steady = schedule(dataclasses.replace(BASE, steps=(Step(20.0, 60.0),)))
    rising = schedule(dataclasses.replace(BASE, steps=(Step(20.0, 60.0, 20.0 + 1e-12),)))

    assert rising.at_s == pytest.approx(steady.at_s, abs=1e-9)


def test_the_warmup_of_a_ramp_stays_at_the_level_it_begins_with() -> None:
    load = LoadProfile(Arrivals.CONSTANT, (Step(2.0, 2.0, 4.0),), warmup_s=2.0, drain_s=0.0, seed=1)

    assert schedule(load).at_s[:4].tolist() == [0.0, 0.5, 1.0, 1.5]
    assert schedule(load).warmups == 4


# --- shares ------------------------------------------------------------------------------------------------


@given(load=LOADS, of=st.integers(1, 7))
def test_the_shares_are_disjoint_and_together_the_whole_schedule(load: LoadProfile, of: int) -> None:
    whole = schedule(load)
    shares = [schedule(load, Share(index, of)) for index in range(of)]

    ids = np.concatenate([share.request_id for share in shares])
    order = np.argsort(ids)
    assert np.array_equal(ids[order], np.arange(len(whole)))
    assert np.array_equal(np.concatenate([share.at_s for share in shares])[order], whole.at_s)
    assert np.array_equal(np.concatenate([share.step for share in shares])[order], whole.step)
    assert np.array_equal(np.concatenate([share.measured for share in shares])[order], whole.measured)
    assert {share.planned for share in shares} == {len(whole)}


@given(of=st.integers(2, 8), seed=st.integers(0, 10**6))
@settings(max_examples=25)
def test_each_share_of_a_poisson_process_has_its_part_of_the_rate(of: int, seed: int) -> None:
    load = dataclasses.replace(BASE, steps=(Step(200.0, 60.0),), warmup_s=0.0, seed=seed)

    for index in range(of):
        expected = 12_000 / of
        assert abs(len(schedule(load, Share(index, of))) - expected) < 5 * math.sqrt(expected)


def test_the_gaps_of_a_share_of_a_poisson_process_are_exponential() -> None:
    load = dataclasses.replace(BASE, steps=(Step(4000.0, 100.0),), warmup_s=0.0)

    gaps = np.diff(schedule(load, Share(2, 4)).at_s)

    assert gaps.mean() == pytest.approx(0.001, rel=0.02)
    assert gaps.std() == pytest.approx(0.001, rel=0.02)
    assert (gaps > 0.001).mean() == pytest.approx(0.3679, abs=0.01)  # e^-1


def test_constant_arrivals_are_dealt_out_in_turn() -> None:
    load = LoadProfile(Arrivals.CONSTANT, (Step(4.0, 2.0),), warmup_s=0.0, drain_s=0.0, seed=1)

    assert schedule(load, Share(1, 3)).at_s.tolist() == [0.25, 1.0, 1.75]


# --- replay ------------------------------------------------------------------------------------------------

RECORDED = Recorded(np.array([0.0, 0.5, 1.0, 1.0, 3.0]), ("read", "find"), np.array([0, 1, 1, 0, 1], dtype=np.int16))
REPLAYED = LoadProfile(
    Arrivals.REPLAY, (Step(3 / 2.75, 2.75),), warmup_s=1.0, drain_s=0.0, seed=7, replay=Replay("a.csv")
)


def test_a_replay_sends_what_was_recorded_at_its_instants() -> None:
    plan = schedule(REPLAYED, ALL, RECORDED)

    assert plan.at_s.tolist() == [0.0, 0.5, 1.0, 1.0, 3.0]
    assert plan.phase.tolist() == ["warmup", "warmup", "measure", "measure", "measure"]
    assert plan.kind is not None
    assert [plan.kind_names[kind] for kind in plan.kind] == ["read", "find", "find", "read", "find"]
    assert (plan.planned, plan.end_s) == (5, 3.75)


@given(of=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_the_shares_of_a_replay_are_its_arrivals_with_their_kinds(of: int, seed: int) -> None:
    load = dataclasses.replace(REPLAYED, seed=seed)
    sent: dict[int, tuple[float, int]] = {}
    for index in range(of):
        share = schedule(load, Share(index, of), RECORDED)
        assert share.kind is not None
        own = dict(
            zip(share.request_id.tolist(), zip(share.at_s.tolist(), share.kind.tolist(), strict=True), strict=True)
        )
        assert not own.keys() & sent.keys()
        sent |= own

    assert [sent[i] for i in range(5)] == [(0.0, 0), (0.5, 1), (1.0, 1), (1.0, 0), (3.0, 1)]


def test_a_recording_without_names_leaves_the_mix_to_the_weights() -> None:
    plan = schedule(REPLAYED, ALL, Recorded(RECORDED.at_s))

    assert (plan.kind, plan.kind_names) == (None, ())


@pytest.mark.parametrize("at_s", [[0.0, 0.5, 1.0, 3.0], [0.0, 0.5, 1.0, 1.0, 4.0]])
def test_a_recording_that_has_changed_since_is_refused(at_s: list[float]) -> None:
    with pytest.raises(ScenarioError, match="has changed since it was checked"):
        schedule(REPLAYED, ALL, Recorded(np.array(at_s)))


# --- users -------------------------------------------------------------------------------------------------

LOOP = LoadProfile(Arrivals.USERS, (Step(4.0, 10.0), Step(1.0, 9.0, 3.0)), warmup_s=5.0, drain_s=0.0, seed=1)


def test_users_follow_the_steps_and_climb_a_ramp_as_stairs_of_equal_length() -> None:
    assert users_at(LOOP) == (
        (0.0, 5.0, 4, 0), (5.0, 15.0, 4, 0), (15.0, 18.0, 1, 1), (18.0, 21.0, 2, 1), (21.0, 24.0, 3, 1),
    )  # fmt: skip


def test_a_share_of_the_users_stays_while_its_number_stays() -> None:
    assert users_at(LOOP, Share(0, 3)) == ((0.0, 5.0, 2, 0), (5.0, 15.0, 2, 0), (15.0, 24.0, 1, 1))
    assert users_at(LOOP, Share(2, 3))[2:] == ((15.0, 21.0, 0, 1), (21.0, 24.0, 1, 1))


USERS = st.integers(1, 40).map(float)


@given(
    steps=st.lists(st.builds(Step, USERS, st.floats(0.1, 20.0), st.none() | USERS), min_size=1, max_size=4).map(tuple),
    warmup_s=st.just(0.0) | st.floats(0.1, 10.0),
    of=st.integers(1, 6),
)
def test_the_users_of_all_shares_sum_to_the_level_without_a_gap(
    steps: tuple[Step, ...], warmup_s: float, of: int
) -> None:
    load = dataclasses.replace(LOOP, steps=steps, warmup_s=warmup_s)
    shares = [users_at(load, Share(index, of)) for index in range(of)]

    for crews in shares:
        assert [crew.from_s for crew in crews] == [0.0, *(crew.to_s for crew in crews[:-1])]
        assert crews[-1].to_s == load.end_s
    for whole in users_at(load):
        middle = (whole.from_s + whole.to_s) / 2
        there = [crew for crews in shares for crew in crews if crew.from_s <= middle < crew.to_s]
        assert sum(crew.users for crew in there) == whole.users
        assert {crew.step for crew in there} == {whole.step}


@given(low=st.integers(1, 50), high=st.integers(1, 50))
def test_the_stairs_of_a_ramp_have_the_user_seconds_of_the_line(low: int, high: int) -> None:
    step = Step(float(low), 12.0, float(high))

    crews = users_at(dataclasses.replace(LOOP, steps=(step,), warmup_s=0.0))

    assert sum(crew.users * (crew.to_s - crew.from_s) for crew in crews) == pytest.approx(step.expected)
    assert (crews[0].users, crews[-1].users) == (low, high)


def test_a_closed_loop_has_no_schedule_and_arrivals_have_no_users() -> None:
    with pytest.raises(ValueError, match="a closed loop has no schedule"):
        schedule(LOOP)
    with pytest.raises(ValueError, match="poisson arrivals have no users"):
        users_at(BASE)
    with pytest.raises(ValueError, match="needs its recording"):
        schedule(REPLAYED)


@pytest.mark.parametrize(
    ("t_s", "phase", "step"),
    [(0.0, "warmup", 0), (4.999, "warmup", 0), (5.0, "measure", 0), (14.999, "measure", 0), (15.0, "measure", 1),
     (23.999, "measure", 1), (24.0, "drain", 1), (99.0, "drain", 1)],
)  # fmt: skip
def test_the_phase_and_step_of_an_instant(t_s: float, phase: str, step: int) -> None:
    assert phase_at(LOOP, t_s) == (phase, step)


@given(LOADS)
@settings(max_examples=30)
def test_the_phase_of_an_instant_is_that_of_its_arrival(load: LoadProfile) -> None:
    plan = schedule(load)

    for i in range(0, len(plan), max(1, len(plan) // 50)):
        assert phase_at(load, float(plan.at_s[i])) == (plan.phase[i], plan.step[i])


# --- memory ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [ALL, Share(0, 2)])
@pytest.mark.parametrize("to", [None, 150_000.0])
def test_ten_million_arrivals_fit_in_two_hundred_and_fifty_megabytes(share: Share, to: float | None) -> None:
    step = Step(100_000.0, 100.0) if to is None else Step(50_000.0, 100.0, to)
    load = dataclasses.replace(BASE, steps=(step,), warmup_s=0.0)

    tracemalloc.start()
    try:
        plan = schedule(load, share)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert abs(plan.planned - 10_000_000) < 5 * math.sqrt(10_000_000)
    assert peak < 250e6
