"""Where the mean request and the slow ones spent their time, in sentences with the figures they stand on."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.facts import Facts
from harness.analysis.slow.contrast_words import SYMPTOMS
from harness.analysis.slow.tail import LEAST_SLOW
from harness.diagnosis import Sentence, TailFindings, TailShare
from harness.findings import Estimate, StageFindings, WaitFindings
from harness.units import format_duration, format_share

LEAST_SHARE = 0.01
"""A smaller part of the mean is not worth a word."""
STAGE_WORDS = {
    "backlog": "waiting for a free client session",
    "transfer": "transfer (connect, upload, download)",
    "queue_est": "waiting before the service took the request (estimated)",
    "queue": "waiting in the service's queues",
    "preprocess": "preprocessing",
    "inference": "inference",
    "postprocess": "postprocessing",
    "other": "service time that no stage claims",
    "unsplit": "time without a server half",
}
TAKEN_LATE_WORDS = "waiting before the service takes the request (shown as upload)"
"""What `transfer` is when small requests take long to arrive: see doubts.TAKEN_LATE."""


def with_n(estimate: Estimate) -> str:
    if estimate.value is None:
        return f"is not given: {estimate.refusal}"
    unsure = " (worth too few independent ones for an interval)" if estimate.low is None else ""
    return f"{with_interval(estimate)}, n = {estimate.n:,}{unsure}"


def with_interval(estimate: Estimate) -> str:
    text = format_duration(estimate.value)
    if estimate.low is not None and estimate.high is not None:
        text += f" (95% interval {format_duration(estimate.low)} to {format_duration(estimate.high)})"
    return text


def mean(facts: Facts, taken_late: bool) -> Sentence | None:
    whole = [s for s in facts.stages if s.part_of is None and s.share is not None]
    largest = sorted(whole, key=lambda s: -(s.share or 0.0))[:3]
    ranked = [*largest[:1], *(s for s in largest[1:] if (s.share or 0.0) >= LEAST_SHARE)]
    if not ranked:
        return None
    first, *rest = [f"{_words(s.stage, facts.resources, taken_late)} {format_share(s.share)}" for s in ranked]
    others = f", then {' and '.join(rest)}" if rest else ""
    took = format_duration(ranked[0].mean.value)
    told = f"Largest part of the mean request: {first} ({took}{_at_work(facts, ranked[0])}){others}"
    return Sentence(f"{told}; n = {len(facts.rows):,}.", tuple(map(_stage_line, ranked)))


def _at_work(facts: Facts, stage: StageFindings) -> str:
    """Whether the stage works or waits, where its CPU time is known."""
    work = facts.works(stage.stage)
    return f", {format_share(work.busy)} of it at work on a processor" if work is not None else ""


def _stage_line(stage: StageFindings) -> str:
    return f"{stage.stage}: mean {with_n(stage.mean)}"


def _words(stage: str, waits: Sequence[WaitFindings], taken_late: bool) -> str:
    """The stage in words; `queue` with the resource most of it was spent on, if one was."""
    if stage == "transfer" and taken_late:
        return TAKEN_LATE_WORDS
    resource = main_resource(waits) if stage == "queue" else None
    return STAGE_WORDS[stage] + (f" (mostly for {resource})" if resource is not None else "")


def main_resource(waits: Sequence[WaitFindings]) -> str | None:
    """The resource that more than half of all waiting was for, if there is one and it has a name."""
    if not waits or waits[0].mean_per_request_s <= sum(w.mean_per_request_s for w in waits) / 2:
        return None
    return waits[0].resource


def chain(facts: Facts) -> Sentence | None:
    if len(facts.models) < 2:
        return None
    top = facts.models[0]
    each = f"{format_duration(top.mean_call_s)} a call, {top.calls_per_request:.3g} calls a request"
    told = f"In the chain of {len(facts.models)} models, {top.model} costs most: {format_share(top.share)} of the mean"
    return Sentence(f"{told} ({each}).", tuple(f"{m.model}: {m.calls:,} calls" for m in facts.models[:5]))


def tail(facts: Facts, taken_late: bool) -> Sentence:
    if facts.tail is None:
        return Sentence(_no_tail(len(facts.rows)))
    return Sentence(
        tail_text(facts.tail, facts.resources, taken_late), tuple(_share_line(s) for s in facts.tail.shares[:5])
    )


def in_common(facts: Facts) -> Sentence | None:
    """The first thing slow requests have in common that is no mere sign of their waiting."""
    told = [c for c in facts.contrasts if c.attribute not in SYMPTOMS]
    return Sentence(told[0].sentence, tuple(c.sentence for c in told[1:])) if told else None


def tail_text(tail: TailFindings, waits: Sequence[WaitFindings] = (), taken_late: bool = False) -> str:
    """Which stage makes the slow requests slow, or that no single one does."""
    top = tail.shares[0]
    slow = "p99 is" if tail.of.startswith("p99") else "The slowest 5% take"
    gap = f"{slow} {format_duration(tail.gap_s)} {'above the median' if slow == 'p99 is' else 'longer than typical'}"
    interval = f"95% interval {_percent(top.low)} to {_percent(top.high)}, n = {tail.n:,}"
    if tail.clear is not None:
        # More than all of it: the stage grew by more than the latency, because others shrank.
        share = "all" if top.share > 0.995 else _percent(top.share)
        return f"{gap}: {share} of that is {_words(top.stage, waits, taken_late)} ({interval})."
    first = f"{_words(top.stage, waits, taken_late)} comes first, {_percent(top.share)}"
    return f"{gap}; no single stage explains it ({first}; {interval})."


def _share_line(share: TailShare) -> str:
    return f"{share.stage}: {_percent(share.share)} of it ({_percent(share.low)} to {_percent(share.high)})"


def _percent(share: float) -> str:
    return f"{share * 100:.0f}%"


def _no_tail(n: int) -> str:
    need = LEAST_SLOW * 20
    if n >= need:
        return "Slow requests do not differ from typical ones enough to say what makes them slow."
    return f"Too few requests to say what makes the slow ones slow: needs {need}, has {n:,}."
