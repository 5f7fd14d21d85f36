"""Waits around `anyio.to_thread.run_sync`, where Starlette and FastAPI run everything that is not async.

From the call to the start in a worker the request waits for a thread (`threadpool`); from the end in the worker
until its coroutine runs again it waits for the event loop (`event_loop`). Both are `queue`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter_ns
from typing import Any

from harness.instrument.marks import Mark, begin_wait, end_wait, innermost

_ORIGINAL = "__harness_original__"


def install_if_used() -> None:
    """Wrap the function once the service has imported anyio; its callers look it up at each call."""
    module = sys.modules.get("anyio.to_thread")
    original = getattr(module, "run_sync", None)
    if original is not None and not hasattr(original, _ORIGINAL):
        module.run_sync = _measured(original)  # type: ignore[union-attr]


def _measured(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def run_sync(func: Callable[..., Any], *args: Any, **options: Any) -> Any:
        parent = innermost()
        if parent is None:
            return await original(func, *args, **options)
        call = _Call(parent, func)
        try:
            return await original(call, *args, **options)
        finally:
            call.resumed()

    setattr(run_sync, _ORIGINAL, original)
    return run_sync


class _Call:
    """One function on its way through the pool."""

    __slots__ = ("func", "parent", "resume", "wait")

    def __init__(self, parent: Mark, func: Callable[..., Any]) -> None:
        self.parent = parent
        self.func = func
        self.wait = begin_wait(parent, "queue", "threadpool")
        self.resume: Mark | None = None

    def __call__(self, *args: Any) -> Any:
        end_wait(self.wait)
        try:
            return self.func(*args)
        finally:
            self.resume = begin_wait(self.parent, "queue", "event_loop")

    def resumed(self) -> None:
        now = perf_counter_ns()
        end_wait(self.wait, now)  # cancelled before a worker took it
        if self.resume is not None:
            end_wait(self.resume, now)
