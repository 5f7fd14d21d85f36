"""Two stored runs in words: what differs between these two, and what that cannot say."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.analysis.comparing.mover import tells
from harness.analysis.comparing.tail_delta import TailDelta
from harness.comparison import MetricChange, StageChange
from harness.estimates import Estimate
from harness.model import TRANSFER
from harness.units import format_count, format_duration, format_share

RUN_DEVIATION = 0.03
"""Standard deviation of the logarithm of a run's latency between runs of the same thing, on a quiet machine."""
RUN_TO_RUN = math.exp(1.96 * math.sqrt(2.0) * RUN_DEVIATION) - 1.0
"""What two such runs differ by in one of 20 comparisons."""
CAVEAT = (
    "One run a side knows the noise of requests, not of runs: two runs of the same thing differ by up to about "
    f"{RUN_TO_RUN * 100:.0f}% on a quiet machine, near saturation by more; `harness ab` tells that apart."
)
DURATIONS = ("p50", "p95", "p99", "mean")
WAITING = ("backlog", "queue_est", "queue")
"""A request is here because others are served: its length follows from their work."""
LITTLE = 0.02
"""Of the mean latency: a stage that changed by less is in the table, and not worth a sentence."""


# --- one metric --------------------------------------------------------------------------------------------


def metric_reason(metric: str, change: Estimate, a: Estimate, b: Estimate) -> str:
    """What the ratio (above 1 is worse) says of B: `slower by 3.1% to 9.2%`, `between 1.2% faster and 4.0% slower`."""
    if metric == "error_rate":
        return _failures(change, a, b)
    if metric == "throughput":
        return _throughput(change, a, b)
    if change.value is None:
        return change.refusal or "not known"
    return _told(change, "slower", "faster")


def _told(change: Estimate, worse: str, better: str) -> str:
    if change.value is None:
        return change.refusal or "not known"
    if change.low is None and change.high is None:
        word = "no change" if change.value == 1.0 else worse if change.value > 1.0 else better
        return f"{word} by {_by(change.value)}, with too few independent requests for an interval"
    if change.low == change.high == 1.0:
        return "the same"
    if tells(change, 1.0) > 0:
        return f"{worse} by {_span(change.low, change.high)}"
    if tells(change, 1.0) < 0:
        return f"{better} by {_span(change.high, change.low)}"
    low = "any amount" if change.low is None else _by(change.low)
    high = "any amount" if change.high is None else _by(change.high)
    return f"between {low} {better} and {high} {worse}"


def _throughput(change: Estimate, a: Estimate, b: Estimate) -> str:
    """The ratio is A / B; people ask what became of the answers."""
    if a.value == 0.0 or b.value == 0.0:
        return "no answer in either" if a.value == b.value else f"no answer in {'A' if a.value == 0.0 else 'B'}"
    turned = [None if x is None or x <= 0.0 else 1.0 / x for x in (change.value, change.high, change.low)]
    again = Estimate(turned[0], turned[1], turned[2], change.n, change.confidence, change.refusal)
    return _told(again, "more answers", "fewer answers")


def _failures(change: Estimate, a: Estimate, b: Estimate) -> str:
    if a.value is None or b.value is None:
        return change.refusal or "not known"
    if a.value == 0.0 and b.value == 0.0:
        return f"no request failed; up to {format_share(a.high)} may in A, {format_share(b.high)} in B"
    counts = " against ".join(f"{round((e.value or 0.0) * e.n):,} of {e.n:,} ({_shares(e)})" for e in (b, a))
    return f"{counts} in A"


def _shares(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return format_share(found.value)
    return f"{format_share(found.low)} to {format_share(found.high)}"


def _span(near: float | None, far: float | None) -> str:
    """`3.1% to 9.2%`, `at least 3.1%` where the far end is open."""
    if near is None:
        return "an unknown amount"
    if far is None:
        return f"at least {_by(near)}"
    return _by(near) if _by(near) == _by(far) else f"{_by(near)} to {_by(far)}"


def _by(ratio: float) -> str:
    """How far from 1, without a sign: of 3 and more the factor itself."""
    if ratio >= 4.0:
        return f"{ratio:.3g} times"
    off = abs(ratio - 1.0) * 100.0
    return f"{off:.0f}%" if off >= 9.95 else f"{off:.1f}%"


# --- sentences ---------------------------------------------------------------------------------------------


def sentences(
    metrics: Sequence[MetricChange],
    stages: Sequence[StageChange],
    models: Sequence[StageChange],
    tail: TailDelta | str | None,
    silences: Sequence[tuple[str, str]],
) -> tuple[str, ...]:
    """The comparison in words. `silences` are (side, why nothing may be said about its stages);
    `tail` says why, where the p95 cannot be split.
    """
    found = [
        *_whole(metrics),
        *_failed(metrics),
        *_stage_sentences(stages),
        *_model(stages, models),
        *_tail(tail, metrics),
    ]
    if not stages and silences:
        found.append("Nothing is said about stages: " + "; ".join(f"of {name}, {why}" for name, why in silences) + ".")
    return tuple(found)


def same_draw(seed: int) -> str:
    """Said as a plus."""
    return (
        f"Both runs sent the same requests at the same instants (seed {seed}): the luck of the draw is the same on "
        "both sides, so the intervals are rather too wide than too narrow."
    )


def _whole(metrics: Sequence[MetricChange]) -> list[str]:
    """Slower, faster, not told apart: the latency metrics by what their intervals say."""
    known = [m for m in metrics if m.metric in DURATIONS and m.ratio.value is not None]
    if not known:
        return [f"The latencies of these two runs cannot be compared ({_why_not(metrics)})."]
    told = []
    for sign, word in ((1, "slower"), (-1, "faster")):
        those = [m for m in known if tells(m.ratio, 1.0) == sign]
        if those:
            amounts = ", ".join(f"{m.metric} {m.reason.removeprefix(f'{word} ')}" for m in those)
            told.append(f"In these two runs B is {word} than A: {amounts}.")
    alike = [m for m in known if tells(m.ratio, 1.0) == 0]
    if alike:
        what = "; ".join(f"{m.metric} is {m.reason}" if m.reason.startswith("between") else f"{m.metric}: {m.reason}"
                         for m in alike)  # fmt: skip
        lead = "Not told apart by these requests: " if told else "These requests do not tell B from A: "
        told.append(f"{lead}{what}.")
    return told


def _why_not(metrics: Sequence[MetricChange]) -> str:
    return next((f"{m.metric} of {m.reason}" for m in metrics if m.metric in DURATIONS), "nothing was measured")


def _failed(metrics: Sequence[MetricChange]) -> list[str]:
    """Failures, where there are any, and answers that became fewer or more."""
    found = []
    for metric in metrics:
        if metric.metric == "error_rate" and (metric.a or metric.b):
            found.append(f"Failed in B: {metric.reason}.")
        if metric.metric == "throughput" and tells(metric.ratio, 1.0):
            found.append(f"B gave {metric.reason} per second.")
    return found


def _stage_sentences(stages: Sequence[StageChange]) -> list[str]:
    """The stages that work and changed, the largest change first; then those that wait."""
    if not stages:
        return []
    whole = stages[-1]
    moved = [s for s in stages[:-1] if s.stage not in TRANSFER and _is_worth_a_word(s, whole)]
    working = sorted((s for s in moved if s.works), key=lambda s: -abs(s.change.value or 0.0))
    waiting = [s for s in moved if not s.works]
    found = []
    if working:
        first, *others = working
        then = f"; {', '.join(f'{s.stage} {signed(s.change.value)}' for s in others[:2])}" if others else ""
        found.append(f"{_takes(first)}{_of_mean(first, whole.change)}{then}.")
    found += [_waiting(s, bool(working)) for s in waiting]
    if not found:
        found.append("No stage is told apart by these requests.")
    return found


def _is_worth_a_word(change: StageChange, whole: StageChange) -> bool:
    least = LITTLE * max(whole.a_s or 0.0, whole.b_s or 0.0)
    return tells(change.change) != 0 and abs(change.change.value or 0.0) >= least


def _waiting(change: StageChange, work_changed: bool) -> str:
    """A wait is a consequence; of what, is known only if some work changed, too."""
    amount = format_duration(abs(change.change.value or 0.0))
    word = "longer" if (change.change.value or 0.0) > 0 else "less"
    told = f"Requests wait {amount} {word} in {change.stage} ({_interval(change.change)})"
    if work_changed:
        return f"{told}: waiting for others is a consequence of their work and of the load."
    return (
        f"{told}, and no stage that works is known to have changed: waiting alone comes from the load, from another "
        "number of workers, or from chance."
    )


def _takes(change: StageChange) -> str:
    word = "longer" if (change.change.value or 0.0) > 0 else "less"
    amount = format_duration(abs(change.change.value or 0.0))
    stands_on = f"{_interval(change.change)}, n ≥ {format_count(change.change.n)} a side"
    return f"{change.stage} takes {amount} {word} in B ({stands_on})"


def _of_mean(change: StageChange, whole: Estimate) -> str:
    if change.share is None:
        return ""
    return f": {format_share(change.share)} of the {signed(whole.value)} of the mean request with a server half"


def _model(stages: Sequence[StageChange], models: Sequence[StageChange]) -> list[str]:
    """The model that changed most, where inference did."""
    inference = next((s for s in stages if s.stage == "inference"), None)
    direction = tells(inference.change) if inference is not None else 0
    moved = [m for m in models if direction and tells(m.change) == direction]
    if not moved or len(models) < 2:
        return []
    return [f"In the chain of models, {_takes(moved[0])}."]


def _tail(tail: TailDelta | str | None, metrics: Sequence[MetricChange]) -> list[str]:
    """The stage that has most of a p95 that is known to have changed."""
    if isinstance(tail, str):
        return [f"The change of the p95 is not split over stages: {tail}."]
    p95 = next((tells(m.ratio, 1.0) for m in metrics if m.metric == "p95"), 0)
    if tail is None or not p95 or p95 != tells(tail.total):
        return []
    moved = [(stage, change) for stage, change in tail.stages if tells(change) == tells(tail.total)]
    if not moved:
        return []
    stage, change = max(moved, key=lambda each: abs(each[1].value or 0.0))
    waits = " (waiting for others)" if stage in WAITING else ""
    return [
        f"Of the {signed(tail.total.value)} of the p95 of requests with a server half, {stage}{waits} has "
        f"{signed(change.value)} ({_interval(change)}, n ≥ {format_count(change.n)} a side)."
    ]


def signed(seconds: float | None) -> str:
    """`+12.3 ms`, `-4.00 us`."""
    if seconds is None:
        return "?"
    return f"{'-' if seconds < 0 else '+'}{format_duration(abs(seconds))}"


def _interval(change: Estimate) -> str:
    low, high = (None if x is None else signed(x) for x in (change.low, change.high))
    if low is None and high is None:
        return "no interval"
    if high is None:
        return f"at least {low}"
    return f"at most {high}" if low is None else f"{change.confidence:.0%} interval {low} to {high}"
