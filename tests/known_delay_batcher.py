"""A small batcher: the first member opens a window, whoever came until it closes runs together, one batch at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import count

from harness.instrument import stage
from tests.known_delay_watch import Watch, now

WINDOW_S = 0.010
RUN_S = 0.020
MAX_MEMBERS = 2


@dataclass
class Batch:
    """The run that a member becomes part of; its own clock says from when until when."""

    number: int
    size: int
    began_ns: int
    ended_ns: int = 0


class Batcher:
    """Call it for one member; it returns when the batch has run."""

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.Future[Batch], asyncio.Future[None]]] = []
        self._running: asyncio.Task[None] | None = None
        self._numbers = count()

    async def __call__(self, watch: Watch) -> None:
        loop = asyncio.get_running_loop()
        taken: asyncio.Future[Batch] = loop.create_future()
        done: asyncio.Future[None] = loop.create_future()
        with stage("queue", resource="batcher"), watch("queue", resource="batcher"):
            self._waiting.append((taken, done))
            if self._running is None or self._running.done():
                self._running = asyncio.create_task(self._run())
            batch = await taken
        with stage("inference", model="batched", batch_id=batch.number, batch_size=batch.size), watch("inference"):
            await done

    async def _run(self) -> None:
        while self._waiting:
            if len(self._waiting) < MAX_MEMBERS:
                await asyncio.sleep(WINDOW_S)
            members, self._waiting = self._waiting[:MAX_MEMBERS], self._waiting[MAX_MEMBERS:]
            batch = Batch(next(self._numbers), len(members), now())
            for taken, _ in members:
                taken.set_result(batch)
            await asyncio.sleep(RUN_S)
            batch.ended_ns = now()
            for _, done in members:
                done.set_result(None)
