"""Is a load step steady? Queues from a seed, whose state is known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from simulated_queues import simulate, starts

from harness.analysis.load_steps.steady import Steady, judge
from harness.analysis.load_steps.stretches import odd_stretches
from harness.diagnosis import Steadiness

Floats = NDArray[np.float64]
STEP_S = 12.0


def a_step(
    load: float,
    seed: int,
    step_s: float = STEP_S,
    per_s: float = 50.0,
    hold: Callable[[Floats, Floats], Floats] = lambda at, hold_s: hold_s,
) -> tuple[Floats, Floats]:
    """Arrivals and latencies of one step of M/G/1 (lognormal service, cv 0.5), `hold` changes the service times."""
    scale = load / per_s / 0.013
    queue = simulate(int(per_s * step_s * 1.4) + 60, load, seed, means_s=(0.002 * scale, 0.010 * scale, 0.001 * scale))
    at, hold_s = queue.scheduled_s, queue.hold_s
    changed = hold(at, hold_s)
    latency = queue.latency_s if changed is hold_s else starts(at, changed, 1) + changed - at
    kept = at < step_s
    return at[kept], latency[kept]


def judged(at: Floats, latency: Floats, step_s: float = STEP_S, closed_loop: bool = False) -> Steady:
    return judge(at, latency, at + latency, step_s, closed_loop)


@pytest.mark.parametrize(("load", "step_s"), [(0.5, 12.0), (0.8, 12.0), (0.5, 30.0), (0.8, 30.0)])
def test_a_steady_queue_is_seldom_called_anything_else(load: float, step_s: float) -> None:
    """Over 200 seeds each, 38/s at load 0.5 and 62/s at 0.8 (lognormal service times of 13 ms, cv 0.5):

    | load | step | warming | drifting | unstable | untested |
    |------|------|---------|----------|----------|----------|
    | 0.5  | 12 s |       0 |    0.5 % |        0 |        0 |
    | 0.5  | 30 s |   0.5 % |        0 |        0 |        0 |
    | 0.5  | 60 s |       0 |    0.5 % |        0 |        0 |
    | 0.8  | 12 s |   1.5 % |    0.5 % |        0 |    1.5 % |
    | 0.8  | 30 s |   1.0 % |    0.5 % |        0 |        0 |
    | 0.8  | 60 s |       0 |    0.5 % |        0 |        0 |
    """
    states = Counter(judged(*a_step(load, seed, step_s), step_s).state for seed in range(40))

    assert states[Steadiness.STEADY] + states[Steadiness.UNTESTED] >= 38


@pytest.mark.parametrize("per_s", [10.0, 20.0, 50.0])
def test_a_cold_start_of_two_seconds_is_warming_and_settles_after_about_two(per_s: float) -> None:
    def cold(at: Floats, hold_s: Floats) -> Floats:
        return np.where(at < 2.0, 4.0 * hold_s, hold_s)

    found = [judged(*a_step(0.2, seed, per_s=per_s, hold=cold)) for seed in range(10)]

    warming = [f for f in found if f.state is Steadiness.WARMING]
    assert len(warming) >= 8
    assert 1.5 <= float(np.median([f.settled_after_s or 0.0 for f in warming])) <= 2.6
    assert "times as slow as the rest" in warming[0].sentence


@pytest.mark.parametrize("first", [10, 30])
def test_a_few_slow_requests_at_the_begin_are_enough_for_warming(first: int) -> None:
    def cold(at: Floats, hold_s: Floats) -> Floats:
        return np.where(np.arange(len(at)) < first, hold_s + 0.02, hold_s)

    found = Counter(judged(*a_step(0.3, seed, per_s=50.0, hold=cold)).state for seed in range(10))

    assert found[Steadiness.WARMING] >= 9


def test_a_warm_up_that_fades_out_is_no_drift() -> None:
    def fading(at: Floats, hold_s: Floats) -> Floats:
        return hold_s * (1.0 + 8.0 * np.exp(-at / 0.7))

    found = Counter(judged(*a_step(0.2, seed, per_s=20.0, hold=fading)).state for seed in range(10))

    assert found[Steadiness.WARMING] >= 9


def test_a_begin_that_is_faster_than_the_rest_is_warming_too() -> None:
    at = np.arange(600) / 50.0
    latency = np.where(at < 2.0, 0.010, 0.030) * np.exp(np.random.default_rng(1).normal(0.0, 0.1, 600))

    found = judged(at, latency)

    assert found.state is Steadiness.WARMING
    assert found.settled_after_s == pytest.approx(2.0, abs=0.15)
    assert found.sentence.endswith("latency was 3.0 times as fast as the rest, then it was steady")


def test_one_long_stall_in_the_middle_is_named_and_is_neither_drift_nor_warm_up() -> None:
    def stalled(at: Floats, hold_s: Floats) -> Floats:
        return np.where(np.arange(len(at)) == np.searchsorted(at, 6.0), 2.0, hold_s)

    found = [judged(*a_step(0.4, seed, hold=stalled)) for seed in range(10)]

    assert {f.state for f in found} <= {Steadiness.STEADY, Steadiness.UNTESTED}
    assert all("(a stall: nothing was answered for long)" in f.sentence for f in found)


def test_a_queue_that_slows_down_by_half_over_a_minute_drifts() -> None:
    def slower(at: Floats, hold_s: Floats) -> Floats:
        return hold_s * (1.0 + 0.5 * at / 60.0)

    found = [judged(*a_step(0.2, seed, 60.0, hold=slower), 60.0) for seed in range(10)]

    drifting = [f for f in found if f.state is Steadiness.DRIFTING]
    assert len(drifting) >= 9
    assert drifting[0].drift is not None
    assert drifting[0].drift.low is not None
    assert drifting[0].drift.low > 0.0


def test_the_slope_of_a_growing_latency_is_the_relative_change_over_the_step() -> None:
    at = np.arange(600) / 50.0
    latency = 0.020 * 1.5 ** (at / STEP_S)

    found = judged(at, latency * np.exp(np.random.default_rng(2).normal(0.0, 0.02, 600)))

    assert found.state is Steadiness.DRIFTING
    assert found.drift is not None
    assert found.drift.value == pytest.approx(0.5, abs=0.05)
    assert found.drift.confidence == 0.99


def test_what_becomes_slow_towards_the_end_drifts() -> None:
    def late(at: Floats, hold_s: Floats) -> Floats:
        return np.where(at > 9.0, 3.0 * hold_s, hold_s)

    found = [judged(*a_step(0.25, seed, hold=late)) for seed in range(10)]

    assert sum(f.state is Steadiness.DRIFTING for f in found) >= 9
    assert any("to the end of the step" in f.sentence for f in found)


@pytest.mark.parametrize("load", [1.3, 2.0])
def test_a_queue_that_gets_more_than_it_can_do_is_unstable(load: float) -> None:
    def overloaded(at: Floats, hold_s: Floats) -> Floats:
        return hold_s * load / 0.5

    found = [judged(*a_step(0.5, seed, hold=overloaded)) for seed in range(10)]

    assert sum(f.state is Steadiness.UNSTABLE for f in found) >= 9
    assert "were answered in the second half of the step" in found[0].sentence


def test_a_closed_loop_is_never_unstable() -> None:
    def overloaded(at: Floats, hold_s: Floats) -> Floats:
        return hold_s * 4.0

    at, latency = a_step(0.5, 1, hold=overloaded)

    assert judged(at, latency).state is Steadiness.UNSTABLE
    assert judged(at, latency, closed_loop=True).state is not Steadiness.UNSTABLE


def test_requests_that_never_end_are_in_flight() -> None:
    at = np.arange(600) / 50.0
    latency = np.where(np.arange(600) % 2 == 0, 0.01, math.inf)

    found = judge(at, latency, np.where(np.isfinite(latency), at + 0.01, np.nan), STEP_S, closed_loop=False)

    assert found.state is Steadiness.UNSTABLE
    assert found.sentence.startswith("49.8/s came and 25/s were answered in the second half of the step: 151 requests")


def timed_out(served_s: float, worked_off: bool, limit_s: float = 5.0) -> tuple[Floats, Floats, Floats, Floats]:
    """A minute of 20/s to one server whose clients leave after `limit_s`: at, latency, done, gave up."""
    random = np.random.default_rng(1)
    at = np.cumsum(random.exponential(1 / 20.0, 1_400))
    at = at[at < 60.0]
    free, latency = 0.0, np.full(len(at), math.inf)
    for i, came in enumerate(at):
        if not worked_off and max(free, came) - came > limit_s:
            continue
        free = max(free, came) + random.exponential(served_s)
        latency[i] = free - came if free - came <= limit_s else math.inf
    gave_up = np.isinf(latency)
    return at, latency, at + np.where(gave_up, limit_s, latency), gave_up


@pytest.mark.parametrize("worked_off", [True, False])
def test_clients_that_leave_a_queue_that_is_too_long_do_not_make_it_steady(worked_off: bool) -> None:
    at, latency, done, gave_up = timed_out(1 / 12.0, worked_off)

    found = judge(at, latency, done, 60.0, closed_loop=False, gave_up=gave_up.astype(bool))

    assert found.state is Steadiness.UNSTABLE
    assert "timed out after 5.00 s" in found.sentence


def test_some_that_hang_beside_quick_ones_are_no_overload_and_nobody_calls_it_steady() -> None:
    at = np.arange(1_200) / 20.0
    hung = np.arange(1_200) % 5 == 0
    latency, done = np.where(hung, math.inf, 0.05), at + np.where(hung, 5.0, 0.05)

    found = judge(at, latency, done, 60.0, closed_loop=False, gave_up=hung)

    assert found.state is Steadiness.UNTESTED
    assert found.sentence == "240 of 1,200 requests timed out: how long they would have taken is not known"


def test_no_slope_is_told_beyond_where_it_was_seen_nor_a_change_by_more_than_a_factor_of_ten() -> None:
    at = np.arange(200) / 50.0  # the first 4 of 60 seconds
    noise = np.exp(np.random.default_rng(1).normal(0.0, 0.05, 200))

    twice, steep = (judged(at, 0.01 * np.exp(math.log(factor) * at / 4.0) * noise, 60.0) for factor in (2.0, 40.0))

    assert twice.drift is not None
    assert twice.drift.value == pytest.approx(1.0, abs=0.15)
    assert "over 4.00 s of the step" in twice.sentence
    assert (steep.state, steep.drift) == (Steadiness.DRIFTING, None)
    assert steep.sentence == "typical latency rose by more than a factor of 10 over 4.00 s of the step, n = 200"


def test_a_step_whose_load_changes_is_not_asked_about_drift() -> None:
    at = np.arange(600) / 50.0

    found = judge(at, 0.01 * (1.0 + at), at + 0.01, STEP_S, closed_loop=False, changing=True)

    assert found.state is Steadiness.UNTESTED


def test_a_step_of_few_requests_is_not_judged() -> None:
    at = np.arange(29) / 2.0

    found = judged(at, np.full(29, 0.1), 14.5)

    assert found == Steady(Steadiness.UNTESTED, "needs 30 answered requests, has 29")


@pytest.mark.parametrize("n", [0, 1, 2, 30, 31, 200])
@pytest.mark.parametrize("latency", [0.0, 0.1, math.inf])
@pytest.mark.parametrize("step_s", [0.0, 1.0])
def test_requests_that_are_all_alike_give_no_nan(n: int, latency: float, step_s: float) -> None:
    at = np.linspace(0.0, step_s, n)
    done = np.full(n, np.nan) if math.isinf(latency) else at + latency

    found = judge(at, np.full(n, latency), done, step_s, closed_loop=False)

    assert "nan" not in found.sentence
    if found.drift is not None:
        assert found.drift.value == pytest.approx(0.0, abs=1e-9)


def test_all_requests_at_one_instant_are_no_drift() -> None:
    found = judge(np.zeros(100), np.linspace(0.1, 0.2, 100), np.linspace(0.1, 0.2, 100), 1.0, closed_loop=True)

    assert "nan" not in found.sentence


def test_an_interval_too_wide_to_read_is_said_in_words() -> None:
    at = np.arange(200) / 20.0
    latency = np.where(np.random.default_rng(5).random(200) < 0.5, 0.01, 0.5)

    found = judged(at, latency, 10.0)

    assert found.state is Steadiness.UNTESTED
    assert found.sentence == (
        "typical latency did not change beyond chance over the step, n = 200: "
        "only a change by a factor of 10 or more would show"
    )


def test_latency_of_two_values_is_not_certain_to_stay() -> None:
    found = judged(np.arange(200) / 20.0, np.where(np.random.default_rng(6).random(200) < 0.4, 0.01, 0.02), 10.0)

    assert found.drift is not None
    assert found.drift.high is not None
    assert found.drift.high > 0.1


def test_noise_has_no_odd_stretch_and_a_shifted_part_of_it_is_found_where_it_is() -> None:
    noise = np.random.default_rng(3).normal(0.0, 0.1, 100)
    shifted = noise.copy()
    shifted[40:55] += 1.0

    (found,) = odd_stretches(shifted)

    assert odd_stretches(noise) == ()
    assert (found.begin, found.stop) == (40, 55)
    assert found.shift == pytest.approx(1.0, abs=0.1)
    assert found.margin > 1.0


@pytest.mark.parametrize("n", [0, 1, 5, 8, 50])
def test_a_constant_series_has_no_odd_stretch(n: int) -> None:
    assert odd_stretches(np.ones(n)) == ()
