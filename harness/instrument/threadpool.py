"""Waits around thread pools: `anyio.to_thread.run_sync`, where Starlette and FastAPI run everything that is not async,
`asyncio.to_thread` and `loop.run_in_executor` of asyncio and uvloop.

From the call to the start in a worker the request waits for a thread (`threadpool`); from the end in the worker
until its coroutine runs again it waits for the event loop (`event_loop`). Both are `queue`. Of a future that
`run_in_executor` gave out it counts only if the coroutine was suspended when the function ended.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter_ns
from typing import Any

from harness.instrument.marks import Mark, begin_wait, end_wait, enter_root, innermost, leave_root
from harness.instrument.quiet import LOG

_ORIGINAL = "__harness_original__"


def install_if_used() -> None:
    """Wrap the functions once the service has imported their modules; callers look them up at each call."""
    for target in [target for target in _pending if target[0] in sys.modules]:
        module_name, owner, name, measured = target
        module = sys.modules.get(module_name)
        place = getattr(module, owner, None) if owner else module
        original = getattr(place, name, None)
        if original is None:
            continue  # another thread is importing it just now
        if not hasattr(original, _ORIGINAL):
            setattr(place, name, measured(original))
        if target in _pending:
            _pending.remove(target)


def _awaited(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """For a coroutine function whose first argument runs in a thread, with the context of the caller."""

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


def _submitted(original: Callable[..., Any]) -> Callable[..., Any]:
    """For a loop's method that returns a future; the function runs without the caller's context, but with our mark."""

    @functools.wraps(original)
    def run_in_executor(loop: Any, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        parent = innermost()
        if parent is None or not _stays_in_this_process(executor, loop) or not _is_plain(func):
            return original(loop, executor, func, *args)
        call = _Call(parent, func, carries_mark=True)
        call.task = asyncio.current_task(loop)
        try:
            future = original(loop, executor, call, *args)
        except BaseException:
            call.resumed()
            raise
        try:
            future.add_done_callback(call.resumed)
        except Exception:
            LOG.warning("the wait for a thread pool is not measured", exc_info=True)
        return future

    setattr(run_in_executor, _ORIGINAL, original)
    return run_in_executor


_Target = tuple[str, str, str, Callable[[Callable[..., Any]], Callable[..., Any]]]  # module, class, function, wrapper

_pending: list[_Target] = [
    ("anyio.to_thread", "", "run_sync", _awaited),
    ("asyncio", "", "to_thread", _awaited),
    ("asyncio.base_events", "BaseEventLoop", "run_in_executor", _submitted),
    ("uvloop", "Loop", "run_in_executor", _submitted),
]


def _stays_in_this_process(executor: Any, loop: Any) -> bool:
    """Of a pool of processes it is not known when a call begins. (uvloop does not show its default executor.)"""
    chosen = getattr(loop, "_default_executor", None) if executor is None else executor
    return chosen is None or isinstance(chosen, ThreadPoolExecutor)


def _is_plain(func: Any) -> bool:
    """False for what `asyncio.to_thread` sends, which is measured already, and for what the loop will refuse."""
    if isinstance(func, functools.partial) and func.args and isinstance(func.args[0], _Call):
        return False
    return not (asyncio.iscoroutine(func) or inspect.iscoroutinefunction(func))


class _Call:
    # One function on its way through the pool. Executors may look at what they run: to them it is the function.

    __slots__ = ("__weakref__", "carries_mark", "func", "gone", "parent", "resume", "task", "wait")

    def __init__(self, parent: Mark, func: Callable[..., Any], *, carries_mark: bool = False) -> None:
        self.func = func
        self.parent = parent
        self.carries_mark = carries_mark
        self.wait = begin_wait(parent, "queue", "threadpool")
        self.resume: Mark | None = None
        self.gone = False  # nobody waits for the end any more
        self.task: Any = None  # who called, where the way back counts only once it waits

    def __getattr__(self, name: str) -> Any:
        return getattr(self.func, name)

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        return self.func

    def __eq__(self, other: object) -> bool:
        return bool(self.func == (other.func if isinstance(other, _Call) else other))

    def __hash__(self) -> int:
        return hash(self.func)

    def __call__(self, *args: Any, **options: Any) -> Any:
        end_wait(self.wait)
        token = enter_root(self.parent) if self.carries_mark else None
        try:
            return self.func(*args, **options)
        finally:
            if token is not None:
                leave_root(token)
            if not self.gone and self._is_awaited():
                self.resume = begin_wait(self.parent, "queue", "event_loop")
                if self.gone:
                    end_wait(self.resume)

    def _is_awaited(self) -> bool:
        """Whoever holds a future may work on the loop before it awaits it; that is not a wait for the loop. A task that
        is suspended on anything, such as a `gather` of several calls, is taken to wait."""
        return not self.carries_mark or getattr(self.task, "_fut_waiter", None) is not None

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Off to another process: the function goes alone, and how long it waits there is not known."""
        self.wait.end = self.wait.start
        self.parent.record.waiting.discard(self.wait)
        return _itself, (self.func,)

    def resumed(self, _: object = None) -> None:
        self.gone = True
        self.task = None
        now = perf_counter_ns()
        end_wait(self.wait, now)  # cancelled before a worker took it
        if self.resume is not None:
            end_wait(self.resume, now)


def _itself(func: Callable[..., Any]) -> Callable[..., Any]:
    return func
