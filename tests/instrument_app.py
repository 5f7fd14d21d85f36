"""The application that the tests of the instrumentation serve with uvicorn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from fastapi import BackgroundTasks, FastAPI, Request
from fastapi.responses import StreamingResponse

from harness.instrument import instrument, stage

app = FastAPI()
instrument(app)


@app.get("/items/{number}")
def item(number: int) -> dict[str, int]:
    with stage("preprocess"):
        time.sleep(0.002)
    with stage("inference", model="det", batch_size=2):
        time.sleep(0.004)
        with stage("queue", resource="lock"):
            time.sleep(0.003)
    return {"number": number, "twice": 2 * number}


@app.post("/upload")
async def upload(request: Request) -> dict[str, int]:
    with stage("preprocess"):
        body = await request.body()
    return {"size": len(body)}


@app.get("/stream")
async def stream(megabytes: int = 16) -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(megabytes * 16):
            yield b"x" * 65536

    return StreamingResponse(pieces())


@app.get("/background")
async def background(tasks: BackgroundTasks) -> dict[str, bool]:
    async def later() -> None:
        with stage("postprocess"):
            await asyncio.sleep(0.4)

    tasks.add_task(later)
    return {"ok": True}


@app.get("/sync")
def sync() -> None:
    time.sleep(0.5)


@app.get("/boom")
async def boom() -> None:
    with stage("inference"):
        raise RuntimeError("no model")
