"""What A/A pairs show of a machine's noise, and of the alarms it would raise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.analysis.comparing.calibrated import GATING, false_alarms, noise
from harness.analysis.comparing.paired import Failures, Rule
from harness.estimates import Estimate


def pairs_of(logs: list[float]) -> np.ndarray:
    return np.array([[0.1, 0.1 * math.exp(each)] for each in logs]).reshape(-1, 2)


def none_failed(pairs: int) -> Failures:
    nothing, n = np.zeros(pairs, np.int64), np.full(pairs, 600)
    return Failures(nothing, n, nothing, n)


def alarms(logs: list[float], seed: int = 1, replays: int = 300) -> Estimate:
    both = pairs_of(logs)
    return false_alarms({"p50": both, "p95": both}, none_failed(len(logs)), Rule(), GATING, seed, replays)


def test_the_noise_is_the_deviation_between_pairs_with_its_interval() -> None:
    found = noise({"p50": pairs_of([-0.02, -0.01, 0.0, 0.01, 0.02])}, Rule())[0]

    assert found.deviation.value == pytest.approx(math.sqrt(0.001 / 4))
    # chi-square of 4 df: 0.4844 and 11.143
    assert found.deviation.low == pytest.approx(math.sqrt(0.001 / 11.143), rel=1e-3)
    assert found.deviation.high == pytest.approx(math.sqrt(0.001 / 0.4844), rel=1e-3)
    assert found.value == pytest.approx(0.1)


def test_more_pairs_find_smaller_changes() -> None:
    found = noise({"p50": pairs_of([-0.02, -0.01, 0.0, 0.01, 0.02])}, Rule())[0]

    pairs, ratios = zip(*found.detectable, strict=True)
    assert pairs == (5, 7, 9)
    assert ratios[0] > ratios[1] > ratios[2] > 1.05


def test_too_few_or_unknown_pairs_have_no_noise() -> None:
    found = noise({"p50": pairs_of([0.1, 0.2]), "p95": np.full((5, 2), math.inf)}, Rule())

    assert [each.deviation.refusal for each in found] == ["needs 3 pairs, has 2", "needs 3 pairs, has 0"]
    assert found[1].value is None


def test_pairs_that_hardly_differ_raise_no_alarm() -> None:
    found = alarms([0.02, -0.01, 0.01, -0.03, 0.0, 0.02, -0.02, 0.01, -0.01, 0.03])

    assert (found.value, found.n) == (0.0, 10)
    assert found.high == pytest.approx(0.01222, abs=1e-4)  # none of 300: 1 - 0.025 ** (1 / 300)


def test_pairs_that_all_differ_by_as_much_raise_the_alarm_that_their_signs_give() -> None:
    # All five on one side: 1 of 32. Later looks find some more; no order of signs can give less.
    found = alarms([0.4] * 10)

    assert found.value is not None
    assert 0.01 < found.value < 0.09


def test_the_same_seed_gives_the_same_alarms() -> None:
    assert alarms([0.4] * 6, seed=3, replays=50) == alarms([0.4] * 6, seed=3, replays=50)


def test_two_pairs_say_nothing_of_alarms() -> None:
    assert alarms([0.1, 0.2]).refusal == "needs 3 pairs, has 2"
