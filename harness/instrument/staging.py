"""`stage(...)`: what a service writes around the parts of a request that matter."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Coroutine
from time import perf_counter_ns
from types import CodeType, TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from harness.instrument import thread_cpu
from harness.instrument.marks import STAGES, Mark, innermost_mark, still_open
from harness.instrument.quiet import LOG

P = ParamSpec("P")
R = TypeVar("R")

_MAY_PAUSE = (
    inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE
)  # fmt: skip
_MAX_LOGGED_NAMES = 100
_logged_names: set[str] = set()


class stage:  # noqa: N801 - reads as a statement where it is used: `with stage("inference"):`
    """Mark a part of the current request as a stage: `with`, `async with`, or a decorator on either kind of function.

    Stages that count are upload, queue, preprocess, inference, postprocess and download; any other name becomes
    a span without a stage. `model`, `resource`, `batch_id`, `batch_size` and `device` are attributes the reports know;
    others are kept under their own name. Outside a request it does nothing; so it does in a thread that was started
    without the request's context (`asyncio.to_thread`, `anyio.to_thread` and `loop.run_in_executor` pass it on).
    """

    __slots__ = ("_attributes", "_mark", "_name", "_stage")

    def __init__(self, stage: str, name: str | None = None, **attributes: object) -> None:
        if not isinstance(stage, str):
            raise TypeError(f'stage() needs the name of a stage, write @stage("inference"); this is {_kind(stage)}')
        self._stage = stage
        self._name = name
        self._attributes = attributes
        self._mark: Mark | None = None

    def __enter__(self) -> stage:
        outer = innermost_mark.get()
        if outer is not None and not outer.record.closed:
            self._begin(outer, sys._getframe(1).f_code)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # The mark to end is the context's own if this object opened it, so that one object may serve many requests.
        # A generator dependency may be left in another context than it was entered in; then it is the last one opened.
        mark = innermost_mark.get()
        if mark is not None and mark.opened_by is self:
            innermost_mark.set(mark.outer)
        else:
            mark = self._mark
            if mark is None:
                return  # outside a request
        self._mark = None
        mark.end = now = perf_counter_ns()
        # CPU time means something only if nothing else ran on the thread meanwhile: the `with` opened and closed
        # in one function that cannot pause (an ExitStack or a wrapper would show another function here).
        if mark.code is not None and mark.code is sys._getframe(1).f_code and mark.opened is not None:
            mark.cpu_ns = thread_cpu.spent(mark.opened, mark.record, now)
        if kind is not None:
            mark.error = kind.__qualname__

    async def __aenter__(self) -> stage:
        outer = innermost_mark.get()
        if outer is not None and not outer.record.closed:
            self._begin(outer, None)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        called = getattr(type(function), "__call__", None)  # noqa: B004 - of an object: the function that it runs
        if any(inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f) for f in (function, called)):
            raise TypeError("@stage() cannot measure a generator: write `with stage(...)` between its yields instead")
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called):
            return cast("Callable[P, R]", self._around_async(function))  # type: ignore[arg-type]

        @functools.wraps(function)
        def staged(*args: P.args, **kwargs: P.kwargs) -> R:
            with stage(self._stage, self._name, **self._attributes):
                made = function(*args, **kwargs)
            return cast("R", self._awaited(made)) if inspect.iscoroutine(made) else made

        return staged

    async def _awaited(self, made: Coroutine[Any, Any, R]) -> R:
        async with stage(self._stage, self._name, **self._attributes):
            return await made

    def _around_async(self, function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        @functools.wraps(function)
        async def staged(*args: P.args, **kwargs: P.kwargs) -> R:
            async with stage(self._stage, self._name, **self._attributes):
                return await function(*args, **kwargs)

        return staged

    def _begin(self, outer: Mark, code: CodeType | None) -> None:
        known: str | None = self._stage
        if known not in STAGES:
            _mention_once(self._stage)
            known = None
        parent = outer if outer.end is None else still_open(outer)
        record = outer.record
        mark = Mark(record, parent, known, self._name or self._stage, self._attributes, perf_counter_ns())
        mark.opened_by = self
        mark.outer = outer
        if code is not None and not code.co_flags & _MAY_PAUSE and not thread_cpu.is_shared():
            mark.code, mark.opened = code, thread_cpu.read(record, mark.start)
        record.add(mark)
        innermost_mark.set(mark)
        self._mark = mark


def _kind(value: object) -> str:
    return "a function" if callable(value) else f"of type {type(value).__name__}"


def _mention_once(name: str) -> None:
    if name not in _logged_names and len(_logged_names) < _MAX_LOGGED_NAMES:
        _logged_names.add(name)
        LOG.warning("'%s' is kept as a span without a stage; stages are %s", name, ", ".join(STAGES))
