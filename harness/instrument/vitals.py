"""Process vitals once a second as OTLP metrics, from a thread of its own, if the environment names an endpoint.

`MLHARNESS_VITALS=off` switches them off, and so do `OTEL_METRICS_EXPORTER=none` and `OTEL_SDK_DISABLED=true`. The meter
provider is private and made in the process that serves, after a fork. The SDK's periodic reader is not used: it starts
its thread again in every child that forks, reporting or not, and hears nothing of an export that failed.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any

from opentelemetry import context
from opentelemetry.sdk.resources import Resource

from harness.instrument import pipeline
from harness.instrument.figures import FIGURES, Point, Sampler, watch_collector
from harness.instrument.loop_probe import LoopProbe
from harness.instrument.quiet import LOG, SDK_LOGGERS, hush

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation

EVERY_S = 1.0
BACKOFF_AT_MOST_S = 5.0  # a run that begins while its receiver was away must not be over before we notice
MENTIONED_AFTER_S = 60.0  # the receiver of a run goes away when the run is over, and that is all right
EXPORT_TIMEOUT_S = 2.0
STOP_AT_MOST_S = 0.2

THREAD = "harness-vitals"
EXPORTER_LOGGER = "opentelemetry.exporter.otlp.proto.http.metric_exporter"
LOST = logging.getLogger("harness.instrument.vitals")

AWAY = "no collector at %s takes process vitals; tried again every %.0f s (%s)"

_OFF = ("off", "false", "no", "0")

Report = Callable[[list[Point]], bool]

_on = False
_lock = threading.Lock()
_thread: threading.Thread | None = None
_failed = False
_stop = threading.Event()
_open: set[int] = set()
_probes: dict[int, LoopProbe] = {}


def _forget_parent() -> None:
    """A forked child reports once it serves requests itself."""
    global _lock, _thread, _failed, _stop
    _lock, _thread, _failed, _stop = threading.Lock(), None, False, threading.Event()
    _open.clear()
    _probes.clear()


os.register_at_fork(after_in_child=_forget_parent)


def wanted() -> bool:
    """Whether the environment asks for metrics, and for no others than ours can be: OTLP over HTTP."""

    def setting(*names: str) -> str:
        return next((value for name in names if (value := os.environ.get(name, "").strip().lower())), "")

    exporters = {name.strip() for name in setting("OTEL_METRICS_EXPORTER").split(",")}
    return (
        setting("MLHARNESS_VITALS") not in _OFF
        and setting("OTEL_SDK_DISABLED") != "true"
        and bool(exporters & {"", "otlp"})
        and bool(setting("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"))
        and setting("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL") != "grpc"
    )


def prepare() -> None:
    """Decide for this process and those it forks, and import what the exporter needs while the service starts, so that
    no request waits for it. Makes no thread, no socket."""
    global _on
    _on = wanted()
    if _on:
        try:
            import opentelemetry.sdk.metrics.export  # noqa: F401
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

            OTLPMetricExporter()  # it is only now that its HTTP library is imported
        except Exception:
            _on = False
            LOG.warning("process vitals are not exported", exc_info=True)


def is_on() -> bool:
    return _on


def watched(app: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """An ASGI application that keeps its process's vitals going: from its lifespan on, or from its first request."""

    async def watched_app(scope: Any, receive: Any, send: Any) -> None:
        if scope.get("type") != "http":
            start()
            await app(scope, receive, send)
            return
        entered(scope)
        try:
            await app(scope, receive, send)
        finally:
            left(scope)

    return watched_app


def entered(request: object) -> None:
    """A request begins; `left` with the same object ends it."""
    if _on:
        start()
        _open.add(id(request))


def left(request: object) -> None:
    _open.discard(id(request))


def start() -> None:
    """Report from now on, once per process, and watch the running event loop. Never raises, and is cheap to repeat."""
    try:
        if _thread is None and not _failed:
            _start_thread()
        loop = asyncio._get_running_loop()
        if loop is not None:
            probe = _probes.get(id(loop))
            if probe is None or not probe.watches(loop):
                probe = _probes[id(loop)] = LoopProbe(loop)
            probe.look_for_limiter()
    except Exception:
        LOG.warning("process vitals are not complete", exc_info=True)


def _start_thread() -> None:
    global _thread, _failed
    with _lock:
        if _thread is not None or _failed:
            return
        _failed = True
        watch_collector()
        sampler = Sampler(lambda: len(_open), _living_probes)
        _thread = threading.Thread(target=_run, args=(sampler, _stop), name=THREAD, daemon=True)
        _thread.start()
        _failed = False
        atexit.register(_end, _thread, _stop)


def _end(thread: threading.Thread, stop: threading.Event) -> None:
    """A thread that talks while the interpreter goes down may take it along."""
    stop.set()
    if thread is _thread:  # and not that of the process we were forked from
        thread.join(STOP_AT_MOST_S)


def _living_probes() -> list[LoopProbe]:
    for key, probe in list(_probes.items()):
        if probe.is_over():
            _probes.pop(key, None)
    return list(_probes.values())


def _run(sampler: Sampler, stop: threading.Event) -> None:
    try:
        context.attach(context.set_value(context._SUPPRESS_INSTRUMENTATION_KEY, True))
        report = _exporting()
    except Exception:
        LOG.warning("process vitals are not exported", exc_info=True)
        return
    said = _Said()
    pause, due = EVERY_S, monotonic() + EVERY_S
    while not stop.wait(max(0.0, due - monotonic())):
        try:
            arrived = report(sampler.take())
        except Exception as error:
            arrived, said.last = False, f"{type(error).__name__}: {error}"
        said.mention(away=not arrived)
        pause = EVERY_S if arrived else min(2 * pause, BACKOFF_AT_MOST_S)
        due = max(due + pause, monotonic() + pause / 2)


class _Said(logging.Filter):
    """Keeps to itself what the exporter says to us: an idle service need not repeat that its collector is away."""

    def __init__(self) -> None:
        super().__init__()
        self.last = "no answer"
        self._away_since: float | None = None
        self._mentioned = False
        logging.getLogger(EXPORTER_LOGGER).filters.insert(0, self)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.threadName != THREAD:
            return True
        message = record.getMessage()
        self.last = "no answer" if "max retries" in message else message
        return False

    def mention(self, *, away: bool) -> None:
        """Say once of an outage that it lasts."""
        if not away:
            self._away_since, self._mentioned = None, False
        elif self._away_since is None:
            self._away_since = monotonic()
        elif not self._mentioned and monotonic() - self._away_since >= MENTIONED_AFTER_S:
            self._mentioned = True
            LOST.warning(AWAY, _endpoint(), BACKOFF_AT_MOST_S, self.last)


def _exporting() -> Report:
    """A private meter provider with one instrument per figure, and the exporter behind it."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.metrics import Observation
    from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider, ObservableCounter
    from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader, MetricExportResult

    hush(SDK_LOGGERS)
    temporality: dict[type, AggregationTemporality] = {ObservableCounter: AggregationTemporality.CUMULATIVE}
    reader = InMemoryMetricReader(preferred_temporality=temporality)
    provider = MeterProvider([reader], _resource(), AlwaysOffExemplarFilter(), shutdown_on_exit=False)
    exporter = OTLPMetricExporter(timeout=EXPORT_TIMEOUT_S, preferred_temporality=temporality)
    meter = provider.get_meter("harness.instrument")
    latest: dict[str, list[Observation]] = {}

    def told(name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _: latest.get(name, ())

    for figure in FIGURES:
        create = meter.create_observable_counter if figure.cumulative else meter.create_observable_gauge
        create(figure.name, [told(figure.name)], figure.unit)

    def report(points: list[Point]) -> bool:
        latest.clear()
        for name, value, attributes in points:
            latest.setdefault(name, []).append(Observation(value, attributes))
        collected = reader.get_metrics_data()
        return collected is None or exporter.export(collected) is MetricExportResult.SUCCESS

    return report


def _endpoint() -> str:
    """Where vitals go, without what a URL may hold of names and passwords."""
    own = os.environ.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    scheme, between, rest = own.strip().partition("://")
    return scheme + between + rest.rpartition("@")[2]


def _resource() -> Resource:
    """The one of the spans, so that both are known to come from the same process."""
    pid = Resource({"process.pid": os.getpid()})
    chosen = pipeline.provider()
    return Resource.create().merge(pid) if chosen is None else chosen.resource.merge(pid)
