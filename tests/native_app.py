"""A FastAPI application that knows nothing of us: its native telemetry is switched on by the environment."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import Depends, FastAPI
from opentelemetry import trace

app = FastAPI()


def settings() -> int:
    time.sleep(0.02)
    return 3


@app.get("/plain")
def plain(lines: Annotated[int, Depends(settings)]) -> dict[str, int]:
    time.sleep(0.05)
    return {"lines": lines}


@app.get("/spanned")
def spanned() -> dict[str, int]:
    tracer = trace.get_tracer("app")
    with tracer.start_as_current_span("decode"):
        time.sleep(0.02)
    with tracer.start_as_current_span("det.run"):
        time.sleep(0.03)
    return {"lines": 3}
