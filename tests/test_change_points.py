"""Where a history of runs changed: steps are found, slopes are not cut into steps, noise is left alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.analysis.comparing.change_points import change_points, drifts

Floats = NDArray[np.float64]


def noisy(levels: Floats, seed: int = 1, noise: float = 0.03) -> Floats:
    return np.asarray(np.exp(levels + np.random.default_rng(seed).normal(0.0, noise, len(levels))))


def steps(*stretches: tuple[int, float]) -> Floats:
    return np.concatenate([np.full(n, level) for n, level in stretches])


def test_a_step_is_found_where_it_is() -> None:
    ((at, p),) = change_points(noisy(steps((25, 0.0), (20, 0.2))))

    assert at == 25
    assert p == 1 / 2_000


def test_a_slow_down_that_was_mended_again_is_two_changes() -> None:
    found = change_points(noisy(steps((20, 0.0), (10, 0.2), (20, 0.0))))

    assert [at for at, _ in found] == [20, 30]


def test_three_levels_are_two_changes() -> None:
    assert [at for at, _ in change_points(noisy(steps((15, 0.0), (15, 0.2), (15, 0.4))))] == [15, 30]


def test_a_slow_drift_is_no_change_but_a_drift() -> None:
    values = noisy(np.linspace(0.0, 0.5, 60))

    assert change_points(values) == []
    (drift,) = drifts(values)
    assert drift.start <= 5
    assert drift.end >= 54
    assert drift.ratio == pytest.approx(math.exp(0.5), rel=0.1)


def test_steps_are_no_drift() -> None:
    assert drifts(noisy(steps((15, 0.0), (15, 0.2), (15, 0.4)))) == []


def test_one_odd_run_is_no_change() -> None:
    values = noisy(np.zeros(30))
    values[12] *= 3.0

    assert change_points(values) == []


def test_histories_without_a_change_are_left_alone() -> None:
    alarms = sum(bool(change_points(noisy(np.zeros(20), seed))) for seed in range(100))

    assert alarms <= 12  # 5 of 100, and 3 standard errors


def test_more_metrics_ask_for_more() -> None:
    values = noisy(steps((5, 0.0), (5, 0.2)))  # at best 2 of the 252 orders are as far apart

    assert change_points(values)
    assert change_points(values, metrics=20) == []


def test_unknown_runs_are_passed_over_and_indices_stay_those_of_the_history() -> None:
    values = noisy(steps((24, 0.0), (16, 0.3)))
    values[[3, 24]] = math.nan

    assert [at for at, _ in change_points(values)] == [25]


def test_runs_whose_percentile_lies_among_the_failures_are_a_change_too() -> None:
    values = noisy(np.zeros(30))
    values[20:] = math.inf

    assert [at for at, _ in change_points(values)] == [20]


@pytest.mark.parametrize(
    "values", [[], [0.1], [0.1] * 7, [0.1] * 40, [0.0] * 20, [math.nan] * 20, [math.inf] * 20, [0.1, math.inf] * 10]
)
def test_short_equal_and_unknown_histories_have_no_changes(values: list[float]) -> None:
    assert change_points(np.array(values)) == []
    assert drifts(np.array(values)) == []


def test_the_same_history_gives_the_same_p() -> None:
    values = noisy(steps((12, 0.0), (6, 0.1)))

    assert change_points(values) == change_points(values)
