"""Many seeded runs of data whose quantiles are known, and how often an interval holds the truth.

The queues are Lindley's recursion for all requests of a run at once: the time a request waits is the height of a random
walk over its lowest point so far.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from harness.analysis.statistics.quantiles import quantile
from harness.estimates import Estimate
from tests.simulated_queues import lognormal, mm1_quantile

Floats = NDArray[np.float64]
RUNS = 300
LEVELS = (0.50, 0.90, 0.95, 0.99)
MEAN_S = 0.010
CV = 0.5
SETTLE = 5_000


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """`runs` (RUNS, n), seconds in order of arrival; the true quantiles and mean they are drawn from."""

    name: str
    runs: Floats
    quantiles: Mapping[float, float]
    mean: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of `runs` intervals `shown` were given, `held` of them held the truth; mean width as a share of the truth."""

    runs: int
    shown: int
    held: int
    width: float

    @property
    def of_shown(self) -> float:
        return self.held / self.shown if self.shown else math.nan

    @property
    def untrue(self) -> float:
        """Share of all runs that claim what is not so: a refused interval claims nothing."""
        return (self.shown - self.held) / self.runs


def covered(estimates: Iterable[Estimate], truth: float) -> Coverage:
    found = list(estimates)
    given = [(e.low, e.high) for e in found if e.low is not None and e.high is not None]
    held = sum(low <= truth <= high for low, high in given)
    widths = [(high - low) / truth for low, high in given]
    return Coverage(len(found), len(given), held, sum(widths) / len(widths) if widths else math.nan)


def independent_lognormal(n: int, seed: int, runs: int = RUNS) -> Case:
    drawn = lognormal(np.random.default_rng(seed), runs * n, MEAN_S, CV).reshape(runs, n)
    sigma2 = math.log1p(CV * CV)
    truth = {p: MEAN_S * math.exp(math.sqrt(sigma2) * NormalDist().inv_cdf(p) - sigma2 / 2) for p in LEVELS}
    return Case(f"independent, lognormal, {n:,}", drawn, truth, MEAN_S)


def independent_exponential(n: int, seed: int, runs: int = RUNS) -> Case:
    drawn = np.random.default_rng(seed).exponential(MEAN_S, (runs, n))
    return Case(f"independent, exponential, {n:,}", drawn, {p: -math.log1p(-p) * MEAN_S for p in LEVELS}, MEAN_S)


def mm1(n: int, load: float, seed: int, runs: int = RUNS) -> Case:
    random = np.random.default_rng(seed)
    drawn = np.stack([_times(random, n, load, random.exponential(MEAN_S, n + SETTLE)) for _ in range(runs)])
    truth = {p: mm1_quantile(p, load, MEAN_S) for p in LEVELS}
    return Case(f"M/M/1, load {load}, {n:,}", drawn, truth, MEAN_S / (1.0 - load))


def mg1(n: int, load: float, seed: int, runs: int = RUNS, long_run: int = 4_000_000) -> Case:
    """Lognormal service; the truth is one long run of another seed."""
    long_random = np.random.default_rng(seed + 1_000)
    long = _times(long_random, long_run, load, lognormal(long_random, long_run + SETTLE, MEAN_S, CV))
    ordered = np.sort(long)
    random = np.random.default_rng(seed)
    drawn = np.stack([_times(random, n, load, lognormal(random, n + SETTLE, MEAN_S, CV)) for _ in range(runs)])
    truth = {p: quantile(ordered, p) for p in LEVELS}
    return Case(f"M/G/1, load {load}, {n:,}", drawn, truth, float(long.mean()))


def _times(random: np.random.Generator, n: int, load: float, service_s: Floats) -> Floats:
    """Wait and service of the last n requests of one server; Poisson arrivals, first come first served."""
    between_s = random.exponential(MEAN_S / load, len(service_s))
    walk = np.concatenate(([0.0], np.cumsum(service_s[:-1] - between_s[1:])))
    found: Floats = (walk - np.minimum.accumulate(walk) + service_s)[-n:]
    return found
