"""Counted pairs -> what they show: each metric, each stage, and whether that decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.analysis.comparing.changed_stages import blame, stage_changes
from harness.analysis.comparing.paired import ERROR_RATE, Failures, Rule, is_decided, metric_changes, overall
from harness.comparison import Blame, Change, MetricChange, PairFindings, SideRun, StageChange

Floats = NDArray[np.float64]
QUANTILES = ("p50", "p95", "p99")
SHOWN = (*QUANTILES, "mean", "throughput")


@dataclass(frozen=True, slots=True)
class Judged:
    """What the pairs show. `decided`: more pairs would not be measured."""

    metrics: tuple[MetricChange, ...]
    stages: tuple[StageChange, ...]
    blame: Blame | None
    change: Change
    decided: bool


def judged(pairs: Sequence[PairFindings], rule: Rule, look: int, gating: Sequence[str]) -> Judged:
    """Judge counted pairs at one look."""
    metrics = metric_changes(values_of(pairs), failures_of(pairs), rule, look, gating)
    mean_a, mean_b = _sides(pairs, lambda run: dict(run.values).get("mean")).T
    stages = stage_changes(*_means(pairs, lambda run: run.stages), mean_a, mean_b, rule.confidence)
    models = stage_changes(*_means(pairs, lambda run: run.models), mean_a, mean_b, rule.confidence)
    change = overall(metrics)
    slower = any(m.gating and m.change is Change.WORSE and m.metric != ERROR_RATE for m in metrics)
    blamed = blame(stages, models) if slower else None  # requests that fail are no stage's doing
    return Judged(metrics, stages, blamed, change, is_decided(metrics))


def unjudged(found: Judged, why: str) -> Judged:
    """The same figures without an answer: of pairs that are too few to be judged, or cannot be."""
    metrics = tuple(replace(metric, change=Change.UNKNOWN, reason=why) for metric in found.metrics)
    return Judged(metrics, found.stages, None, Change.UNKNOWN, decided=False)


def values_of(pairs: Sequence[PairFindings]) -> Mapping[str, Floats]:
    """Metric -> (pairs, 2): A and B of each pair; NaN where a run does not know it."""
    return {metric: _sides(pairs, lambda run, m=metric: _value(run, m)) for metric in SHOWN}  # type: ignore[misc]


def _value(run: SideRun, metric: str) -> float | None:
    """JSON has no infinity: a quantile that lies among the failed requests comes back from a file as not known."""
    value = dict(run.values).get(metric)
    return math.inf if value is None and metric in QUANTILES and run.failed else value


def failures_of(pairs: Sequence[PairFindings]) -> Failures:
    """Failed and due requests of each run."""
    counts = np.array([[p.a.failed, p.a.n, p.b.failed, p.b.n] for p in pairs], np.int64).reshape(-1, 4)
    return Failures(*counts.T)


def _means(
    pairs: Sequence[PairFindings], of: Callable[[SideRun], tuple[tuple[str, float], ...]]
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Name -> its mean in each run of A, and likewise of B; in the order in which the names are met."""
    names = dict.fromkeys(name for pair in pairs for run in (pair.a, pair.b) for name, _ in of(run))
    both = {name: _sides(pairs, lambda run, n=name: dict(of(run)).get(n)) for name in names}  # type: ignore[misc]
    return {name: each[:, 0] for name, each in both.items()}, {name: each[:, 1] for name, each in both.items()}


def _sides(pairs: Sequence[PairFindings], of: Callable[[SideRun], float | None]) -> Floats:
    values = [[np.nan if (value := of(run)) is None else value for run in (pair.a, pair.b)] for pair in pairs]
    return np.array(values, np.float64).reshape(-1, 2)
