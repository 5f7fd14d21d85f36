"""Student's t and the chi-square at few degrees of freedom, against printed tables."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.analysis.statistics import student


@pytest.mark.parametrize(
    ("probability", "df", "t"),
    [(0.975, 1, 12.706), (0.95, 2, 2.920), (0.99, 4, 3.747), (0.975, 4, 2.776), (0.995, 8, 3.355), (0.95, 30, 1.697)],
)
def test_quantiles_are_those_of_the_table(probability: float, df: int, t: float) -> None:
    assert student.quantile(probability, df) == pytest.approx(t, abs=6e-4)
    assert student.quantile(1 - probability, df) == pytest.approx(-t, abs=6e-4)
    assert student.beyond(t, df) == pytest.approx(1 - probability, rel=1e-3)


def test_one_degree_of_freedom_is_the_cauchy_distribution() -> None:
    assert student.quantile(0.999, 1) == pytest.approx(math.tan(math.pi * 0.499))


def test_nothing_lies_beyond_infinity() -> None:
    assert (student.beyond(math.inf, 4), student.beyond(-math.inf, 4), student.beyond(0.0, 4)) == (0.0, 1.0, 0.5)


@pytest.mark.parametrize(("probability", "df", "x"), [(0.95, 4, 9.488), (0.025, 9, 2.700), (0.975, 1, 5.024)])
def test_chi_square_quantiles_are_those_of_the_table(probability: float, df: int, x: float) -> None:
    assert student.chi_square_quantile(probability, df) == pytest.approx(x, abs=6e-4)


def test_a_mean_so_far_off_is_found_in_eight_of_ten_draws() -> None:
    shift = student.shift_for_power(0.05, 3)
    drawn = np.random.default_rng(1).normal(shift / 2.0, 1.0, (20_000, 4))  # 4 draws: the standard error is a half
    t = drawn.mean(axis=1) / (drawn.std(axis=1, ddof=1) / 2.0)

    assert np.mean(t > 2.3534) == pytest.approx(0.8, abs=0.01)  # t of 3 df at 0.95
