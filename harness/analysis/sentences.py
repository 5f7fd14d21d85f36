"""The verdict in words: at most six sentences, each a figure of the run with its n or interval."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.tail import LEAST_SLOW, TailAttribution
from harness.findings import Counts, Estimate, LatencyFindings, ModelFindings, StageFindings, WaitFindings
from harness.units import format_count, format_duration, format_rate, format_share

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


def write(
    counts: Counts,
    latency: LatencyFindings,
    stages: Sequence[StageFindings],
    models: Sequence[ModelFindings],
    tail: TailAttribution | None,
    n_split: int,
    silence: str | None,
    users: str | None = None,
    waits: Sequence[WaitFindings] = (),
    taken_late: bool = False,
) -> tuple[str, ...]:
    """Answers, latency, where the mean goes, the chain, the tail, and what is not known.

    `silence` is why nothing may be said about stages, if so; `users` are those of a closed loop, such as "16 users";
    `waits` are what the stage `queue` is made of; `taken_late` is whether upload is a wait for the service.
    """
    said = [_answers(counts)]
    if counts.ok:
        said.append(_latency(latency))
    if users is not None:
        said.append(_closed_loop(users))
    if silence is not None:
        return (*said, f"Nothing is said about stages: {silence}.")
    whole = [s for s in stages if s.part_of is None and s.share is not None]
    said.extend(_mean(whole, n_split, waits, taken_late))
    said.extend(_chain(models))
    if n_split:
        said.append(tail_sentence(tail, waits, taken_late) if tail else _no_tail(n_split))
    return tuple(said[:6])


def _answers(counts: Counts) -> str:
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
    return told + "."


def _closed_loop(users: str) -> str:
    return (
        f"A closed loop: {users} waited for each answer, so a slow service lowered the load and its latency is "
        "understated against an open loop."
    )


def _latency(latency: LatencyFindings) -> str:
    """The mean is of those answered as expected; the percentiles are of all, and say so where that is not the same."""
    told = f"The mean request took {format_duration(latency.mean.value)}"
    others = latency.p50.n - latency.mean.n
    if others > 0:
        told = (
            f"The mean request answered as expected took {format_duration(latency.mean.value)}; counting the "
            f"{format_count(others)} other{'s' if others > 1 else ''} as slowest"
        )
    if latency.p50.value is not None:
        told += f", half {'of all ' if others > 0 else ''}took at most {format_duration(latency.p50.value)}"
    for name, estimate in (("p99", latency.p99), ("p95", latency.p95)):
        if estimate.value is not None:
            return f"{told}, {name} is {_with_interval(estimate)}."
    return f"{told}{',' if others > 0 else ';'} no p95: {latency.p95.refusal}."


def _with_interval(estimate: Estimate) -> str:
    text = format_duration(estimate.value)
    if estimate.low is not None and estimate.high is not None:
        text += f" (95% interval {format_duration(estimate.low)} to {format_duration(estimate.high)})"
    return text


def _mean(whole: Sequence[StageFindings], n: int, waits: Sequence[WaitFindings], taken_late: bool) -> list[str]:
    ranked = sorted(whole, key=lambda s: -(s.share or 0.0))[:3]
    if not ranked:
        return []
    first, *rest = [f"{_words(s.stage, waits, taken_late)} {format_share(s.share)}" for s in ranked]
    others = f", then {' and '.join(rest)}" if rest else ""
    return [f"Largest part of the mean request: {first} ({format_duration(ranked[0].mean.value)}){others}; n = {n:,}."]


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


def _chain(models: Sequence[ModelFindings]) -> list[str]:
    if len(models) < 2:
        return []
    top = models[0]
    each = f"{format_duration(top.mean_call_s)} a call, {top.calls_per_request:.3g} calls a request"
    return [
        f"In the chain of {len(models)} models, {top.model} costs most: {format_share(top.share)} of the mean ({each})."
    ]


def tail_sentence(tail: TailAttribution, waits: Sequence[WaitFindings] = (), taken_late: bool = False) -> str:
    """Which stage makes the slow requests slow, or that no single one does; the rest as for `write`."""
    gap = f"The slowest 5% take {format_duration(tail.gap_s)} longer than typical requests"
    top = tail.shares[0]
    interval = f"95% interval {_percent(top.low)} to {_percent(top.high)}, n = {tail.n:,}"
    if tail.clear is not None:
        # More than all of it: the stage grew by more than the latency, because others shrank.
        share = "all" if top.share > 0.995 else _percent(top.share)
        return f"{gap}: {share} of that is {_words(top.stage, waits, taken_late)} ({interval})."
    first = f"{_words(top.stage, waits, taken_late)} comes first, {_percent(top.share)}"
    return f"{gap}; no single stage explains it ({first}; {interval})."


def _percent(share: float) -> str:
    return f"{share * 100:.0f}%"


def _no_tail(n: int) -> str:
    need = LEAST_SLOW * 20
    if n >= need:
        return "Slow requests do not differ from typical ones enough to say what makes them slow."
    return f"Too few requests to say what makes the slow ones slow: needs {need}, has {n:,}."
