"""A small batcher: the first member opens a window, whoever came until it closes runs together, one batch at a time.

Its marks are those of the batching part of the instrumentation. Its stopwatch runs beside them: a member has waited
until the batch began, and then the whole batch long.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from harness.instrument import Batcher
from tests.known_delay_watch import Watch, now

WINDOW_S = 0.010
RUN_S = 0.020
MAX_MEMBERS = 2


@dataclass
class Member:
    """One request in the queue."""

    watch: Watch
    ticket: Any  # what joining the batcher returned
    since_ns: int
    done: asyncio.Future[None]


class Queue:
    """Call it for one request; it returns when the batch has run."""

    def __init__(self) -> None:
        self._batcher = Batcher()
        self._waiting: list[Member] = []
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, watch: Watch) -> None:
        with self._batcher.join() as ticket:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(Member(watch, ticket, now(), done))
            if self._running is None or self._running.done():
                self._running = asyncio.create_task(self._run())
            await done

    async def _run(self) -> None:
        while self._waiting:
            if len(self._waiting) < MAX_MEMBERS:
                await asyncio.sleep(WINDOW_S)
            members, self._waiting = self._waiting[:MAX_MEMBERS], self._waiting[MAX_MEMBERS:]
            with self._batcher.run([member.ticket for member in members], model="batched"):
                began = now()
                await asyncio.sleep(RUN_S)
                ended = now()
            for member in members:
                member.watch.add("queue", member.since_ns, began, resource="batcher")
                member.watch.add("inference", began, ended)
                member.done.set_result(None)
