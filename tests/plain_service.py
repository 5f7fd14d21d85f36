"""A service that knows OpenTelemetry and nothing of ours: the ASGI middleware of contrib and a tracer's own spans.

    python -m tests.plain_service OTLP_URL

`GET /stopwatch` hands out what the service itself timed: per trace, the seconds of each part.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.plain_serving import serve, tracer_provider

tracer = trace.get_tracer("plain")
timed: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))


@contextmanager
def part(name: str) -> Iterator[None]:
    with tracer.start_as_current_span(name) as span:
        began = time.perf_counter()
        yield
        timed[f"{span.get_span_context().trace_id:032x}"][name] += time.perf_counter() - began


async def detect(request: Request) -> Response:
    with part("decode"):
        await asyncio.sleep(0.008)
    with part("resize"):
        await asyncio.sleep(0.004)
    for _ in range(2):
        with part("run_model"):
            await asyncio.sleep(0.015)
    with part("nms"):
        await asyncio.sleep(0.006)
    return JSONResponse({"boxes": 3})


async def stopwatch(request: Request) -> Response:
    return JSONResponse(timed)


app = Starlette(routes=[Route("/detect", detect), Route("/stopwatch", stopwatch)])

if __name__ == "__main__":
    serve(OpenTelemetryMiddleware(app, tracer_provider=tracer_provider("plain", [f"http={sys.argv[1]}"])))
