"""Whole comparisons of a queue with itself, or with a slower one: seeded, with the truth known.

One server, first come first served, Poisson arrivals that both sides of a pair share, lognormal service of 10 ms on
average; every run is by its own luck a little faster or slower as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.analysis.comparing.paired import Failures, Rule, is_decided, metric_changes, overall
from harness.comparison import Change
from tests.simulated_queues import lognormal

Floats = NDArray[np.float64]
MEAN_S, CV = 0.010, 0.5
SETTLE = 200
GATING = ("p50", "p95", "error_rate")
RULE = Rule()


@dataclass(frozen=True, slots=True)
class Bench:
    """What is compared: B's service takes `slower` times as long as A's."""

    slower: float = 1.0
    n: int = 600  # requests a run
    load: float = 0.5  # of A
    run_noise: float = 0.03  # how much one run differs from another as a whole
    drift: float = 0.0  # likewise one pair from another, both its sides together
    jitter: float | None = 0.0  # cv of a request's own service time beside the payload's; None: nothing in common
    failing: tuple[float, float] = (0.0, 0.0)  # share of the requests that fail, of A and B
    restless: float = 0.0  # how much that share differs between runs (sd of its logarithm)
    rule: Rule = RULE


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Of `repeats` comparisons: how each ended, and after how many pairs on average."""

    repeats: int
    counts: Counter[Change]
    pairs: float

    def share(self, change: Change) -> float:
        return self.counts[change] / self.repeats


def compare_often(bench: Bench, repeats: int, seed: int) -> Outcomes:
    """The whole procedure, `repeats` times: look, and look again, until it is decided or the pairs are spent."""
    random = np.random.default_rng(seed)
    counts: Counter[Change] = Counter()
    pairs = 0
    for _ in range(repeats):
        change, used = _compare(bench, random)
        counts[change] += 1
        pairs += used
    return Outcomes(repeats, counts, pairs / repeats)


def single_look(bench: Bench, repeats: int, seed: int, metric: str, allowed: float, alpha: float) -> float:
    """How often one look at one metric finds B worse."""
    rule = replace(bench.rule, allowed=allowed, confidence=1.0 - alpha, looks=bench.rule.looks[:1])
    alone = replace(bench, rule=rule)
    random = np.random.default_rng(seed)
    found = 0
    for _ in range(repeats):
        values, failures = pairs_of(alone, rule.looks[0], random)
        found += overall(metric_changes(values, failures, rule, 0, (metric,))) is Change.WORSE
    return found / repeats


def _compare(bench: Bench, random: np.random.Generator) -> tuple[Change, int]:
    looks = bench.rule.looks
    values, failures = pairs_of(bench, looks[-1], random)
    for look, count in enumerate(looks):
        seen = {metric: both[:count] for metric, both in values.items()}
        changes = metric_changes(seen, _first(failures, count), bench.rule, look, GATING)
        if is_decided(changes):
            return overall(changes), count
    return overall(changes), looks[-1]


def pairs_of(bench: Bench, pairs: int, random: np.random.Generator) -> tuple[dict[str, Floats], Failures]:
    """p50 and p95 of so many pairs, and what failed in each run."""
    latency = _latencies(bench, pairs, random)
    failed = _failed(bench, latency.shape, random)
    latency[failed] = np.inf
    ordered = np.sort(latency, axis=2)
    counts = failed.sum(axis=2)
    n = np.full(pairs, bench.n)
    values = {f"p{p}": ordered[:, :, _rank(bench.n, p)] for p in (50, 95)}
    return values, Failures(counts[:, 0], n, counts[:, 1], n)


def _latencies(bench: Bench, pairs: int, random: np.random.Generator) -> Floats:
    """Seconds, shape (pairs, 2, n): Lindley's recursion as the height of a random walk over its lowest point."""
    shape = (pairs, 2, bench.n + SETTLE)
    gaps = random.exponential(MEAN_S / bench.load, (pairs, 1, shape[2]))
    service = _service(bench, shape, random)
    steps = np.concatenate((np.zeros((pairs, 2, 1)), service[:, :, :-1] - gaps[:, :, 1:]), axis=2)
    walk = np.cumsum(steps, axis=2)
    found: Floats = (walk - np.minimum.accumulate(walk, axis=2) + service)[:, :, SETTLE:]
    return found


def _service(bench: Bench, shape: tuple[int, int, int], random: np.random.Generator) -> Floats:
    pairs, _, n = shape
    if bench.jitter is None:
        service = lognormal(random, 2 * pairs * n, MEAN_S, CV).reshape(shape)
    else:
        service = np.repeat(lognormal(random, pairs * n, MEAN_S, CV).reshape(pairs, 1, n), 2, axis=1)
        if bench.jitter:
            service *= lognormal(random, 2 * pairs * n, 1.0, bench.jitter).reshape(shape)
    speed = np.exp(random.normal(0.0, bench.run_noise, (pairs, 2, 1)) + random.normal(0.0, bench.drift, (pairs, 1, 1)))
    scaled: Floats = service * speed * np.array([1.0, bench.slower])[None, :, None]
    return scaled


def _failed(bench: Bench, shape: Sequence[int], random: np.random.Generator) -> NDArray[np.bool_]:
    shares = np.array(bench.failing) * np.exp(random.normal(0.0, bench.restless, (shape[0], 2)))
    drawn: NDArray[np.bool_] = random.random(tuple(shape)) < shares[:, :, None]
    return drawn


def _rank(n: int, percent: int) -> int:
    return -(-n * percent // 100) - 1


def _first(failures: Failures, count: int) -> Failures:
    return Failures(failures.failed_a[:count], failures.n_a[:count], failures.failed_b[:count], failures.n_b[:count])
