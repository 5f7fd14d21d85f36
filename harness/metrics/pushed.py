"""Metrics as OTLP: of the state of a run the points that OpenTelemetry's exporter sends."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from harness import __version__
from harness.errors import UsageError
from harness.metrics.families import Family, Point, families
from harness.metrics.tally import BOUNDS_S, Distribution, Tally

EVERY_S = 5.0
WITHIN_S = 5.0
_PATH = "/v1/metrics"


def endpoint(url: str) -> str:
    """Where metrics are sent to: `/v1/metrics` of a receiver, unless the URL has a path. Raises UsageError."""
    hint = "write it like http://127.0.0.1:4318"
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError
    except ValueError:
        raise UsageError(f"--metrics-otlp {url!r} is no URL of http or https", hint) from None
    return parts._replace(path=_PATH).geturl() if parts.path in ("", "/") else url


class Pusher:
    """Sends the state of a run to a receiver, all of it each time. `failed` are the times that did not work."""

    def __init__(self, url: str) -> None:
        self.pushed = self.failed = 0
        self._exporter = OTLPMetricExporter(endpoint=url, timeout=WITHIN_S)

    def push(self, points: MetricsData) -> bool:
        """Whether the receiver took it."""
        took = self._exporter.export(points) is MetricExportResult.SUCCESS
        self.pushed += took
        self.failed += not took
        return took

    def close(self) -> None:
        self._exporter.shutdown()


def metrics_data(tallies: Sequence[Tally]) -> MetricsData:
    """The metrics of some runs, cumulative since each began."""
    names = {"service.name": "harness", "service.version": __version__, "host.name": socket.gethostname()}
    instance = {} if len(tallies) != 1 else {"service.instance.id": tallies[0].run_id}
    resource = Resource({**names, **instance})
    scope = InstrumentationScope("harness.metrics", __version__)
    metrics = [_metric(family) for family in families(tallies)]
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(scope, metrics, "")], "")])


def _metric(family: Family) -> Metric:
    if family.kind == "histogram":
        points = [_histogram_point(point, found) for point, found in _distributions(family)]
        return Metric(family.name, family.help, family.unit, Histogram(points, AggregationTemporality.CUMULATIVE))
    numbers = [
        NumberDataPoint(dict(point.labels), point.started_ns, point.at_ns, point.value)
        for point in family.points
        if not isinstance(point.value, Distribution)
    ]
    if family.kind == "counter":
        counted = Sum(numbers, AggregationTemporality.CUMULATIVE, is_monotonic=True)
        return Metric(family.name, family.help, family.unit, counted)
    return Metric(family.name, family.help, family.unit, Gauge(numbers))


def _distributions(family: Family) -> Iterator[tuple[Point, Distribution]]:
    for point in family.points:
        if isinstance(point.value, Distribution):
            yield point, point.value


def _histogram_point(point: Point, found: Distribution) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes=dict(point.labels),
        start_time_unix_nano=point.started_ns,
        time_unix_nano=point.at_ns,
        count=found.n,
        sum=found.sum_s,
        bucket_counts=found.counts.tolist(),
        explicit_bounds=BOUNDS_S,
        min=found.least_s,
        max=found.most_s,
        exemplars=[
            Exemplar({}, example.value_s, example.at_ns, int(example.span_id, 16), int(example.trace_id, 16))
            for example in found.examples.values()
        ],
    )
