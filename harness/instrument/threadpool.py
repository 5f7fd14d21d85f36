"""Waits around `anyio.to_thread.run_sync`, where Starlette and FastAPI run everything that is not async, and around
`asyncio.to_thread`.

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
    """Wrap the functions once the service has imported their modules; callers look them up at each call."""
    for module_name, name in (("anyio.to_thread", "run_sync"), ("asyncio", "to_thread")):
        module = sys.modules.get(module_name)
        original = getattr(module, name, None)
        if original is not None and not hasattr(original, _ORIGINAL):
            setattr(module, name, _measured(original))


def _measured(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def in_thread(func: Callable[..., Any], *args: Any, **options: Any) -> Any:
        parent = innermost()
        if parent is None:
            return await original(func, *args, **options)
        call = _Call(parent, func)
        try:
            return await original(call, *args, **options)
        finally:
            call.resumed()

    setattr(in_thread, _ORIGINAL, original)
    return in_thread


class _Call:
    """One function on its way through the pool."""

    __slots__ = ("func", "parent", "resume", "wait")

    def __init__(self, parent: Mark, func: Callable[..., Any]) -> None:
        self.parent = parent
        self.func = func
        self.wait = begin_wait(parent, "queue", "threadpool")
        self.resume: Mark | None = None

    def __call__(self, *args: Any, **options: Any) -> Any:
        end_wait(self.wait)
        try:
            return self.func(*args, **options)
        finally:
            self.resume = begin_wait(self.parent, "queue", "event_loop")

    def resumed(self) -> None:
        now = perf_counter_ns()
        end_wait(self.wait, now)  # cancelled before a worker took it
        if self.resume is not None:
            end_wait(self.resume, now)
