"""The words of the harness as frozen dataclasses: the home of every column name.

Instants are `*_ns: int` since the epoch, durations `*_s: float`. Missing is `None`, never 0.
A failed request is a Sample with an `error`, not an exception.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum


class Phase(StrEnum):
    """When a request was scheduled: only MEASURE counts in statistics."""

    WARMUP = "warmup"
    MEASURE = "measure"
    DRAIN = "drain"


class Split(StrEnum):
    """What the server gave about one request."""

    MARKS = "marks"  # our instrumentation: everything
    SPANS = "spans"  # plain OpenTelemetry: body and send waits stay in their stage or in `other`
    DURATIONS = "durations"  # a foreign Server-Timing: transfer only as a whole
    NONE = "none"


class Arrivals(StrEnum):
    """How arrivals follow each other."""

    POISSON = "poisson"
    CONSTANT = "constant"
    USERS = "users"  # a closed loop: each user sends again when it has its answer
    REPLAY = "replay"  # as recorded


class DoneSource(StrEnum):
    """Which clock stamped the last byte of the answer."""

    KERNEL = "kernel"
    USER = "user"


SERVER_STAGES = ("queue", "preprocess", "inference", "postprocess")
"""Stages a service can claim; everything else in the server window is `other`."""

CLAIMS = ("upload", *SERVER_STAGES, "download")
"""Stages a span can stand for: those of the service, and its waits for the body and in sending."""

STAGES = (
    "backlog", "connect", "upload", "queue_est", "queue", "preprocess", "inference", "postprocess",
    "other", "download", "unsplit",
)  # fmt: skip
"""The additive stages of a request, in the order they are shown: their sum is the latency."""

PRESETS = ("fastapi", "triton", "kserve", "vllm", "bentoml", "ray")
"""Servers whose spans are known by name."""

TRANSFER = ("connect", "upload", "download")
"""The stages that make up `transfer`."""


# --- what to run -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Expect:
    """What an answer must look like to be ok. `status` empty means any 2xx."""

    status: tuple[int, ...] = ()
    json: tuple[tuple[str, object], ...] = ()  # (JMESPath, expected value, "~ regex" or "0.5 .. 0.9")
    max_bytes: int | None = None
    python: str | None = None  # "/absolute/checks.py:function", called with the answer
    sampled: float = 1.0  # share of the answers whose body is looked at; the status is checked of all


@dataclass(frozen=True, slots=True)
class BodySpec:
    """What is sent. At most one of json, text, form (alone), body is set; files may go with form fields."""

    json: str | None = None  # already serialised
    text: str | None = None
    form: tuple[tuple[str, str], ...] = ()
    body: tuple[str, ...] = ()  # paths, one drawn per request
    files: tuple[tuple[str, tuple[str, ...]], ...] = ()  # (field, paths: one drawn per request)
    python: str | None = None  # "/absolute/payloads.py:function", alone: makes the body of each request


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """One kind of request in the mix."""

    name: str
    method: str
    path: str
    weight: float = 1.0
    params: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: BodySpec = field(default_factory=BodySpec)
    timeout_s: float = 30.0
    expect: Expect = field(default_factory=Expect)


@dataclass(frozen=True, slots=True)
class Step:
    """One stretch of the measured phase. `level`: arrivals per second, or users of a closed loop.

    The level stays, or goes linearly to `to` within `duration_s`.
    """

    level: float
    duration_s: float
    to: float | None = None

    @property
    def expected(self) -> float:
        """Arrivals to expect; of a closed loop: user seconds."""
        return self.duration_s * (self.level if self.to is None else (self.level + self.to) / 2)


@dataclass(frozen=True, slots=True)
class Replay:
    """Recorded arrivals: a run folder, or a file of instants. `speed` 2 replays them in half the time."""

    path: str
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class LoadProfile:
    """Arrivals over time: the steps one after the other, after a warm-up at the level the first one begins with.

    Of a replay, the first `warmup_s` of the recording are the warm-up and the only step is the rest, at its mean rate.
    """

    arrivals: Arrivals
    steps: tuple[Step, ...]
    warmup_s: float
    drain_s: float
    seed: int
    think_s: tuple[float, float] = (0.0, 0.0)  # closed loop: pause after each answer, drawn evenly between the two
    replay: Replay | None = None
    abort_above: float | None = None  # share of failed answers in the last seconds at which the run stops

    @property
    def measured_s(self) -> float:
        """Length of the measured phase."""
        return sum(step.duration_s for step in self.steps)

    @property
    def end_s(self) -> float:
        """When the last step ends, from the start of the warm-up."""
        return self.warmup_s + self.measured_s


@dataclass(frozen=True, slots=True)
class SpanSpec:
    """Where server halves come from. `stages` maps a stage to span-name globs and `attr:` tests.

    `address` is the URL of a trace store (jaeger, tempo) or the path of an OTLP JSON-lines file (file).
    """

    listen: str | None = "127.0.0.1:4318"  # OTLP over HTTP; None: no receiver is started
    source: str = "auto"  # auto | otlp | server-timing | jaeger | tempo | file | none
    sampled: float = 1.0
    stages: tuple[tuple[str, tuple[str, ...]], ...] = ()
    listen_grpc: str | None = None  # OTLP over gRPC, beside `listen`
    address: str | None = None
    preset: str | None = None  # name of a known server's span names; `stages` are asked first


@dataclass(frozen=True, slots=True)
class TlsSpec:
    """How a https target is trusted. Paths are absolute; without `ca` the system's authorities count."""

    ca: str | None = None
    cert: str | None = None  # of the client
    key: str | None = None
    insecure: bool = False  # any certificate is taken


@dataclass(frozen=True, slots=True)
class Scenario:
    """What to run: target, requests or a user class, load profile, span source, SLOs.

    `source` is the scenario as written, before `${VAR}` was replaced: the only form that may be stored.
    """

    name: str
    target: str
    requests: tuple[RequestSpec, ...]
    users: str | None  # "path/to/file.py:ClassName", instead of requests
    load: LoadProfile
    spans: SpanSpec
    slo: tuple[str, ...]
    path: str | None = None
    source: str = ""
    tls: TlsSpec = field(default_factory=TlsSpec)


# --- what was observed -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sample:
    """One request as the client saw it. Field order is the column order of samples.parquet."""

    request_id: int  # position in the run's arrival schedule, unique in the run over all workers
    trace_id: str  # 32 hex digits
    span_id: str  # 16 hex digits, the parent of the server's root span
    name: str
    phase: str
    step: int
    worker: str
    scheduled_ns: int
    start_ns: int  # a session took it
    resolved_ns: int | None  # the name was looked up; this and the next two are null for a reused connection
    tcp_ns: int | None  # TCP connected
    connected_ns: int | None  # ready to be written to: with TLS after its handshake, else as `tcp_ns`
    send_ns: int | None  # before the first write; null when nothing was written
    sent_ns: int | None  # after the last write
    first_byte_ns: int | None  # user-level
    done_ns: int  # kernel where it can be; on failure the instant of giving up
    done_user_ns: int
    done_source: str
    status: int | None
    error: str | None  # None when an answer came, whatever its status
    failed_checks: str | None  # comma list of the checks that failed, e.g. "status,json:lines[0].text"
    bytes_sent: int
    bytes_received: int
    attempts: int
    server_timing: str | None
    censored: bool  # still in flight when the run ended: `done_ns` is a lower bound


@dataclass(frozen=True, slots=True)
class Span:
    """One interval a server recorded. Field order is the column order of spans.parquet."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: str  # internal | server | client | producer | consumer | unspecified
    service: str | None
    pid: int | None
    start_ns: int
    end_ns: int
    stage: str | None
    attributes: str | None  # JSON object of span attributes; null when there are none


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One model call of one request. Field order is the column order of model_calls.parquet."""

    request_id: int
    model: str
    call: int  # 0 for the first call of that model in the request
    start_ns: int
    duration_s: float
    batch_id: str | None
    batch_size: int | None


@dataclass(frozen=True, slots=True)
class Wait:
    """One recorded wait of one request (stage `queue`). Field order is the column order of waits.parquet."""

    request_id: int
    resource: str | None  # threadpool, event_loop, a lock, a batcher, ...; the span's name when it does not say
    start_ns: int
    duration_s: float
    batch_id: str | None
    kind: str | None  # of a batcher: busy (it ran another batch) | window (it waited for more members)


@dataclass(frozen=True, slots=True)
class Vital:
    """One figure of a process at one instant. Field order is the column order of vitals.parquet."""

    at_ns: int
    service: str | None
    pid: int | None
    name: str  # as the service calls the metric, e.g. process.cpu.utilization
    value: float
    unit: str
    attributes: str | None  # JSON object of the data point's attributes; null when there are none


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """The additive split of one request. Field order is the column order of ledger.parquet, which ends with the
    sample's `scheduled_ns`.

    The stages in STAGES sum to `latency_s`; a null stage counts as nothing and means "not known".
    """

    request_id: int
    trace_id: str
    name: str
    phase: str
    step: int
    ok: bool
    split: str
    latency_s: float
    service_s: float
    backlog_s: float
    connect_s: float | None
    upload_s: float | None
    download_s: float | None
    transfer_s: float | None
    queue_est_s: float | None
    queue_s: float | None
    preprocess_s: float | None
    inference_s: float | None
    postprocess_s: float | None
    other_s: float | None
    unsplit_s: float | None
    clipped_s: float | None


@dataclass(frozen=True, slots=True)
class RunWarning:
    """A doubt about the measurement, with what to do about it."""

    code: str
    message: str
    hint: str
    invalidates: bool = False


def columns(row_type: type) -> tuple[str, ...]:
    """Column names of a row type, in order."""
    return tuple(f.name for f in fields(row_type))
