"""What goes inside the API under test: `instrument(app)` once, `stage("...")` around the parts that matter.

    instrument(app)                                 # any ASGI or WSGI application

    with stage("preprocess"):                       # also `async with`, also @stage("preprocess")
        image = decode(body)
    with stage("inference", model="det", batch_size=8):
        boxes = model(image)

Who waits for something says so around the waiting alone, not around the work it waits for:

    with stage("queue", resource="model_lock"):     # asyncio: `async with stage(...): await lock.acquire()`
        lock.acquire()
    try:
        with stage("inference", model="det"):
            boxes = model(image)
    finally:
        lock.release()

Waits for thread pools (`asyncio.to_thread`, `anyio.to_thread.run_sync`, `loop.run_in_executor`) are noticed without a
word. A service that puts requests together into batches tells with a `Batcher` who was in which.
"""

from __future__ import annotations

from harness.instrument import sdk as _sdk  # noqa: F401 - before what imports the SDK
from harness.instrument.batch import Batcher
from harness.instrument.install import instrument
from harness.instrument.staging import stage

__all__ = ["Batcher", "instrument", "stage"]
