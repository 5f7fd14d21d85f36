"""Metrics as Prometheus reads them: its text format, or OpenMetrics with a request as example in each bucket."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from prometheus_client import exposition as text_format
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics_format
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from harness.errors import RunFolderError
from harness.following import Follower, running
from harness.metrics.families import Family, families
from harness.metrics.tally import BOUNDS_S, Distribution, Tally
from harness.run_folder import RunFolder

KEPT_S = 60.0
"""How long a run that has ended is still told: a few scrapes."""
_UNITS = {"s": "_seconds", "{request}/s": "_requests_per_second"}


def exposition(tallies: Sequence[Tally], openmetrics: bool = False) -> bytes:
    """The metrics of some runs as text."""
    encode = openmetrics_format.generate_latest if openmetrics else text_format.generate_latest
    text: bytes = encode(_Collected(families(tallies)))
    return text


def answer(tallies: Sequence[Tally], accept: str) -> tuple[bytes, str]:
    """The metrics in the format that an Accept header asks for, and its content type."""
    encode, content_type = text_format.choose_encoder(accept)
    return encode(_Collected(families(tallies))), content_type


class _Collected(Collector):
    """Families as the encoders take them."""

    def __init__(self, found: Sequence[Family]) -> None:
        self._families = found

    def collect(self) -> Iterable[Metric]:
        return map(_metric, self._families)


def _metric(family: Family) -> Metric:
    name = family.name.replace(".", "_") + _UNITS.get(family.unit, "")
    keys = sorted({key for point in family.points for key in point.labels})
    made: dict[str, Any] = {
        "counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily,
    }  # fmt: skip
    metric = made[family.kind](name, family.help, labels=keys)
    for point in family.points:
        labels = [point.labels.get(key, "") for key in keys]
        if isinstance(point.value, Distribution):
            metric.add_metric(labels, list(_buckets(point.value)), point.value.sum_s)
        else:
            metric.add_metric(labels, float(point.value))
    finished: Metric = metric
    return finished


def _buckets(found: Distribution) -> Iterator[tuple[str, float, Exemplar | None]]:
    """(upper end, how many up to it, a request of this bucket)."""
    ends = (*map(floatToGoString, BOUNDS_S), "+Inf")
    for bucket, (end, count) in enumerate(zip(ends, found.counts.cumsum().tolist(), strict=True)):
        example = found.examples.get(bucket)
        told = None
        if example is not None:
            of = {"trace_id": example.trace_id, "span_id": example.span_id}
            told = Exemplar(of, example.value_s, example.at_ns / 1e9)
        yield end, float(count), told


# --- the runs of a folder --------------------------------------------------------------------------------------------


class Runs:
    """The runs below a folder that are on, followed from scrape to scrape. May be asked from several threads."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._known: dict[Path, tuple[Follower, Tally]] = {}
        self._over_at: dict[Path, float] = {}
        self._lock = threading.Lock()

    def tallies(self) -> list[Tally]:
        """What is known now; a run that ended is told a little longer."""
        with self._lock:
            for path in running(self._runs):
                if path not in self._known:
                    with suppress(RunFolderError):
                        folder = RunFolder(path)
                        self._known[path] = Follower(folder), Tally.of(folder)
            for path in list(self._known):
                self._look(path)
            return [tally for _, tally in self._known.values()]

    def _look(self, path: Path) -> None:
        follower, tally = self._known[path]
        now = time.monotonic()
        if tally.over:
            if now - self._over_at.setdefault(path, now) > KEPT_S:
                del self._known[path], self._over_at[path]
            return
        try:
            tally.take(follower.poll())
        except RunFolderError:  # it was deleted
            del self._known[path]


@lru_cache(8)
def _runs(runs: Path) -> Runs:
    return Runs(runs)


def exposition_of(runs: Path, accept: str = "") -> tuple[bytes, str]:
    """The metrics of the runs below a folder that are on, and the content type: what a scrape is answered with."""
    return answer(_runs(runs.resolve()).tallies(), accept)
