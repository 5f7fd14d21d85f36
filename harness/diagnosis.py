"""What explains the latency of a run, as frozen dataclasses: made by analysis/, printed by report/.

Durations are seconds, shares are 0..1 except where said.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.estimates import Estimate, LatencyFindings


class Steadiness(StrEnum):
    """Whether the requests of one load step are of one kind over time."""

    STEADY = "steady"
    WARMING = "warming"  # slower (or faster) at first, then steady
    DRIFTING = "drifting"  # latency goes on changing until the end of the step
    UNSTABLE = "unstable"  # more requests come than are answered: percentiles grow with the length of the test
    UNTESTED = "untested"  # too short, or too few requests, to tell


@dataclass(frozen=True, slots=True)
class StepFindings:
    """One load step of the measured phase. An unstable step has no percentiles: each is refused with that reason."""

    step: int
    level: float  # offered rate per second, or users of a closed loop
    scheduled: int
    ok: int
    failed: Estimate  # share of the ended requests that failed
    offered_per_s: float | None  # None in a closed loop
    completed_per_s: float | None  # ok answers per second of the step
    state: Steadiness
    sentence: str  # the figures behind the state
    settled_after_s: float | None  # of a warming step: from its begin
    drift: Estimate | None  # relative change of the typical latency over the step: 0.1 is 10 % slower at its end
    latency: LatencyFindings  # failed requests rank as slowest
    answered: LatencyFindings  # of the requests answered as expected alone
    stages: tuple[tuple[str, float], ...]  # mean of each stage that is known, of the requests with server half
    in_flight: float | None  # mean number inside the service: completed per second times mean time there
    gauge: float | None  # the same by the service's own counter, when it sends one
    checks: tuple[tuple[str, int], ...] = ()  # (failed check, requests), most frequent first


@dataclass(frozen=True, slots=True)
class WorkFindings:
    """Whether a stage works or waits: mean per request of the stage on its own, wall clock against thread CPU."""

    stage: str
    n: int  # requests whose spans of that stage all carry CPU time
    wall_s: float
    cpu_s: float
    busy: float  # cpu_s / wall_s

    @property
    def waits_s(self) -> float:
        """The part in which its thread did not run."""
        return self.wall_s - self.cpu_s


class Grows(StrEnum):
    """What a stage does more of at the higher load."""

    WORKS = "works"
    WAITS = "waits"


@dataclass(frozen=True, slots=True)
class GrowthFindings:
    """How much longer a stage takes in the highest load step than in the lowest."""

    stage: str
    low_step: int
    high_step: int
    low_s: float
    high_s: float
    change: Estimate  # high_s - low_s
    share: float  # of the growth of the mean latency
    cpu_change_s: float | None  # of its thread CPU; None where that is not recorded
    grows: Grows | None  # None where nobody can tell


@dataclass(frozen=True, slots=True)
class TailShare:
    """One stage's share of (slow - typical), with its 95 % interval. Shares of all stages sum to 1."""

    stage: str
    share: float
    low: float
    high: float


CLEAR_SHARE = 0.40
"""A stage is named only if the lower end of its interval reaches this share."""


@dataclass(frozen=True, slots=True)
class TailFindings:
    """Which stages make the slow requests slow. Shares are largest first and add up."""

    of: str  # what is split, e.g. "p99 - p50" or "the slowest 5% - typical requests"
    gap_s: float  # slow_s - typical_s
    slow_s: float
    typical_s: float
    n: int
    n_slow: int
    shares: tuple[TailShare, ...]

    @property
    def clear(self) -> TailShare | None:
        """The stage that can be named, if one can."""
        top = self.shares[0]
        return top if top.low >= CLEAR_SHARE else None


@dataclass(frozen=True, slots=True)
class BlameFindings:
    """Who held a resource while the requests waited for it. The holders of one resource sum to its whole wait."""

    resource: str
    stage: str | None  # what the holder did; None: nobody held it (the window of a batch, a late event loop)
    model: str | None
    name: str | None  # the kind of request that held it
    own: bool  # the holder was of the same kind as the waiting request
    wait_s: float  # mean per request of the whole set
    share: float  # of the waiting for this resource
    n: int  # requests that waited for the resource
    at_once: int | None = None  # how many could hold it at once in one process, as far as the run shows


@dataclass(frozen=True, slots=True)
class Contrast:
    """What slow requests have in common and typical ones do not: at most five, false discoveries controlled."""

    attribute: str  # e.g. bytes_sent, name, process, new_connection, batch_size
    value: str  # as people read it, e.g. "1.2 MiB or more"
    slow: int  # slow requests that have it
    slow_of: int
    typical: int
    typical_of: int
    effect: float  # Cliff's delta for numbers, Jensen-Shannon divergence (bits) for kinds
    p_value: float  # before the control of false discoveries
    with_s: float  # mean latency of all requests that have it
    without_s: float | None  # of all others; None when there are none
    sentence: str


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause from the catalogue that the run has evidence for."""

    code: str  # e.g. thread_pool, lock, event_loop, upload, cold_start: see analysis/causes
    stage: str | None  # where it shows in the ledger
    resource: str | None
    model: str | None
    sentence: str  # what it is, and what it costs
    remedy: str  # what to try first
    evidence: tuple[str, ...]  # each a figure of this run, with n or interval
    cost_s: float  # what it adds to the mean request, at most: the order of the causes


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of the verdict, with the figures it stands on."""

    text: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Level:
    """Latency, seconds. `p99_s` is None where n cannot carry it."""

    mean_s: float
    p50_s: float
    p99_s: float | None


@dataclass(frozen=True, slots=True)
class WhatIfFindings:
    """What one change gives: a replay of the recorded arrivals with that changed.

    Without `then`, `refusal` says why; without `now` no change of that run has an answer.
    """

    change: str  # e.g. "inference x 0.8", "one more worker than the 2 that fit this run"
    resource: str | None  # whose queue was replayed; None: nobody had to wait
    servers: int | None  # of each process, after the change
    pools: int  # processes that have such servers
    n: int
    measured_wait_s: tuple[float, float]  # median and p99 of the recorded wait for the resource
    replayed_wait_s: tuple[float, float]  # the same, replayed with nothing changed
    now: Level | None  # replayed with nothing changed
    then: Level | None
    most_per_s: float | None  # highest rate of this mix the changed resource can carry
    refusal: str | None
