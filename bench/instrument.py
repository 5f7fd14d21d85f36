"""What the instrumentation costs: CPU per request of a small FastAPI application, in-process, without sockets.

    python bench/instrument.py

Every variant runs in every round, in turn, so that a slow moment of the machine hits all alike; the table shows
medians over the rounds. CPU is that of the whole process, worker and exporter threads included.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import FastAPI
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from harness.instrument import instrument, pipeline, stage

ROUNDS = 25
REQUESTS = 150
TRACEPARENT = (b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")
RUN = (b"x-mlharness-run", b"bench")

Call = Callable[[], Awaitable[None]]


class Nowhere(SpanExporter):
    """Takes every span and drops it."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def a_provider() -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=65536, max_export_batch_size=2048))
    return provider


def bare(**options: Any) -> FastAPI:
    app = FastAPI(**options)

    @app.get("/items/{number}")
    async def item(number: int) -> dict[str, int]:
        return {"number": number}

    return app


def staged(**options: Any) -> FastAPI:
    app = FastAPI(**options)

    @app.get("/items/{number}")
    async def item(number: int) -> dict[str, int]:
        with stage("preprocess"):
            pass
        with stage("inference", model="det"):
            pass
        with stage("inference", model="rec"):
            pass
        with stage("postprocess"):
            pass
        return {"number": number}

    return app


async def request(app: Any, headers: Sequence[tuple[bytes, bytes]]) -> None:
    scope = {
        "type": "http", "method": "GET", "path": "/items/7", "raw_path": b"/items/7", "query_string": b"",
        "headers": [(b"host", b"bench"), *headers], "scheme": "http", "http_version": "1.1", "server": ("bench", 80),
        "client": ("client", 1), "asgi": {"version": "3.0", "spec_version": "2.3"}, "root_path": "",
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        pass

    await app(scope, receive, send)


def variants() -> dict[str, Call]:
    off: dict[str, Any] = {"telemetry": {"tracing": False, "metrics": False, "logs": False}}
    plain, measured = bare(**off), instrument(staged(**off))
    native = bare(telemetry={"tracer_provider": a_provider(), "metrics": False, "logs": False})
    exported = a_provider()

    def recording(chosen: TracerProvider | None) -> Call:
        async def call() -> None:
            pipeline._own, pipeline._looked = chosen, True
            await request(measured, [TRACEPARENT, RUN])

        return call

    return {
        "bare FastAPI": lambda: request(plain, [TRACEPARENT]),
        "instrument(), 4 marks, Server-Timing": recording(None),
        "  the same, 5 spans exported": recording(exported),
        "FastAPI's own telemetry, 4 spans": lambda: request(native, [TRACEPARENT]),
    }


async def cpu_us(call: Call) -> float:
    """CPU of the process per request, microseconds."""
    start = time.process_time_ns()
    for _ in range(REQUESTS):
        await call()
    return (time.process_time_ns() - start) / REQUESTS / 1e3


async def main() -> None:
    calls = variants()
    for call in calls.values():
        await cpu_us(call)
    measured: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(ROUNDS):
        order = list(calls) if number % 2 else list(reversed(calls))
        for name in order:
            measured[name].append(await cpu_us(calls[name]))
    base = statistics.median(next(iter(measured.values())))
    print(f"medians over {ROUNDS} rounds of {REQUESTS} requests, Python {sys.version.split()[0]}")
    print(f"{'CPU per request':40} {'us':>8} {'added':>8} {'ratio':>7}")
    for name, values in measured.items():
        middle = statistics.median(values)
        print(f"{name:40} {middle:8.1f} {middle - base:8.1f} {middle / base:7.2f}")


if __name__ == "__main__":
    asyncio.run(main())
