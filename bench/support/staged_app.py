"""A small instrumented service: `staged_app.py PORT`. Four stages, a millisecond of work; spans where OTEL_* says."""

from __future__ import annotations

import sys
import time

import uvicorn
from fastapi import FastAPI

from harness.instrument import instrument, stage

app = FastAPI()


@app.post("/")
async def answer(document: dict[str, object]) -> dict[str, object]:
    """What a small model API does, in small."""
    with stage("preprocess"):
        words = str(document).split()
    with stage("inference", model="det"):
        until = time.perf_counter() + 0.001
        while time.perf_counter() < until:
            pass
    with stage("postprocess"):
        return {"words": len(words)}


instrument(app)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
