"""How late an event loop is: a timer of 100 ms, set again each time it fires, and by how much it overshoots."""

from __future__ import annotations

import asyncio
import sys
import weakref
from contextvars import Context
from time import perf_counter
from typing import Any

EVERY_S = 0.1


class LoopProbe:
    """Lives in one asyncio or uvloop loop, and is asked from another thread."""

    __slots__ = ("_context", "_due", "_largest", "_limiter", "_looks", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """To be called in the loop."""
        self._loop = weakref.ref(loop)
        self._largest = 0.0
        self._limiter: Any = None
        self._looks = True
        self._context = Context()  # not that of the request that happened to be the first
        self._arm(loop)

    def watches(self, loop: asyncio.AbstractEventLoop) -> bool:
        return self._loop() is loop

    def look_for_limiter(self) -> None:
        """Get to know anyio's default limiter. To be called in a task of the loop."""
        if self._looks and (anyio := sys.modules.get("anyio.to_thread")) is not None:
            self._looks = False
            self._limiter = anyio.current_default_thread_limiter()

    def is_over(self) -> bool:
        loop = self._loop()
        return loop is None or loop.is_closed()

    def lag_s(self) -> float | None:
        """The largest overshoot since the last call; None while the loop does not run. It may be stuck right now."""
        loop = self._loop()
        if loop is None or not loop.is_running():
            return None
        largest, self._largest = max(self._largest, perf_counter() - self._due), 0.0
        return largest

    def threads(self) -> tuple[float, int, int] | None:
        """Size of anyio's default thread pool, threads in use, calls waiting; None where nobody uses it."""
        if self._limiter is None:
            return None
        now = self._limiter.statistics()
        return now.total_tokens, now.borrowed_tokens, now.tasks_waiting

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = perf_counter() + EVERY_S
        loop.call_later(EVERY_S, self._fired, context=self._context)

    def _fired(self) -> None:
        self._largest = max(self._largest, perf_counter() - self._due)
        loop = self._loop()
        if loop is not None and not loop.is_closed():
            self._arm(loop)
