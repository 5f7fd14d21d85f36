"""Marks: what one request did and when, noted while it runs and made into spans after the answer left.

A mark costs two clock readings and an object. The innermost open mark travels in a context variable, so that
threads and tasks that inherit the context nest where they were started.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from time import perf_counter_ns
from types import CodeType, TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from harness.instrument import thread_cpu
from harness.instrument.quiet import LOG

P = ParamSpec("P")
R = TypeVar("R")

STAGES = ("upload", "queue", "preprocess", "inference", "postprocess", "download")
"""The stages a latency is split into; a mark with any other name is only a span."""

SHORTEST_WAIT_NS = 10_000
"""A wait that the instrumentation noted itself is kept from here on: a span would cost more than a shorter one."""

MAX_MARKS = 10_000
"""Per request: a stage inside an endless stream must not eat the memory of the service."""

_MAY_PAUSE = (
    inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE
)  # fmt: skip
_MAX_LOGGED_NAMES = 100
_logged_names: set[str] = set()


class Record:
    """One request as the service sees it. Instants are `perf_counter_ns` readings, `epoch_ns` is that of `start`."""

    __slots__ = (
        "body_complete", "body_end", "closed", "cpu_reading", "dropped", "end", "epoch_ns", "error", "first_send",
        "joined", "last_send", "marks", "parent_id", "parent_is_here", "provider", "receiving", "root_id", "sending",
        "start", "status", "streamed", "timing_wanted", "trace_id", "waiting",
    )  # fmt: skip

    def __init__(self, start: int, epoch_ns: int, trace_id: int, root_id: int, parent_id: int | None) -> None:
        self.start = start
        self.epoch_ns = epoch_ns
        self.trace_id = trace_id
        self.root_id = root_id
        self.parent_id = parent_id
        self.provider: Any = None  # the SDK TracerProvider whose processors get the spans; None: not recorded
        self.parent_is_here = False  # the parent is a span of this process
        self.joined: Any = None  # the OpenTelemetry context that the service's plain spans find
        self.timing_wanted = False
        self.end: int | None = None
        self.body_end: int | None = None  # the last message of the request's body was here
        self.first_send: int | None = None
        self.last_send: int | None = None
        self.streamed = False  # the body came in parts: it may have been made after the first one left
        self.status: int | None = None
        self.error: str | None = None
        self.body_complete = False
        self.closed = False
        self.dropped = 0
        self.cpu_reading: thread_cpu.Reading | None = None
        self.marks: list[Mark] = []
        self.waiting: set[Mark] = set()  # waits in flight; kept as marks once they turn out long enough
        self.receiving: Transfer | None = None
        self.sending: Transfer | None = None

    def add(self, mark: Mark) -> None:
        if len(self.marks) < MAX_MARKS:
            self.marks.append(mark)
        else:
            self.dropped += 1

    def all_marks(self) -> list[Mark]:
        """Those that ended or were opened by the service, then the waits still in flight."""
        if not self.waiting and self.receiving is None and self.sending is None:
            return self.marks
        found = [*self.marks, *self.waiting]
        for stage, transfer in (("upload", self.receiving), ("download", self.sending)):
            if transfer is not None:
                found.append(Mark(self, _still_open(transfer[0]), stage, stage, None, transfer[1]))
        return found

    def forget(self) -> None:
        """Marks know their record: without this every request would wait for the garbage collector."""
        self.marks, self.waiting = [], set()
        self.receiving = self.sending = None


class Mark:
    """A stretch of a request. `stage` is None for names outside STAGES."""

    __slots__ = (
        "attributes", "code", "cpu_ns", "end", "error", "name", "opened", "opened_by", "outer", "parent", "record",
        "stage", "start",
    )  # fmt: skip

    def __init__(
        self,
        record: Record,
        parent: Mark | None,
        stage: str | None,
        name: str,
        attributes: dict[str, object] | None,
        start: int,
    ) -> None:
        self.record = record
        self.parent = parent
        self.stage = stage
        self.name = name
        self.attributes = attributes
        self.start = start
        self.end: int | None = None
        self.error: str | None = None
        self.cpu_ns: int | None = None
        self.code: CodeType | None = None  # who opened it, if that cannot pause, and the thread's CPU time then
        self.opened: thread_cpu.Reading | None = None
        self.opened_by: stage_type | None = None
        self.outer: Mark | None = None


Transfer = tuple[Mark, int]
"""A message of the body on its way in or out: the innermost mark and the instant when it was asked for."""

_innermost: ContextVar[Mark | None] = ContextVar("harness_mark", default=None)


def innermost() -> Mark | None:
    """The innermost open mark of the request this code runs for; None outside a request or after its answer."""
    mark = _innermost.get()
    return None if mark is None or mark.record.closed else _still_open(mark)


def _still_open(mark: Mark) -> Mark:
    # A task may outlive the stage it was started in.
    while mark.end is not None and mark.parent is not None:
        mark = mark.parent
    return mark


enter_root = _innermost.set
leave_root = _innermost.reset


def add_mark(
    parent: Mark,
    stage: str | None,
    name: str,
    start: int,
    end: int,
    attributes: dict[str, object] | None = None,
) -> Mark:
    """Note a stretch that is already over, in `perf_counter_ns` readings; nothing is kept once the window is closed."""
    mark = Mark(parent.record, parent, stage, name, attributes, start)
    mark.end = end
    if not parent.record.closed:
        parent.record.add(mark)
    return mark


def begin_wait(
    parent: Mark, stage: str, resource: str | None = None, attributes: dict[str, object] | None = None
) -> Mark:
    """Open a wait that the instrumentation noticed itself."""
    if resource:
        attributes = {"resource": resource, **(attributes or {})}
    wait = Mark(parent.record, parent, stage, resource or stage, attributes, perf_counter_ns())
    if not parent.record.closed:
        parent.record.waiting.add(wait)
    return wait


def end_wait(wait: Mark, at: int | None = None) -> None:
    """Close a wait; a short one leaves no trace. A second call does nothing."""
    if wait.end is not None:
        return
    wait.end = perf_counter_ns() if at is None else at
    record = wait.record
    if wait.end - wait.start >= SHORTEST_WAIT_NS and not record.closed:
        record.add(wait)
    record.waiting.discard(wait)


def begin_transfer(root: Mark, start: int) -> Transfer:
    """What `receiving` or `sending` of a record is set to. A tuple, because most transfers wait for nobody."""
    mark = _innermost.get()
    return (root if mark is None or mark.record is not root.record else mark, start)


def end_transfer(transfer: Transfer, stage: str, end: int) -> None:
    """Keep a transfer as a mark if it was long enough to be a wait."""
    mark, start = transfer
    if end - start >= SHORTEST_WAIT_NS:
        add_mark(_still_open(mark), stage, stage, start, end)


class stage:  # noqa: N801 - reads as a statement where it is used: `with stage("inference"):`
    """Mark a part of the current request as a stage: `with`, `async with`, or a decorator on either kind of function.

    Stages that count are upload, queue, preprocess, inference, postprocess and download; any other name becomes
    a span without a stage. `model`, `resource`, `batch_id`, `batch_size` and `device` are attributes the reports know;
    others are kept under their own name. Outside a request it does nothing; so it does in a thread that was started
    without the request's context (`loop.run_in_executor` passes none on, `asyncio.to_thread` does).
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
        outer = _innermost.get()
        if outer is not None and not outer.record.closed:
            self._begin(outer, sys._getframe(1).f_code)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # The mark to end is the context's own if this object opened it, so that one object may serve many requests.
        # A generator dependency may be left in another context than it was entered in; then it is the last one opened.
        mark = _innermost.get()
        if mark is not None and mark.opened_by is self:
            _innermost.set(mark.outer)
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
        outer = _innermost.get()
        if outer is not None and not outer.record.closed:
            self._begin(outer, None)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        if inspect.iscoroutinefunction(function):
            return cast("Callable[P, R]", self._around_async(function))

        @functools.wraps(function)
        def staged(*args: P.args, **kwargs: P.kwargs) -> R:
            with stage(self._stage, self._name, **self._attributes):
                return function(*args, **kwargs)

        return staged

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
        parent = outer if outer.end is None else _still_open(outer)
        record = outer.record
        mark = Mark(record, parent, known, self._name or self._stage, self._attributes, perf_counter_ns())
        mark.opened_by = self
        mark.outer = outer
        if code is not None and not code.co_flags & _MAY_PAUSE:
            mark.code, mark.opened = code, thread_cpu.read(record, mark.start)
        record.add(mark)
        _innermost.set(mark)
        self._mark = mark


def _kind(value: object) -> str:
    return "a function" if callable(value) else f"of type {type(value).__name__}"


stage_type = stage  # inside `Mark.__init__` the word is an argument


def _mention_once(name: str) -> None:
    if name not in _logged_names and len(_logged_names) < _MAX_LOGGED_NAMES:
        _logged_names.add(name)
        LOG.warning("'%s' is kept as a span without a stage; stages are %s", name, ", ".join(STAGES))
