"""The verdict in words: at most six sentences a client understands, each with the figures it stands on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.analysis.facts import Facts
from harness.analysis.slow.contrast_words import SYMPTOMS
from harness.analysis.slow.tail import LEAST_SLOW
from harness.diagnosis import Cause, Sentence, Steadiness, StepFindings, TailFindings, TailShare, WhatIfFindings
from harness.findings import Counts, Estimate, LatencyFindings, StageFindings, WaitFindings
from harness.units import format_count, format_duration, format_rate, format_share

MOST = 6
LEAST_FOR_NONE = 20
"""Fewer requests with a server half are no ground to say that no cause shows."""
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
_SIGNS = (*SYMPTOMS, "bytes_received")  # an answer carries its timings, and is longer when it took long
TAKEN_LATE_WORDS = "waiting before the service takes the request (shown as upload)"
"""What `transfer` is when small requests take long to arrive: see doubts.TAKEN_LATE."""


@dataclass(frozen=True, slots=True)
class Around:
    """What the facts do not hold: why stages say nothing, if so; the users of a closed loop, such as "16 users";
    whether upload is a wait for the service; the sentence about answers that get worse under load, if they do.
    """

    silence: str | None = None
    users: str | None = None
    taken_late: bool = False
    worse: Sentence | None = None


def write(
    facts: Facts, causes: Sequence[Cause], gains: Sequence[WhatIfFindings], around: Around
) -> tuple[Sentence, ...]:
    """The most important sentences, in the order they are read."""
    said = [(rank, sentence) for rank, sentence in _all(facts, causes, gains, around) if sentence is not None]
    kept = sorted(range(len(said)), key=lambda place: said[place][0])[:MOST]
    return tuple(said[place][1] for place in sorted(kept))


_Ranked = tuple[int, Sentence | None]  # how early it is left out: the highest rank first


def _all(facts: Facts, causes: Sequence[Cause], gains: Sequence[WhatIfFindings], around: Around) -> Iterator[_Ranked]:
    yield 0, _answers(facts.counts)
    if facts.counts.ok:
        yield 1, _latency(facts.latency, facts.steps)
    if around.users is not None:
        yield 6, _closed_loop(around.users)
    yield 3, _unsteady(facts.steps)
    yield 5, around.worse
    if around.silence is not None:
        yield 2, Sentence(f"Nothing is said about stages: {around.silence}.")
        return
    for place, cause in enumerate(causes[:2]):
        yield 2 + 8 * place, Sentence(f"{cause.sentence} Try first: {cause.remedy}.", cause.evidence)
    yield 4, _mean(facts, around.taken_late)
    yield 11, _chain(facts)
    if len(facts.rows):
        yield 7, _tail(facts, around.taken_late)
    yield 9 if causes else 8, _in_common(facts)
    if not causes and len(facts.rows) >= LEAST_FOR_NONE:
        yield 8, _no_cause(facts)
    yield 8, _gain(gains)
    yield 10, _unknown(facts)


# --- what happened -----------------------------------------------------------------------------------------


def _answers(counts: Counts) -> Sentence:
    told = f"{format_count(counts.ok)} of {format_count(counts.scheduled)} requests were answered as expected"
    if counts.scheduled and not counts.ok:
        told = f"No request succeeded, of {format_count(counts.scheduled)}"
    if counts.offered_per_s is not None:
        told += f" ({format_rate(counts.offered_per_s)} offered)"
    if counts.errors:
        name, count = counts.errors[0]
        told += f"; most frequent failure: {name} ({format_count(count)})"
    if counts.censored:
        told += f"; {format_count(counts.censored)} were still in flight at the end"
    others = tuple(f"{name}: {format_count(count)} requests" for name, count in counts.errors[1:5])
    return Sentence(told + ".", others)


def _closed_loop(users: str) -> Sentence:
    return Sentence(
        f"A closed loop: {users} waited for each answer, so a slow service lowered the load and its latency is "
        "understated against an open loop."
    )


def _latency(latency: LatencyFindings, steps: Sequence[StepFindings]) -> Sentence:
    """The mean is of those answered as expected; the percentiles are of all, and say so where that is not the same."""
    if len(steps) == 1 and steps[0].state is Steadiness.UNSTABLE:
        return Sentence("No latency is given: more requests came than were answered.", (steps[0].sentence,))
    told = f"The mean request took {format_duration(latency.mean.value)}"
    others = latency.p50.n - latency.mean.n
    if others > 0:
        told = (
            f"The mean request answered as expected took {format_duration(latency.mean.value)}; counting the "
            f"{format_count(others)} other{'s' if others > 1 else ''} as slowest"
        )
    if latency.p50.value is not None:
        told += f", half {'of all ' if others > 0 else ''}took at most {format_duration(latency.p50.value)}"
    evidence = tuple(f"{name} {_with_n(estimate)}" for name, estimate in _named(latency))
    for name, estimate in (("p99", latency.p99), ("p95", latency.p95)):
        if estimate.value is not None:
            return Sentence(f"{told}, {name} is {_with_interval(estimate)}.", evidence)
    return Sentence(f"{told}{',' if others > 0 else ';'} no p95: {latency.p95.refusal}.", evidence)


def _named(latency: LatencyFindings) -> tuple[tuple[str, Estimate], ...]:
    return (
        ("mean", latency.mean),
        ("p50", latency.p50),
        ("p90", latency.p90),
        ("p95", latency.p95),
        ("p99", latency.p99),
    )


def _with_n(estimate: Estimate) -> str:
    if estimate.value is None:
        return f"is not given: {estimate.refusal}"
    unsure = " (worth too few independent ones for an interval)" if estimate.low is None else ""
    return f"{_with_interval(estimate)}, n = {estimate.n:,}{unsure}"


def _with_interval(estimate: Estimate) -> str:
    text = format_duration(estimate.value)
    if estimate.low is not None and estimate.high is not None:
        text += f" (95% interval {format_duration(estimate.low)} to {format_duration(estimate.high)})"
    return text


_LOUD = (Steadiness.UNSTABLE, Steadiness.DRIFTING, Steadiness.WARMING)


def _unsteady(steps: Sequence[StepFindings]) -> Sentence | None:
    """The worst of what keeps a step from being steady. The sentences of all such steps are the evidence."""
    loud = [step for step in steps if step.state in _LOUD]
    if not loud or (len(steps) == 1 and loud[0].state is Steadiness.UNSTABLE):  # then the latency says it
        return None
    first = min(loud, key=lambda step: (_LOUD.index(step.state), step.step))
    alike = [step for step in loud if step.state is first.state]
    where = "The run" if len(steps) == 1 else f"Load step {', '.join(str(step.step + 1) for step in alike)}"
    consequence = {
        Steadiness.UNSTABLE: "was overloaded: more requests came than were answered, so it has no percentiles",
        Steadiness.DRIFTING: "never settled: its figures are of a service that was still changing",
        Steadiness.WARMING: "began unlike it went on: its first part is in the figures",
    }[first.state]
    return Sentence(f"{where} {consequence}.", tuple(step.sentence for step in loud))


# --- where the time goes -----------------------------------------------------------------------------------


def _mean(facts: Facts, taken_late: bool) -> Sentence | None:
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
    return f"{stage.stage}: mean {_with_n(stage.mean)}"


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


def _chain(facts: Facts) -> Sentence | None:
    if len(facts.models) < 2:
        return None
    top = facts.models[0]
    each = f"{format_duration(top.mean_call_s)} a call, {top.calls_per_request:.3g} calls a request"
    told = f"In the chain of {len(facts.models)} models, {top.model} costs most: {format_share(top.share)} of the mean"
    return Sentence(f"{told} ({each}).", tuple(f"{m.model}: {m.calls:,} calls" for m in facts.models[:5]))


def _tail(facts: Facts, taken_late: bool) -> Sentence:
    if facts.tail is None:
        return Sentence(_no_tail(len(facts.rows)))
    return Sentence(
        tail_text(facts.tail, facts.resources, taken_late), tuple(_share_line(s) for s in facts.tail.shares[:5])
    )


def _in_common(facts: Facts) -> Sentence | None:
    """The first thing slow requests have in common that is no mere sign of their waiting."""
    told = [c for c in facts.contrasts if c.attribute not in _SIGNS]
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


# --- what a fix would give ---------------------------------------------------------------------------------


def _gain(gains: Sequence[WhatIfFindings]) -> Sentence | None:
    """The change that gives most; the others are its evidence. Nothing where the run cannot be replayed."""
    told = [_gained(found) for found in gains if found.now is not None and found.then is not None]
    if not told:
        return None
    waits = gains[0].replayed_wait_s
    fit = f"replayed waits {format_duration(waits[0])} (p50) and {format_duration(waits[1])} (p99)"
    measured = gains[0].measured_wait_s
    fits = f"{fit}, measured {format_duration(measured[0])} and {format_duration(measured[1])}, n = {gains[0].n:,}"
    return Sentence(f"What a fix would give, by a replay of this run: {told[0]}.", (*told[1:], fits))


def _gained(found: WhatIfFindings) -> str:
    now, then = found.now, found.then
    if now is None or then is None:
        return f"{found.change}: no answer"
    if now.p99_s is None or then.p99_s is None:
        return f"{found.change}: mean {format_duration(now.mean_s)} to {format_duration(then.mean_s)}"
    return f"{found.change}: p99 {format_duration(now.p99_s)} to {format_duration(then.p99_s)}"


# --- what is not known -------------------------------------------------------------------------------------


def _no_cause(facts: Facts) -> Sentence:
    return Sentence(f"No known cause of slowness shows in the {len(facts.rows):,} requests that could be split.")


def _unknown(facts: Facts) -> Sentence | None:
    """What nobody could look at, and what it takes."""
    if not len(facts.rows):
        return None
    missing = []
    if facts.vital("harness.event_loop.lag").empty:
        missing.append("how late the service's event loop and how busy its processor was (that comes with its spans)")
    if not facts.work:
        missing.append("which part of a stage is work and which is waiting (its spans carry no CPU time)")
    return Sentence(f"Not known: {'; '.join(missing)}.") if missing else None
