"""What a comparison concludes, as frozen dataclasses: made by analysis/comparing/ and the modules that run pairs,
printed by report/.

Side A is the baseline, side B the candidate. A change is a ratio B / A where more is worse (latency), and A / B where
less is worse (throughput): above 1 is always worse. Durations are seconds, shares 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.estimates import Estimate
from harness.findings import Verdict
from harness.model import RunWarning

SCHEMA_VERSION = 1


class Change(StrEnum):
    """What the pairs show about one metric."""

    WORSE = "worse"  # evidence of a slow-down larger than allowed
    WITHIN = "within"  # evidence that a slow-down, if there is one, is smaller than the strict limit
    NOT_FOUND = "not_found"  # neither of the two
    UNKNOWN = "unknown"  # the metric is not known on both sides of enough pairs


@dataclass(frozen=True, slots=True)
class MetricChange:
    """One metric over the pairs. Values are geometric means over the pairs of each side's own value."""

    metric: str  # p50, p95, p99, mean, error_rate, throughput
    unit: str  # "s", "ratio" or "1/s"
    gating: bool  # False: it explains, and decides nothing
    a: float | None
    b: float | None
    ratio: Estimate  # above 1 is worse; n = pairs. Two-sided at its own confidence
    at_most: float | None  # one-sided upper limit of the ratio, at the confidence of this look
    at_least: float | None  # one-sided lower limit, likewise
    detectable: float | None  # smallest ratio found in 80 % of such runs: 1.07 is +7 %
    p_value: float | None  # one-sided, of "worse by no more than allowed"
    sign_flip_p: float | None  # exact, of "no change at all": at least 1 / 2^pairs
    change: Change
    reason: str  # in words, with the figures


@dataclass(frozen=True, slots=True)
class StageChange:
    """The mean of one stage over the pairs."""

    stage: str  # a name of model.STAGES, or "transfer"
    a_s: float | None
    b_s: float | None
    change: Estimate  # b - a in seconds; n = pairs
    share: float | None  # of the change of the mean latency
    works: bool  # False: it waits for others, so its change is a consequence


@dataclass(frozen=True, slots=True)
class Blame:
    """The stage that changed, when one did."""

    stage: str
    model: str | None  # the model of the chain that changed most, when that is known
    change: Estimate  # seconds, n = pairs
    share: float | None  # of the change of the mean latency
    sentence: str


@dataclass(frozen=True, slots=True)
class SideRun:
    """What one run of a pair measured. A quantile that lies among failed requests is infinite."""

    run_id: str
    n: int  # measured requests that were due
    failed: int  # of them without an answer as expected
    values: tuple[tuple[str, float | None], ...]  # metric -> its value; None where it is not known
    stages: tuple[tuple[str, float], ...]  # mean of each stage that is known and can be trusted
    models: tuple[tuple[str, float], ...]  # mean per request of each model of the chain
    unstable: bool  # more came than was answered in time: its figures grow with the length of the run
    invalid: tuple[str, ...]  # why this run cannot be judged; empty: it can
    accepted: tuple[str, ...] = ()  # what would make it invalid, accepted by --accept-suspect
    died: str | None = None  # how the service ended during the run, if it did


@dataclass(frozen=True, slots=True)
class PairFindings:
    """One pair: a run of each side, one after the other."""

    number: int  # from 1
    order: str  # "AB" or "BA"
    a: SideRun
    b: SideRun
    counted: bool
    reason: str  # why it does not count; "" when it does


@dataclass(frozen=True, slots=True)
class AbFindings:
    """Interleaved pairs of two targets, judged: the content of ab.json."""

    schema_version: int
    scenario: str
    a: str  # what A is: its URL, or the command that started it
    b: str
    load: str
    started_ns: int
    duration_s: float
    interrupted: bool
    allowed: float  # slow-down that is allowed: 0.05 is +5 %
    strict_limit: float  # slow-down that has to be ruled out for `within`
    strict: bool  # undecided is not good enough
    confidence: float  # of the whole family of metrics and looks
    looks: tuple[int, ...]  # pairs after which it was decided, e.g. (5, 7, 9)
    verdict: Verdict
    change: Change
    reasons: tuple[str, ...]
    sentences: tuple[str, ...]
    metrics: tuple[MetricChange, ...]
    stages: tuple[StageChange, ...]
    blame: Blame | None
    pairs: tuple[PairFindings, ...]
    warnings: tuple[RunWarning, ...]
    accepted: tuple[str, ...]  # doubts that would make it invalid, accepted by --accept-suspect
    environment: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Noise:
    """How much one metric varies between two runs of the same thing."""

    metric: str
    unit: str
    value: float | None  # geometric mean over all runs
    deviation: Estimate  # standard deviation of ln(B / A) over the pairs; n = pairs
    detectable: tuple[tuple[int, float], ...]  # (pairs, smallest ratio found in 80 % of such comparisons)


@dataclass(frozen=True, slots=True)
class CalibrationFindings:
    """What A/A pairs show about this machine under one scenario: the content of calibration.json."""

    schema_version: int
    scenario: str
    target: str
    load: str
    started_ns: int
    duration_s: float
    interrupted: bool
    verdict: Verdict  # invalid, not_enough_data or passed
    reasons: tuple[str, ...]
    allowed: float
    looks: tuple[int, ...]
    noise: tuple[Noise, ...]
    false_alarms: Estimate  # share of comparisons that fail although nothing changed, from the pairs themselves
    sentences: tuple[str, ...]
    pairs: tuple[PairFindings, ...]
    warnings: tuple[RunWarning, ...]
    environment: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class RunRef:
    """A stored run, as far as it is named beside others."""

    run_id: str
    scenario: str
    started_ns: int
    load: str
    n: int  # measured requests
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Difference:
    """Something in which two runs differ that should be equal."""

    what: str  # e.g. "cpu", "payloads", "rate"
    a: str
    b: str
    matters: bool  # True: the runs are not comparable; False: said beside the result
    sentence: str


@dataclass(frozen=True, slots=True)
class Shift:
    """One point of the shift function: what became of the p-quantile of the latency."""

    p: float
    a_s: float | None
    b_s: float | None
    change: Estimate  # b - a in seconds, from the requests of both runs
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class CompareFindings:
    """Two stored runs side by side. Intervals are of the requests only: one run a side knows nothing of run noise."""

    schema_version: int
    a: RunRef
    b: RunRef
    differences: tuple[Difference, ...]
    metrics: tuple[MetricChange, ...]  # none is gating
    stages: tuple[StageChange, ...]  # change: B - A of the means, with the requests' interval
    models: tuple[StageChange, ...]  # likewise, a model of the chain each
    shifts: tuple[Shift, ...]
    tail: tuple[tuple[str, float], ...]  # seconds of the change of the p95 that each stage has; they sum to it
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BaselineMetric:
    """One metric of a new run against what earlier runs predict for it."""

    metric: str
    unit: str
    n: int  # baseline runs
    typical: float | None  # their geometric mean
    deviation: float | None  # standard deviation of the logarithm between them
    value: float | None  # of the new run
    limit: float | None  # the new run would have to be above it (throughput: below it)
    change: Change
    reason: str


@dataclass(frozen=True, slots=True)
class BaselineFindings:
    """A new run against several stored ones."""

    verdict: Verdict
    reasons: tuple[str, ...]
    runs: tuple[RunRef, ...]
    left_out: tuple[tuple[str, str], ...]  # (run id, why)
    metrics: tuple[BaselineMetric, ...]
    allowed: float
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One run of a scenario's history."""

    run: RunRef
    commit: str | None
    p50_s: float | None
    p95_s: float | None
    error_rate: float | None
    completed_per_s: float | None
    bottleneck: str | None
    counted: bool  # False: invalid or interrupted, not looked at for changes


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """Where a metric of a history became another one: between two runs that follow each other."""

    metric: str
    before_run: str
    after_run: str
    before: float  # geometric mean of the stretch before
    after: float
    p_value: float
    sentence: str


@dataclass(frozen=True, slots=True)
class HistoryFindings:
    """Runs of one scenario over time, oldest first."""

    schema_version: int
    scenario: str
    rows: tuple[HistoryRow, ...]
    changes: tuple[ChangePoint, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Histories:
    """A history for each scenario of a folder, by name; `unread` names the runs that could not be read, and why."""

    histories: tuple[HistoryFindings, ...]
    unread: tuple[tuple[str, str], ...] = ()
