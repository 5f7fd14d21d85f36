"""What the pairs of a comparison come to, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.comparing import words
from harness.analysis.comparing.judged import Judged
from harness.analysis.comparing.paired import ERROR_RATE, Rule
from harness.analysis.statistics import student
from harness.comparison import Change, MetricChange, PairFindings, StageChange

WAITS = ("backlog", "queue", "queue_est")
MOST_STAGES = 2
"""Other stages that are said to have changed, beside the one to blame."""
LITTLE = 0.01
"""Of A's mean latency: a stage that changed by less is in the table, and not worth a sentence."""


def sentences(found: Judged, rule: Rule, pairs: int) -> tuple[str, ...]:
    """At most six: what changed, where, what is ruled out, and what such pairs could have seen."""
    gating = [metric for metric in found.metrics if metric.gating]
    said = [_outcome(found, gating, rule, pairs), *_allowed(gating, rule), *_failures(gating)]
    if found.blame is not None:
        said.append(found.blame.sentence)
    said += _other_stages(found)
    seen = [f"{metric.metric} {words.change(metric.detectable)}" for metric in gating if metric.detectable is not None]
    if seen:
        said.append(f"The smallest slow-downs that 4 of 5 comparisons of {pairs} such pairs find: {', '.join(seen)}.")
    return tuple(said)


def _outcome(found: Judged, gating: Sequence[MetricChange], rule: Rule, pairs: int) -> str:
    worse = [metric for metric in gating if metric.change is Change.WORSE]
    if worse:
        return f"B is worse than A: {'; '.join(_worse(metric) for metric in worse)}."
    most = [
        f"{m.metric} {m.reason if m.at_most is None else f'at most {words.change(m.at_most)}'}"
        for m in gating
        if m.metric != ERROR_RATE and m.change is not Change.UNKNOWN
    ]
    limits = f": {', '.join(most)}" if most else ""
    if found.change is Change.WITHIN:
        return f"B is not slower than A by {words.percent(rule.strict_limit)} or more{limits}."
    if found.change is Change.UNKNOWN:
        return f"{pairs} pairs do not tell whether B is slower than A."
    return f"No slow-down beyond {words.percent(rule.allowed)} was found in {pairs} pairs{limits}."


def _worse(metric: MetricChange) -> str:
    if metric.ratio.low is None or metric.ratio.high is None:
        return f"{metric.metric}, {metric.reason}"
    return f"{metric.metric} by {words.changed(metric.ratio)}"


def _allowed(gating: Sequence[MetricChange], rule: Rule) -> list[str]:
    """What is slower all the same: a release after the other may each be so by a little."""
    slower = [m for m in gating if m.change is not Change.WORSE and m.ratio.low is not None and m.ratio.low > 1.0]
    if not slower:
        return []
    shown = ", ".join(f"{metric.metric} by {words.changed(metric.ratio)}" for metric in slower)
    return [f"B is slower than A, though not surely by more than the {words.percent(rule.allowed)} allowed: {shown}."]


def _failures(gating: Sequence[MetricChange]) -> list[str]:
    return [
        f"{metric.reason[:1].upper()}{metric.reason[1:]}."
        for metric in gating
        if metric.metric == ERROR_RATE and metric.change is not Change.WORSE and (metric.a or metric.b)
    ]


def _other_stages(found: Judged) -> list[str]:
    """Stages that changed beyond their interval, other than the one to blame."""
    named = "" if found.blame is None else found.blame.sentence
    least = LITTLE * sum(stage.a_s or 0.0 for stage in found.stages)
    others = [stage for stage in found.stages if found.blame is None or stage.stage != found.blame.stage]
    clear = [stage for stage in others if _clear(stage, len(found.stages), least)]
    clear = sorted(clear, key=lambda stage: -abs(stage.change.value or 0.0))
    parts = [f"{stage.stage} {words.more(stage.change.value or 0.0)}" for stage in clear]
    parts = [part for part in parts if part not in named][:MOST_STAGES]
    return [f"{'Also changed' if named else 'What changed in the mean'}: {', '.join(parts)}."] if parts else []


def _clear(stage: StageChange, of: int, least_s: float) -> bool:
    """Whether it changed beyond an interval that holds for so many stages together (Bonferroni): where nothing changed,
    one of eight intervals of 95 % misses in a third of all comparisons.
    """
    change = stage.change
    if change.value is None or change.low is None or abs(change.value) < least_s:
        return False
    tail = (1.0 - change.confidence) / 2.0
    wider = student.quantile(1.0 - tail / of, change.n - 1.0) / student.quantile(1.0 - tail, change.n - 1.0)
    return change.value != 0.0 and abs(change.value) > wider * (change.value - change.low)


def waiting_share(pairs: Sequence[PairFindings]) -> float | None:
    """How much of A's mean latency is waiting for others, 0..1; None when its stages are not known."""
    waits = total = 0.0
    for pair in pairs:
        waits += sum(mean for stage, mean in pair.a.stages if stage in WAITS)
        total += sum(mean for _, mean in pair.a.stages)
    return waits / total if total > 0 else None
