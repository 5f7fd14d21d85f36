"""A service of known lengths that times itself: the instrumentation knows nothing of the stopwatch beside its marks.

    python -m tests.known_delay_app

`GET /stopwatch` hands out what was timed: one object per request, its laps in `perf_counter_ns` readings. Without
KNOWN_DELAY_EXPORTERS ("http=URL grpc=URL ...") spans go where OTEL_EXPORTER_OTLP_ENDPOINT says.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import anyio.to_thread
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response

from harness.instrument import instrument, stage
from tests.known_delay_batcher import Queue
from tests.known_delay_watch import WATCHES, Stopwatches, Watch, now
from tests.plain_serving import serve, tracer_provider

POOL_THREADS = 2
"""Shared by /plain and /pool."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = POOL_THREADS
    yield


if os.environ.get("KNOWN_DELAY_EXPORTERS"):
    tracer_provider("known-delay", os.environ["KNOWN_DELAY_EXPORTERS"].split())
app = FastAPI(lifespan=lifespan, telemetry={"tracing": False, "metrics": False, "logs": False})
app.add_middleware(Stopwatches)
instrument(app)
model_lock = asyncio.Lock()
batched = Queue()


async def watch_of(request: Request) -> Watch:
    watch: Watch = request.scope["watch"]
    watch.asked_ns = now()
    return watch


Timed = Annotated[Watch, Depends(watch_of)]


@app.get("/stopwatch")
async def stopwatch() -> Response:
    return JSONResponse([watch.told() for watch in WATCHES])


@app.get("/plain")
def plain(watch: Timed) -> Response:
    watch.add("queue", watch.asked_ns, now(), resource="threadpool")
    with stage("preprocess"), watch("preprocess"):
        time.sleep(0.010)
    with stage("inference", model="det"), watch("inference"):
        time.sleep(0.030)
    with stage("postprocess"), watch("postprocess"):
        time.sleep(0.005)
    watch.left_pool_ns = now()
    return Response(b"ok")


@app.get("/pool")
def pool(watch: Timed) -> Response:
    watch.add("queue", watch.asked_ns, now(), resource="threadpool")
    with stage("inference", model="det"), watch("inference"):
        time.sleep(0.040)
    watch.left_pool_ns = now()
    return Response(b"ok")


@app.get("/async")
async def in_turn(watch: Timed) -> Response:
    async with stage("preprocess"):
        with watch("preprocess"):
            await asyncio.sleep(0.010)
    with stage("inference", model="det"), watch("inference"):
        await asyncio.sleep(0.030)
    with stage("postprocess"), watch("postprocess"):
        await asyncio.sleep(0.005)
    return Response(b"ok")


@app.get("/gather")
async def gather(watch: Timed) -> Response:
    """Two models side by side, then work of two kinds side by side: its common part belongs half to each."""

    async def work(kind: str, model: str | None, length_s: float, beside: str) -> None:
        with stage(kind, model=model), watch(kind, beside=beside):
            await asyncio.sleep(length_s)

    await asyncio.gather(work("inference", "a", 0.020, "first"), work("inference", "b", 0.030, "first"))
    await asyncio.gather(work("inference", "c", 0.030, "second"), work("postprocess", None, 0.020, "second"))
    return Response(b"ok")


@app.get("/threads")
async def threads(watch: Timed) -> Response:
    """Two trips into threads; the second one from within an open stage, which it interrupts with one of its own."""

    def prepare() -> int:
        watch.add("queue", asked, now(), resource="threadpool")
        with stage("preprocess"), watch("preprocess", name="prepare"):
            time.sleep(0.005)
            with stage("queue", resource="cache"), watch("queue", inside="prepare", resource="cache"):
                time.sleep(0.006)
            time.sleep(0.004)
        return now()

    def crop() -> int:
        watch.add("queue", asked, now(), inside="chain", resource="threadpool")
        with stage("postprocess"), watch("postprocess", inside="chain"):
            time.sleep(0.008)
        return now()

    asked = now()
    left = await asyncio.to_thread(prepare)
    watch.add("queue", left, now(), resource="event_loop")
    with stage("inference", model="det"), watch("inference", name="chain"):
        await asyncio.sleep(0.012)
        asked = now()
        left = await asyncio.to_thread(crop)
        watch.add("queue", left, now(), inside="chain", resource="event_loop")
        await asyncio.sleep(0.010)
    return Response(b"ok")


@app.get("/lock")
async def lock(watch: Timed) -> Response:
    with stage("queue", resource="model_lock"), watch("queue", resource="model_lock"):
        await model_lock.acquire()
    try:
        with stage("inference", model="det"), watch("inference"):
            await asyncio.sleep(0.015)
    finally:
        model_lock.release()
    return Response(b"ok")


@app.get("/batch")
async def batch(watch: Timed) -> Response:
    await batched(watch)
    return Response(b"ok")


if __name__ == "__main__":
    serve(app)
