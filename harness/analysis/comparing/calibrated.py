"""What pairs of runs of the same thing show: how much it varies, and how often a comparison would cry wolf."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.analysis.comparing import family
from harness.analysis.comparing.failures import Failures, share_limit
from harness.analysis.comparing.paired import ERROR_RATE, TURNED, Rule, Values, alpha_at, metric_changes, overall
from harness.analysis.comparing.spread import LEAST_PAIRS, detectable, log_ratios
from harness.analysis.statistics import student
from harness.comparison import Change, Noise
from harness.estimates import Estimate

GATING = ("p50", "p95", ERROR_RATE)
"""What gates unless told otherwise."""
REPLAYS = 1_000


def noise(values: Values, rule: Rule, gating: Sequence[str] = GATING) -> tuple[Noise, ...]:
    """How much each metric varies between two runs of the same thing, from A/A pairs.

    `detectable` is at each look's own level, shared out as over the gating metrics.
    """
    timed = [weight for metric, weight in family.weights(gating, ERROR_RATE).items() if metric != ERROR_RATE]
    part = min(timed, default=1.0)
    levels = [(pairs, alpha_at(rule, look) * part) for look, pairs in enumerate(rule.looks)]
    return tuple(_noise(metric, both, levels, rule) for metric, both in values.items() if metric != ERROR_RATE)


def _noise(metric: str, both: NDArray[np.float64], levels: Sequence[tuple[int, float]], rule: Rule) -> Noise:
    unit = TURNED.get(metric, "s")
    pairs = np.asarray(both, np.float64).reshape(-1, 2)
    d = log_ratios(pairs[:, 0], pairs[:, 1])
    usable = np.isfinite(d) & (pairs > 0.0).all(axis=1)
    d, kept = d[usable], pairs[usable]
    value = float(np.exp(np.log(kept).mean())) if len(kept) else None
    n = len(d)
    if n < LEAST_PAIRS:
        nothing = Estimate(None, None, None, n, refusal=f"needs {LEAST_PAIRS} pairs, has {n}")
        return Noise(metric, unit, value, nothing, ())
    deviation = float(d.std(ddof=1))
    low, high = (deviation * math.sqrt((n - 1) / student.chi_square_quantile(p, n - 1)) for p in (0.975, 0.025))
    finds = tuple((count, detectable(deviation, count, level, rule.allowed)) for count, level in levels)
    return Noise(metric, unit, value, Estimate(deviation, low, high, n), finds)


def false_alarms(
    values: Values, failures: Failures, rule: Rule, gating: Sequence[str], seed: int, replays: int = REPLAYS
) -> Estimate:
    """The share of whole comparisons that find B worse when the sides of A/A pairs are dealt anew, with n = pairs.

    Each replay takes pairs at random (none twice while there are enough of them), turns each round with probability a
    half, and looks as a comparison does. The interval is that of the replays; what other pairs of this machine
    would have shown, it cannot know.
    """
    pairs = len(failures.n_a)
    if pairs < LEAST_PAIRS:
        return Estimate(None, None, None, pairs, refusal=f"needs {LEAST_PAIRS} pairs, has {pairs}")
    rng = np.random.default_rng(seed)
    alarms = sum(_cries_wolf(values, failures, rule, gating, rng) for _ in range(replays))
    low, high = (share_limit(alarms, replays, 0.025, upper=upper) for upper in (False, True))
    return Estimate(alarms / replays, low, high, pairs)


def _cries_wolf(
    values: Values, failures: Failures, rule: Rule, gating: Sequence[str], rng: np.random.Generator
) -> bool:
    pairs, most = len(failures.n_a), rule.looks[-1]
    taken = rng.permutation(pairs)[:most] if pairs >= most else rng.integers(0, pairs, most)
    turned = rng.integers(0, 2, most).astype(bool)
    for look, count in enumerate(rule.looks):
        chosen, turn = taken[:count], turned[:count]
        dealt = {metric: _dealt(values[metric][chosen], turn) for metric in values if metric in gating}
        change = overall(metric_changes(dealt, _dealt_failures(failures, chosen, turn), rule, look, gating))
        if change in (Change.WORSE, Change.WITHIN):
            return change is Change.WORSE
    return False


def _dealt(both: NDArray[np.float64], turn: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(turn[:, None], both[:, ::-1], both)


def _dealt_failures(failures: Failures, chosen: NDArray[np.int64], turn: NDArray[np.bool_]) -> Failures:
    failed = np.stack((failures.failed_a, failures.failed_b), axis=1)[chosen]
    n = np.stack((failures.n_a, failures.n_b), axis=1)[chosen]
    failed, n = (np.where(turn[:, None], both[:, ::-1], both) for both in (failed, n))
    return Failures(failed[:, 0], n[:, 0], failed[:, 1], n[:, 1])
