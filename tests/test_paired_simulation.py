"""The whole procedure on a simulated queue: how often it cries wolf, and how often it stays silent.

The bench has the full number of repeats; the margins here are those of the binomial at what they show.
"""

from __future__ import annotations

import pytest

from harness.comparison import Change
from tests.simulated_pairs import Bench, compare_often, single_look

REPEATS = 200


def test_nothing_changed_and_hardly_a_comparison_fails() -> None:
    found = compare_often(Bench(), REPEATS, seed=11)

    assert found.share(Change.WORSE) <= 0.01
    assert found.share(Change.WITHIN) >= 0.9


def test_ten_percent_more_service_time_are_mostly_found() -> None:
    found = compare_often(Bench(slower=1.10), REPEATS, seed=12)

    assert found.share(Change.WORSE) >= 0.86  # 94 % in the bench
    assert found.share(Change.WITHIN) == 0.0


def test_fifteen_percent_more_service_time_are_found() -> None:
    assert compare_often(Bench(slower=1.15), REPEATS, seed=13).share(Change.WORSE) >= 0.985


def test_service_times_that_a_pair_does_not_share_cost_power_but_raise_no_alarm() -> None:
    assert compare_often(Bench(jitter=None), REPEATS, seed=14).share(Change.WORSE) <= 0.015
    assert 0.65 <= compare_often(Bench(slower=1.10, jitter=None), REPEATS, seed=15).share(Change.WORSE) <= 0.9


def test_a_drift_that_both_sides_of_a_pair_share_changes_nothing() -> None:
    assert compare_often(Bench(drift=0.10), REPEATS, seed=16).share(Change.WORSE) <= 0.015
    assert compare_often(Bench(slower=1.10, drift=0.10), REPEATS, seed=17).share(Change.WORSE) >= 0.84


@pytest.mark.parametrize("metric", ["p50", "p95"])
def test_with_nothing_allowed_one_look_fails_as_often_as_its_level_says(metric: str) -> None:
    found = single_look(Bench(), 500, seed=18, metric=metric, allowed=0.0, alpha=0.05)

    assert 0.02 <= found <= 0.08  # 5 % of 500: 3 standard errors


@pytest.mark.parametrize("restless", [0.0, 0.7])
def test_runs_that_fail_at_random_raise_no_alarm(restless: float) -> None:
    found = compare_often(Bench(failing=(0.02, 0.02), restless=restless), 100, seed=19)

    assert found.share(Change.WORSE) <= 0.03


def test_a_side_that_fails_more_is_found() -> None:
    assert compare_often(Bench(failing=(0.0, 0.02)), REPEATS, seed=20).share(Change.WORSE) >= 0.99
