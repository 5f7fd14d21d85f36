"""What pages show beside the findings, as frozen dataclasses: single requests, vitals, flame graphs, a run that is on.

Made from a stored or a running run, drawn by report/ and dashboard/. Durations are seconds, instants inside a request
are seconds since it was scheduled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from harness.findings import HealthState, Verdict


class Lane(StrEnum):
    """Who saw a bar of a waterfall."""

    CLIENT = "client"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Bar:
    """One interval of a request, on the client's clock."""

    lane: Lane
    depth: int  # 0 is the outermost of its lane
    label: str
    stage: str | None  # a name of model.STAGES; None: nobody claims it
    from_s: float
    until_s: float
    uncertain_s: float = 0.0  # either end may be off by so much: the clocks of two machines
    span_id: str | None = None
    details: tuple[tuple[str, str], ...] = ()  # attributes, as people read them


@dataclass(frozen=True, slots=True)
class Waterfall:
    """One request: what the client did above, what the service did below, in the order of their start."""

    request_id: int
    trace_id: str
    name: str
    phase: str
    ok: bool
    outcome: str  # "200", or what went wrong, e.g. "timeout", "503, failed check: status"
    scheduled_ns: int
    latency_s: float
    split: str  # a value of model.Split
    stages: tuple[tuple[str, float | None], ...]  # the ledger's row
    bars: tuple[Bar, ...]
    note: str | None = None  # why there is no server part, or how sure its place is
    beside: tuple[int, ...] = ()  # other requests of its batches


@dataclass(frozen=True, slots=True)
class FlameNode:
    """One frame of a flame graph. `weight_s` holds its own time and its children's."""

    label: str
    weight_s: float
    stage: str | None = None
    where: str | None = None  # file:line of a Python frame
    children: tuple[FlameNode, ...] = ()


@dataclass(frozen=True, slots=True)
class Flame:
    """A flame graph: of spans (mean time by path, on the critical path) or of a call profile."""

    title: str
    n: int  # requests, or samples of a call profile
    note: str
    root: FlameNode


@dataclass(frozen=True, slots=True)
class VitalSeries:
    """One vital of one process over the run: `at_s` since the first scheduled request."""

    name: str
    unit: str
    process: str
    at_s: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class BaselineCurve:
    """Latency percentiles of another run, drawn beside those of this one."""

    run_id: str
    slower: tuple[float, ...]  # share of requests that are slower
    latency_s: tuple[float, ...]
    scenario: str | None = None  # of its summary, as the load in words; None: not known
    load: str | None = None


@dataclass(frozen=True, slots=True)
class Views:
    """What a report shows that is not in the summary. Everything may be missing."""

    slowest: tuple[Waterfall, ...] = ()
    typical: tuple[Waterfall, ...] = ()
    vitals: tuple[VitalSeries, ...] = ()
    flames: tuple[Flame, ...] = ()
    baseline: BaselineCurve | None = None


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """A run that is on, at one instant: for the eye and for metrics, never for a verdict.

    Percentiles, rate and stages are of the last seconds (`window_s`), counts of the whole run.
    """

    run_id: str
    at_ns: int
    phase: str  # starting | warmup | measure | drain | spans | report | finished | interrupted | broken
    elapsed_s: float | None
    total_s: float | None
    offered_per_s: float | None  # what the schedule asks for now
    rate_per_s: float | None  # ended requests
    in_flight: int | None
    backlog: int | None  # due, but no session was free
    users: int | None
    ok: int
    failed: int
    censored: int
    errors: tuple[tuple[str, int], ...]  # (what, how many), most frequent first
    window_s: float
    n: int  # ended requests in the window
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    n_split: int  # those of them with a server half
    stages: tuple[tuple[str, float], ...]  # mean seconds of each known stage, in the order of model.STAGES;
    # "transfer" is that of requests whose upload and download are not known apart
    health: HealthState | None = None
    doubts: tuple[str, ...] = field(default=())  # the generator about itself, in words


@dataclass(frozen=True, slots=True)
class LevelFindings:
    """One load step held against the SLOs that can be asked of a step: percentiles of the latency, the error rate."""

    step: int
    level: float  # arrivals per second, or users of a closed loop
    verdict: Verdict  # passed, failed or not_enough_data
    reason: str  # the SLO that decides, with its figure and interval


@dataclass(frozen=True, slots=True)
class CapacityFindings:
    """The highest load of a stepped run that was shown to meet its SLOs, as far as the steps can say."""

    levels: tuple[LevelFindings, ...]  # by level, lowest first
    confirmed: float | None  # the highest level that passed, with none below it that failed
    broken: float | None  # the lowest level that failed
    judged: tuple[str, ...]  # SLOs that were asked of each step
    left_out: tuple[str, ...]  # SLOs that cannot be
    closed_loop: bool
    sentence: str
