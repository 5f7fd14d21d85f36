"""What the analysis concludes, as frozen dataclasses: made by analysis/ and gate.py, printed by report/.

Every number is an Estimate: a value with its n and interval, or a refusal that says what is missing.
Durations are seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from harness.diagnosis import (
    BlameFindings,
    Cause,
    Contrast,
    GrowthFindings,
    Sentence,
    StepFindings,
    TailFindings,
    WhatIfFindings,
    WorkFindings,
)
from harness.estimates import Estimate as Estimate
from harness.estimates import LatencyFindings as LatencyFindings
from harness.model import RunWarning

ABORTED = "aborted"
"""Code of the warning that a run was stopped because too many requests failed, as its scenario asked."""


class Verdict(StrEnum):
    """The answer of the gate, and of one SLO."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_ENOUGH_DATA = "not_enough_data"
    INVALID = "invalid"


class HealthState(StrEnum):
    """Whether the generator itself kept its promises."""

    HEALTHY = "healthy"
    SUSPECT = "suspect"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class StageFindings:
    """One stage over the ledger's one row set. Means add up to the mean latency of that set; percentiles do not."""

    stage: str  # a name of model.STAGES, or "transfer" (a sum of three of them; `part_of` tells parts from wholes)
    part_of: str | None  # "transfer" for connect, upload and download
    mean: Estimate
    share: float | None  # of the mean latency, 0..1
    p50: float | None  # of the stage on its own
    p95: float | None
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class ModelFindings:
    """One model of the chain."""

    model: str
    calls: int
    calls_per_request: float
    mean_call_s: float
    mean_per_request_s: float
    share: float  # of the mean latency, 0..1


@dataclass(frozen=True, slots=True)
class WaitFindings:
    """The recorded waits for one resource, over the ledger's row set. Each counts in full, also beside another one."""

    resource: str | None
    waits: int
    requests: int  # that waited at least once
    mean_wait_s: float
    mean_per_request_s: float  # over all requests of the set
    share: float  # of the mean latency, 0..1
    kinds: tuple[tuple[str, float], ...] = ()  # (kind of model.Wait, mean_per_request_s), largest first


class Loss(StrEnum):
    """How the requests without a server half are spread."""

    NONE = "none"
    UNIFORM = "uniform"  # as if drawn at random: what a sampling service does
    CLUSTERED = "clustered"  # together in time: a queue overflowed, an exporter stood still
    BIASED = "biased"  # their latency differs from the others': stage figures would be of other requests
    UNTESTED = "untested"  # too few on one side to tell


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many of the measured ok requests have a server half, and whether the others are missing at random."""

    expected: int
    matched: int
    loss: Loss
    worst_second: float | None  # lowest share in a second with at least ten requests
    worst_second_at_s: float | None  # from the first measured request
    delta: float | None  # Cliff's delta of latency, missing against matched: +1 when every missing one is slower
    sentence: str
    lacking: str | None = None  # the kind of request that is missing far more often than the others, if one is


@dataclass(frozen=True, slots=True)
class NameFindings:
    """One kind of request of the mix, in the measured phase: latency of its ok requests, from the scheduled instant."""

    name: str
    ok: int
    failed: int
    mean: Estimate
    p50: Estimate
    p95: Estimate
    bottleneck: str | None  # the stage with the largest mean, of those with a server half
    bottleneck_share: float | None  # of their mean latency, 0..1


@dataclass(frozen=True, slots=True)
class SloFindings:
    """One SLO judged. `observed` and `limit` share `unit`, as an Slo has it."""

    expression: str
    verdict: Verdict
    observed: float | None
    limit: float
    unit: str
    n: int
    reason: str


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """The stage to fix first. `share_of_tail` is its part of (slow - typical) with its interval; None where there are
    too few requests for one, or no gap.
    """

    stage: str
    resource: str | None
    model: str | None
    share_of_tail: float | None
    interval: tuple[float, float] | None
    n: int
    sentence: str
    cause: str | None = None  # code of the cause that explains it, if one does


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests of the measured phase, each counted once in ok / failed / censored."""

    scheduled: int
    sent: int
    ok: int
    failed: int
    censored: int
    warmup: int
    errors: tuple[tuple[str, int], ...]  # (what, how many), most frequent first
    split: tuple[tuple[str, int], ...]  # (Split value, ok requests)
    offered_per_s: float | None
    completed_per_s: float | None  # ok answers per second of measured time


@dataclass(frozen=True, slots=True)
class Reading:
    """One figure of the generator's own health, with its limits: beyond `suspect` / `invalid` it counts against it.

    An `invalid` limit below the `suspect` one means that small values are the bad ones. Without a value `absent` says
    why, when that is known: a reading that does not apply counts against nobody.
    """

    name: str
    value: float | None
    unit: str
    suspect: float | None
    invalid: float | None
    meaning: str
    advice: str = ""  # what to do when it is beyond a limit
    worker: str = ""  # the load process it is from
    absent: str = ""

    @property
    def state(self) -> HealthState | None:
        """Which limit the value is beyond; None without a value."""
        if self.value is None or math.isnan(self.value):
            return None
        for state, limit in ((HealthState.INVALID, self.invalid), (HealthState.SUSPECT, self.suspect)):
            if limit is not None and (self.value < limit if self.small_is_bad else abs(self.value) > limit):
                return state
        return HealthState.HEALTHY

    @property
    def small_is_bad(self) -> bool:
        """Whether the limits are lower ones."""
        return self.suspect is not None and self.invalid is not None and self.invalid < self.suspect


@dataclass(frozen=True, slots=True)
class Health:
    """The generator about itself: of each reading the worst of all load processes, named in its `worker`."""

    state: HealthState
    readings: tuple[Reading, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One request for the tables of slowest and typical requests: stages in seconds, None where unknown."""

    request_id: int
    trace_id: str
    name: str
    latency_s: float
    stages: tuple[tuple[str, float | None], ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything a report shows: the content of summary.json (see schema/summary.schema.json)."""

    schema_version: int
    run_id: str
    scenario: str
    target: str
    started_ns: int
    duration_s: float
    load: str  # one line, e.g. "poisson 4/s, 10 s warm-up, 60 s"
    interrupted: bool
    verdict: Verdict
    reasons: tuple[str, ...]
    sentences: tuple[Sentence, ...]  # the verdict in words, at most six
    counts: Counts
    latency: LatencyFindings
    service: LatencyFindings
    stage_set: str  # which rows the stage table stands on, e.g. "n = 240 ok, measured, with server half; mean 180 ms"
    stages: tuple[StageFindings, ...]
    names: tuple[NameFindings, ...]  # one per request name, in order of the mean
    models: tuple[ModelFindings, ...]
    slo: tuple[SloFindings, ...]
    bottleneck: Bottleneck | None
    health: Health
    warnings: tuple[RunWarning, ...]
    slowest: tuple[RequestRow, ...]
    typical: tuple[RequestRow, ...]
    environment: tuple[tuple[str, str], ...]
    span_source: str  # one line: what was asked for, what arrived, clock offset and its bound
    coverage: Coverage | None = None  # None when no request was to have a server half
    waits: tuple[WaitFindings, ...] = ()  # what `queue` is made of, largest first
    answered: LatencyFindings | None = None  # latency of the requests answered as expected alone
    steps: tuple[StepFindings, ...] = ()
    work: tuple[WorkFindings, ...] = ()
    growth: tuple[GrowthFindings, ...] = ()  # of a run with several steps, largest first
    tail: TailFindings | None = None
    blame: tuple[BlameFindings, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    causes: tuple[Cause, ...] = ()  # what costs most first
    gains: tuple[WhatIfFindings, ...] = ()  # of the usual changes, what takes most off the p99 first
    accepted: tuple[str, ...] = ()  # what makes the measurement invalid and was accepted, as the user asked
    decided: str | None = None  # of a run that went on until its SLOs were decided: at which look, how sure
