"""Requests of several callers in one model call: a batch leaves when it is full, or when its first member has waited
as long as the window allows.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from harness.instrument import Batcher
from harness.instrument.batch import Ticket
from sample_service.models import Model

RESOURCE = "identify_batch"


@dataclass(frozen=True, slots=True)
class Batching:
    """At most `most` requests in a model call; the first of them waits at most `window_s` for the others."""

    most: int
    window_s: float


@dataclass(frozen=True, slots=True)
class _Member:
    row: NDArray[Any]
    answer: asyncio.Future[NDArray[np.float32]]
    ticket: Ticket
    leaves_at: float  # by the clock of the loop


@dataclass(frozen=True, slots=True)
class Batches:
    """The requests that wait for one model. `serve` must run in a task of its own, outside any request."""

    batching: Batching
    batcher: Batcher = field(default_factory=lambda: Batcher(RESOURCE))
    waiting: asyncio.Queue[_Member] = field(default_factory=asyncio.Queue)

    async def run(self, row: NDArray[Any]) -> NDArray[np.float32]:
        """The model's output for one row [...], of a batch with whatever else waits."""
        loop = asyncio.get_running_loop()
        with self.batcher.join() as ticket:
            answer: asyncio.Future[NDArray[np.float32]] = loop.create_future()
            self.waiting.put_nowait(_Member(row, answer, ticket, loop.time() + self.batching.window_s))
            return await answer

    async def serve(self, model: Model) -> None:
        """Run one batch after the other, until cancelled."""
        while True:
            members = await self._next()
            try:
                outputs = await anyio.to_thread.run_sync(self._call, model, members, abandon_on_cancel=True)
            except Exception as error:
                for member in members:
                    if not member.answer.done():
                        member.answer.set_exception(error)
                continue
            for member, output in zip(members, outputs, strict=True):
                if not member.answer.done():  # who gave up is not told
                    member.answer.set_result(output)

    async def _next(self) -> list[_Member]:
        members = [await self.waiting.get()]
        try:
            async with asyncio.timeout_at(members[0].leaves_at):
                while len(members) < self.batching.most:
                    members.append(await self.waiting.get())
        except TimeoutError:
            pass
        return members

    def _call(self, model: Model, members: list[_Member]) -> NDArray[np.float32]:
        with self.batcher.run([member.ticket for member in members], model=model.name):
            return model.run(np.stack([member.row for member in members]))
