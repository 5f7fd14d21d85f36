"""Marks: what one request did and when, noted while it runs and made into spans after the answer left.

A mark costs two clock readings and an object. The innermost open mark travels in a context variable, so that
threads and tasks that inherit the context nest where they were started.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from time import perf_counter_ns
from types import CodeType
from typing import Any

from harness.instrument import thread_cpu

STAGES = ("upload", "queue", "preprocess", "inference", "postprocess", "download")
"""The stages a latency is split into; a mark with any other name is only a span."""

SHORTEST_WAIT_NS = 10_000
"""A wait that the instrumentation noted itself is kept from here on: a span would cost more than a shorter one."""

MAX_MARKS = 10_000
"""Per request: a stage inside an endless stream must not eat the memory of the service."""

KEPT_ONE_BY_ONE = 64
"""Waits of a request that the instrumentation noted itself, each a span; those that follow are added up."""


class Record:
    """One request as the service sees it. Instants are `perf_counter_ns` readings, `epoch_ns` is that of `start`."""

    __slots__ = (
        "added_up", "body_complete", "body_end", "closed", "cpu_reading", "dropped", "end", "epoch_ns", "error",
        "first_send", "joined", "last_send", "marks", "parent_id", "parent_is_here", "provider", "receiving", "root_id",
        "sending", "start", "status", "streamed", "timing_wanted", "trace_id", "waiting", "waits",
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
        self.waits = 0  # those among the marks that the instrumentation noted itself
        self.added_up: Sums | None = None
        self.waiting: set[Mark] = set()  # waits in flight; kept as marks once they turn out long enough
        self.receiving: Transfer | None = None
        self.sending: Transfer | None = None

    def add(self, mark: Mark) -> None:
        if len(self.marks) < MAX_MARKS:
            self.marks.append(mark)
        else:
            self.dropped += 1

    def add_wait(self, wait: Mark) -> None:
        """Keep a wait that is over; beyond the first ones only sums, or each chunk of a large answer were a span."""
        if self.waits < KEPT_ONE_BY_ONE:
            self.waits += 1
            self.add(wait)
        elif self.added_up is None or not self.added_up.take(wait):
            self.added_up = Sums(wait)
            self.add(wait)

    def all_marks(self) -> list[Mark]:
        """Those that ended or were opened by the service, then the waits still in flight."""
        if not self.waiting and self.receiving is None and self.sending is None:
            return self.marks
        found = [*self.marks, *self.waiting]
        for stage, transfer in (("upload", self.receiving), ("download", self.sending)):
            if transfer is not None:
                found.append(Mark(self, still_open(transfer[0]), stage, stage, None, transfer[1]))
        return found

    def forget(self) -> None:
        """Marks know their record: without this every request would wait for the garbage collector."""
        self.marks, self.waiting = [], set()
        self.added_up = self.receiving = self.sending = None


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
        self.opened_by: object = None
        self.outer: Mark | None = None


class Sums:
    """Waits that follow one another with no mark of anything else between: one mark a kind, as long as all of them.

    The marks lie end to end from where the first wait began. Together they are no longer than the time since then,
    in which the same mark stayed the innermost one: what each stage is charged does not change, only when.
    """

    __slots__ = ("marks", "until")

    def __init__(self, wait: Mark) -> None:
        self.marks = [wait]
        self.until = wait.end or wait.start

    def take(self, wait: Mark) -> bool:
        """Add a wait that is over; False when it does not follow the others."""
        kept, last = wait.record.marks, self.marks[-1]
        end = wait.end or wait.start
        if not kept or kept[-1] is not last or wait.parent is not last.parent or wait.start < self.until:
            return False
        length, self.until = end - wait.start, end
        for at, mark in enumerate(self.marks):
            if mark.name == wait.name and mark.stage == wait.stage:
                self._lengthen(at, length)
                return True
        wait.start = last.end or last.start
        wait.end = wait.start + length
        self.marks.append(wait)
        wait.record.add(wait)
        return True

    def _lengthen(self, at: int, length: int) -> None:
        mark = self.marks[at]
        mark.end = (mark.end or mark.start) + length
        told = dict(mark.attributes or {})
        told["harness.added_up"] = told.get("harness.added_up", 1) + 1  # type: ignore[operator]
        mark.attributes = told
        for later in self.marks[at + 1 :]:
            later.start += length
            later.end = (later.end or later.start) + length


Transfer = tuple[Mark, int]
"""A message of the body on its way in or out: the innermost mark and the instant when it was asked for."""

innermost_mark: ContextVar[Mark | None] = ContextVar("harness_mark", default=None)


def innermost() -> Mark | None:
    """The innermost open mark of the request this code runs for; None outside a request or after its answer."""
    mark = innermost_mark.get()
    return None if mark is None or mark.record.closed else still_open(mark)


def still_open(mark: Mark) -> Mark:
    # A task may outlive the stage it was started in.
    while mark.end is not None and mark.parent is not None:
        mark = mark.parent
    return mark


enter_root = innermost_mark.set
leave_root = innermost_mark.reset


def leave_request(token: Token[Mark | None], record: Record) -> None:
    """Undo `enter_root` at the end of a request, in whatever context it ends."""
    try:
        innermost_mark.reset(token)
    except ValueError:  # the server resumed us elsewhere, or the garbage collector ends us inside another request
        mark = innermost_mark.get()
        if mark is not None and mark.record is record:
            innermost_mark.set(None)


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
        record.add_wait(wait)
    record.waiting.discard(wait)


def begin_transfer(root: Mark, start: int) -> Transfer:
    """What `receiving` or `sending` of a record is set to. A tuple, because most transfers wait for nobody."""
    mark = innermost_mark.get()
    return (root if mark is None or mark.record is not root.record else mark, start)


def end_transfer(transfer: Transfer, stage: str, end: int) -> None:
    """Keep a transfer as a mark if it was long enough to be a wait."""
    mark, start = transfer
    if end - start >= SHORTEST_WAIT_NS and not mark.record.closed:
        wait = Mark(mark.record, still_open(mark), stage, stage, None, start)
        wait.end = end
        mark.record.add_wait(wait)
