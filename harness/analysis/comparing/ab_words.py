"""What the pairs of a comparison come to, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.comparing import words
from harness.analysis.comparing.judged import Judged
from harness.analysis.comparing.paired import Rule
from harness.comparison import Change, MetricChange, PairFindings, StageChange

WAITS = ("backlog", "queue", "queue_est")
MOST_STAGES = 2
"""Other stages that are said to have changed, beside the one to blame."""


def sentences(found: Judged, rule: Rule, pairs: int) -> tuple[str, ...]:
    """At most five: what changed, where, what is ruled out, and what such pairs could have seen."""
    gating = [metric for metric in found.metrics if metric.gating]
    said = [_outcome(found, gating, rule, pairs)]
    if found.blame is not None:
        said.append(found.blame.sentence)
    said += _other_stages(found)
    seen = [f"{metric.metric} {words.change(metric.detectable)}" for metric in gating if metric.detectable is not None]
    if seen:
        said.append(f"What {pairs} such pairs find in 4 of 5 comparisons on this machine: {' and '.join(seen)}.")
    return tuple(said)


def _outcome(found: Judged, gating: Sequence[MetricChange], rule: Rule, pairs: int) -> str:
    worse = [metric for metric in gating if metric.change is Change.WORSE]
    if worse:
        return f"B is worse than A: {'; '.join(_worse(metric) for metric in worse)}."
    most = [
        f"{metric.metric} at most {words.change(metric.at_most)}" for metric in gating if metric.at_most is not None
    ]
    limits = f": {', '.join(most)}" if most else ""
    if found.change is Change.WITHIN:
        return f"B is not slower than A by {words.percent(rule.strict_limit)} or more{limits}."
    if found.change is Change.UNKNOWN:
        return f"{pairs} pairs do not tell whether B is slower than A."
    return f"No slow-down beyond {words.percent(rule.allowed)} was found in {pairs} pairs{limits}."


def _worse(metric: MetricChange) -> str:
    if metric.ratio.value is None or metric.ratio.low is None or metric.ratio.high is None:
        return f"{metric.metric}, {metric.reason}"
    interval = f"{words.change(metric.ratio.low)} to {words.change(metric.ratio.high)}"
    return f"{metric.metric} {words.change(metric.ratio.value)} ({interval})"


def _other_stages(found: Judged) -> list[str]:
    """Stages that changed beyond their interval, other than the one to blame."""
    named = found.blame.stage if found.blame is not None else None
    clear = [stage for stage in found.stages if stage.stage != named and _clear(stage)]
    clear = sorted(clear, key=lambda stage: -abs(stage.change.value or 0.0))[:MOST_STAGES]
    if not clear:
        return []
    parts = [f"{stage.stage} {words.more(stage.change.value or 0.0)}" for stage in clear]
    return [f"{'Also changed' if named else 'What changed in the mean'}: {', '.join(parts)}."]


def _clear(stage: StageChange) -> bool:
    low, high = stage.change.low, stage.change.high
    return low is not None and high is not None and (low > 0.0 or high < 0.0)


def waiting_share(pairs: Sequence[PairFindings]) -> float | None:
    """How much of A's mean latency is waiting for others, 0..1; None when its stages are not known."""
    waits = total = 0.0
    for pair in pairs:
        waits += sum(mean for stage, mean in pair.a.stages if stage in WAITS)
        total += sum(mean for _, mean in pair.a.stages)
    return waits / total if total > 0 else None
