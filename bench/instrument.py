"""What the instrumentation costs: CPU per request of a small FastAPI application, called in process, without sockets.

    python bench/instrument.py

Every variant does the same work in the same four stages. The spans of all leave through real OTLP/HTTP exporters for a
collector in another process, so that building, encoding and posting them counts; each variant is flushed before its
CPU is read. CPU is that of the whole process, exporter threads included. All variants run in every round, in turn;
the table shows medians over the rounds.

The promise is against FastAPI's own telemetry as it is once providers are set (request and operation spans, metrics,
logs) with the four stages as spans of its tracer: same application, same stages.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from support import servers, table

from harness.instrument import instrument, pipeline, stage
from harness.instrument.ids import new_span_id, new_trace_id

ROUNDS = 61 if os.environ.get("FULL", "") not in ("", "0") else 25
REQUESTS = 200  # x 9 spans stay below the 2,048 that the SDK's queue holds between two flushes
STAGES = (("preprocess", None), ("inference", "det"), ("inference", "rec"), ("postprocess", None))
MARKS_PROMISE, MARKS_AIM = 8, 12
SPANS_PROMISE, SPANS_AIM = 2, 3

BARE = "bare FastAPI"
MARKS = "instrument(): 4 stages, Server-Timing"
SPANS = "instrument(): the same, 5 spans exported"
NATIVE = "FastAPI's own telemetry"
NATIVE_STAGES = "FastAPI's own telemetry, 4 stage spans"
CONTRIB_STAGES = "contrib ASGI middleware, 4 stage spans"

Staged = Callable[[str, str | None], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to measure the application: a request, and what sends the last spans."""

    call: Callable[[], Awaitable[None]]
    flush: Callable[[], object] = lambda: None


def application(staged: Staged | None = None, **options: Any) -> FastAPI:
    app = FastAPI(**options)
    around = staged or (lambda _name, _model: nullcontext())

    def work() -> None:  # not a coroutine: ours then also measures the CPU time of each stage
        for name, model in STAGES:
            with around(name, model):
                pass

    @app.get("/items/{number}")
    async def item(number: int) -> dict[str, int]:
        work()
        return {"number": number}

    return app


def marked(name: str, model: str | None) -> AbstractContextManager[object]:
    return stage(name) if model is None else stage(name, model=model)


def spanned(provider: TracerProvider) -> Staged:
    tracer = provider.get_tracer("bench")

    def around(name: str, model: str | None) -> AbstractContextManager[object]:
        if model is None:
            return tracer.start_as_current_span(name)
        return tracer.start_as_current_span(name, attributes={"model": model})

    return around


async def request(app: Any, flags: bytes = b"01") -> None:
    trace = b"00-%032x-%016x-%s" % (new_trace_id(), new_span_id(), flags)
    headers = [(b"host", b"bench"), (b"traceparent", trace), (b"x-mlharness-run", b"bench")]
    scope = {
        "type": "http", "method": "GET", "path": "/items/7", "raw_path": b"/items/7", "query_string": b"",
        "headers": headers, "scheme": "http", "http_version": "1.1", "server": ("bench", 80),
        "client": ("client", 1), "asgi": {"version": "3.0", "spec_version": "2.3"}, "root_path": "",
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        pass

    await app(scope, receive, send)


def providers(url: str, name: str) -> tuple[TracerProvider, MeterProvider, LoggerProvider]:
    """Set up as FastAPI does it by itself from OTEL_EXPORTER_OTLP_ENDPOINT; metrics leave once a minute."""
    resource = Resource.create({"service.name": name})
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{url}/v1/metrics"))
    meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
    loggers.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(f"{url}/v1/logs")))
    return tracers, meters, loggers


def flush_ours() -> None:
    thread = pipeline.start_flush()
    assert thread is not None
    thread.join()


def foreign(url: str, name: str, *, staged: bool, contrib: bool = False) -> Variant:
    tracers, meters, loggers = providers(url, name)
    around = spanned(tracers) if staged else None
    app: Any
    if contrib:
        app = application(around, telemetry={"tracing": False, "metrics": False, "logs": False})
        app = OpenTelemetryMiddleware(app, tracer_provider=tracers, meter_provider=meters)
    else:
        chosen = {"tracer_provider": tracers, "meter_provider": meters, "logger_provider": loggers}
        app = application(around, telemetry=chosen)
    return Variant(lambda: request(app), tracers.force_flush)


def variants(url: str) -> dict[str, Variant]:
    off: dict[str, Any] = {"telemetry": {"tracing": False, "metrics": False, "logs": False}}
    plain, measured = application(**off), instrument(application(marked, **off))
    return {
        BARE: Variant(lambda: request(plain)),
        MARKS: Variant(lambda: request(measured, flags=b"00")),  # the caller records nothing
        SPANS: Variant(lambda: request(measured), flush_ours),
        NATIVE: foreign(url, NATIVE, staged=False),
        NATIVE_STAGES: foreign(url, NATIVE_STAGES, staged=True),
        CONTRIB_STAGES: foreign(url, CONTRIB_STAGES, staged=True, contrib=True),
    }


async def cpu_us(variant: Variant) -> float:
    """CPU of the process per request, its spans sent; microseconds."""
    gc.collect()
    start = time.process_time_ns()
    for _ in range(REQUESTS):
        await variant.call()
    variant.flush()
    return (time.process_time_ns() - start) / REQUESTS / 1e3


async def measure(url: str) -> dict[str, float]:
    """CPU per request by variant: medians, microseconds."""
    chosen = variants(url)
    for variant in chosen.values():
        await cpu_us(variant)
    measured: dict[str, list[float]] = {name: [] for name in chosen}
    for number in range(ROUNDS):
        for name in list(chosen) if number % 2 else reversed(chosen):
            measured[name].append(await cpu_us(chosen[name]))
    return {name: statistics.median(values) for name, values in measured.items()}


def spans_sent(url: str) -> dict[str, float]:
    """Spans per request that the collector received, by variant."""
    with urllib.request.urlopen(f"{url}/spans") as answer:  # noqa: S310 - our own sink
        received: dict[str, int] = json.load(answer)
    return {name: count / (REQUESTS * (ROUNDS + 1)) for name, count in received.items()}


def main() -> None:
    with servers.python("otlp_sink.py") as sink:
        os.environ.update(OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, OTEL_SERVICE_NAME=SPANS)
        middle = asyncio.run(measure(sink.url))
        sent = spans_sent(sink.url)
    base, against = middle[BARE], middle[NATIVE_STAGES] - middle[BARE]
    added = {name: value - base for name, value in middle.items()}
    rows = [
        [name, f"{value:.1f}", f"{added[name]:.1f}", f"{against / added[name]:.1f}" if added[name] else "",
         f"{sent.get(name, 0):.0f}"]
        for name, value in middle.items()
    ]  # fmt: skip
    print(f"medians over {ROUNDS} rounds of {REQUESTS} requests, Python {sys.version.split()[0]}")
    table.show(["CPU per request, us", "all", "added", "times less*", "spans"], rows)
    print(f"* than what '{NATIVE_STAGES}' adds: same application, same stages")
    print(f"ours {pipeline.counts()}")
    held = [promised("marks and Server-Timing", against / added[MARKS], MARKS_PROMISE, MARKS_AIM)]
    held.append(promised("with all spans exported", against / added[SPANS], SPANS_PROMISE, SPANS_AIM))
    sys.exit(not all(held))


def promised(what: str, ratio: float, least: int, aim: int) -> bool:
    reached = "reached" if ratio >= aim else "not reached"
    return table.line(
        f"{what}: 1/{ratio:.1f} of native (at most 1/{least}; the aim of 1/{aim} is {reached})", ratio >= least
    )


if __name__ == "__main__":
    main()
