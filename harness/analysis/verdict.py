"""The verdict in words: at most six sentences a client understands, each with the figures it stands on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.analysis.facts import Facts
from harness.analysis.where import chain, in_common, mean, tail, with_interval, with_n
from harness.diagnosis import Cause, Sentence, Steadiness, StepFindings, WhatIfFindings
from harness.findings import Counts, Estimate, LatencyFindings
from harness.units import format_count, format_duration, format_rate

MOST = 6
LEAST_FOR_NONE = 20
"""Fewer requests with a server half are no ground to say that no cause shows."""


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
    yield 4, mean(facts, around.taken_late)
    yield 11, chain(facts)
    if len(facts.rows):
        yield 7, tail(facts, around.taken_late)
    yield 9 if causes else 8, in_common(facts)
    if not causes and len(facts.rows) >= LEAST_FOR_NONE:
        yield 8, _no_cause(facts)
    yield 8, _gain(gains)
    yield 10, _unknown(facts)


# --- what happened -----------------------------------------------------------------------------------------


def _answers(counts: Counts) -> Sentence:
    told = f"{format_count(counts.ok)} of {format_count(counts.scheduled)} requests were answered as expected"
    if not counts.scheduled:
        return Sentence(f"Nothing was measured: the run ended after {format_count(counts.warmup)} warm-up requests.")
    if not counts.ok:
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
    evidence = tuple(f"{name} {with_n(estimate)}" for name, estimate in _named(latency))
    for name, estimate in (("p99", latency.p99), ("p95", latency.p95)):
        if estimate.value is not None:
            return Sentence(f"{told}, {name} is {with_interval(estimate)}.", evidence)
    return Sentence(f"{told}{',' if others > 0 else ';'} no p95: {latency.p95.refusal}.", evidence)


def _named(latency: LatencyFindings) -> tuple[tuple[str, Estimate], ...]:
    return (
        ("mean", latency.mean),
        ("p50", latency.p50),
        ("p90", latency.p90),
        ("p95", latency.p95),
        ("p99", latency.p99),
    )


_LOUD = (Steadiness.UNSTABLE, Steadiness.DRIFTING, Steadiness.WARMING)


def _step_name(step: StepFindings) -> str:
    level = f"{step.level:g} users" if step.offered_per_s is None else format_rate(step.level)
    return f"{step.step + 1} ({level})"


def _unsteady(steps: Sequence[StepFindings]) -> Sentence | None:
    """The worst of what keeps a step from being steady. The sentences of all such steps are the evidence."""
    loud = [step for step in steps if step.state in _LOUD]
    if not loud or (len(steps) == 1 and loud[0].state is Steadiness.UNSTABLE):  # then the latency says it
        return None
    first = min(loud, key=lambda step: (_LOUD.index(step.state), step.step))
    alike = [step for step in loud if step.state is first.state]
    where = "The run" if len(steps) == 1 else f"Load step {' and '.join(map(_step_name, alike))}"
    consequence = {
        Steadiness.UNSTABLE: "was overloaded: more requests came than were answered, so it has no percentiles",
        Steadiness.DRIFTING: "never settled: its figures are of a service that was still changing",
        Steadiness.WARMING: "began unlike it went on: its first part is in the figures",
    }[first.state]
    return Sentence(f"{where} {consequence}.", tuple(step.sentence for step in loud))


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
