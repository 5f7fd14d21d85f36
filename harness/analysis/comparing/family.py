"""Many looks and several metrics, one error: how the probability of a false alarm is shared out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FIRST_LOOK = 0.4
"""The first look has this share of the error, the others the rest in equal parts: most slow-downs show at once."""
OF_FAILURES = 0.1
"""The error rate has this share of each look's error, the timed metrics the rest: failures are few or plain, and
every bit taken from the timed metrics costs power."""


@dataclass(frozen=True, slots=True)
class Tested:
    """One member of the family: the level it was tested at in the end, and whether its hypothesis fell."""

    level: float
    rejected: bool


def shares(looks: int) -> tuple[float, ...]:
    """What part of the error each look has; they sum to 1."""
    if looks <= 1:
        return (1.0,)
    rest = (1.0 - FIRST_LOOK) / (looks - 1)
    return (FIRST_LOOK, *[rest] * (looks - 1))


def weights(metrics: Sequence[str], failures: str = "error_rate") -> dict[str, float]:
    """What part of a look's error each gating metric has; they sum to 1."""
    timed = [metric for metric in metrics if metric != failures]
    if failures not in metrics:
        return {metric: 1.0 / len(timed) for metric in timed}
    if not timed:
        return {failures: 1.0}
    return {failures: OF_FAILURES} | {metric: (1.0 - OF_FAILURES) / len(timed) for metric in timed}


def holm(p_values: Mapping[str, float], weight: Mapping[str, float], alpha: float) -> dict[str, Tested]:
    """Which hypotheses fall, with the probability of one false rejection at most `alpha` whatever hangs together.

    Holm's weighted procedure (Scandinavian Journal of Statistics 6, 1979): the smallest p / weight is tested at its
    part of alpha; if it falls, its part goes to those that are left.
    """
    tested: dict[str, Tested] = {}
    left = sorted(p_values, key=lambda metric: (p_values[metric] / weight[metric], metric))
    falls = True
    while left:
        level = alpha * weight[left[0]] / sum(weight[metric] for metric in left)
        falls = falls and p_values[left[0]] <= level
        if not falls:
            together = sum(weight[metric] for metric in left)
            return tested | {metric: Tested(alpha * weight[metric] / together, False) for metric in left}
        tested[left.pop(0)] = Tested(level, True)
    return tested
