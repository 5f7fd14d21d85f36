"""A bare ASGI application for the tests of the export: it starts faster than one on a framework."""

from __future__ import annotations

import time
from typing import Any

from harness.instrument import instrument, stage


async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    with stage("inference"):
        time.sleep(0.05 if scope["path"] == "/block" else 0.001)  # holds the loop: another worker takes the next one
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


app = instrument(answer)
