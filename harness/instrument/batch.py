"""Dynamic batching: what each member of a batch waited for, and what the batch did for all of them.

    batcher = Batcher()                             # one per batching queue, not one per batch

    async def predict(image):                       # in the endpoint, for one request
        with batcher.join() as ticket:
            answer = asyncio.get_running_loop().create_future()
            queue.put_nowait((image, answer, ticket))
            return await answer

    async def work():                               # one task for all requests
        while True:
            images, answers, tickets = zip(*await next_members(queue))
            with batcher.run(tickets, model="det"):
                outputs = await asyncio.to_thread(model, images)
            for answer, output in zip(answers, outputs):
                answer.done() or answer.set_result(output)

Every member is charged the whole run as `inference`: that is how long it waited for it. The wait before is `queue`,
told apart by `harness.wait`: `busy` while another batch kept the worker, `window` while the worker was free and the
batch was still filling. The batch itself is one span in a trace of its own, linked to the root of every member.
Inside `run` a stage belongs to nobody, since it would belong to all. Where the model runs in a thread, put `run` there:
then the way back to the event loop is not part of it.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from contextvars import Token
from operator import itemgetter
from threading import Lock
from time import perf_counter_ns
from types import TracebackType

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link, SpanContext, SpanKind
from opentelemetry.trace.status import Status, StatusCode

from harness.instrument import pipeline
from harness.instrument.marks import (
    SHORTEST_WAIT_NS,
    Mark,
    add_mark,
    begin_wait,
    end_wait,
    enter_root,
    innermost,
    leave_root,
)
from harness.instrument.quiet import LOG
from harness.instrument.spans import KNOWN_ATTRIBUTES, SCOPE
from harness.instrument.values import Value, small

MAX_KEPT = 256
"""Busy stretches a batcher remembers: a member that waited longer than these is not told the kind of its first wait."""

MAX_SLICES = 16
"""Marks of one wait; a longer story keeps the time of each kind exact and gives up the order."""

Stretch = tuple[int, int]
Slice = tuple[int, int, str | None]  # from, to, "busy" or "window"; None: not known


class Batcher:
    """What the members of a batching queue and its worker say about themselves. Any thread or task may call it.

    `resource` names the queue in the reports. `workers` is how many batches run side by side: only when all do is a
    member's wait `busy`.
    """

    __slots__ = ("_busy", "_full_since", "_lock", "_remembered_from", "_running", "_workers", "resource")

    def __init__(self, resource: str = "batcher", *, workers: int = 1) -> None:
        self.resource = resource
        self._workers = max(1, workers)
        self._lock = Lock()
        self._running = 0
        self._full_since = 0
        self._busy: deque[Stretch] = deque()
        self._remembered_from = 0

    def join(self) -> Ticket:
        """The wait of the current request begins. `with` the ticket, a member that gives up stops waiting at its end.

        Outside a request the ticket does nothing but be counted.
        """
        parent = innermost()
        return Ticket(self, parent, None if parent is None else begin_wait(parent, "queue", self.resource))

    def run(self, tickets: Iterable[Ticket | None], model: str | None = None, **attributes: object) -> Run:
        """`with` this around the execution of one batch. `attributes` are kept like those of `stage()`."""
        known = tuple(ticket if isinstance(ticket, Ticket) else None for ticket in tickets)
        return Run(self, known, {"model": model, **attributes})

    def _started(self, now: int) -> tuple[Sequence[Stretch], int]:
        """When the queue was busy before `now`, and from when on that is known."""
        with self._lock:
            busy = [*self._busy, (self._full_since, now)] if self._running >= self._workers else list(self._busy)
            self._running += 1
            if self._running == self._workers:
                self._full_since = now
            return busy, self._remembered_from

    def _finished(self, now: int) -> None:
        with self._lock:
            if self._running == self._workers:
                self._busy.append((self._full_since, now))
                if len(self._busy) > MAX_KEPT:
                    self._remembered_from = self._busy.popleft()[1]
            self._running -= 1


class Ticket:
    """One member's place in a batch, from `join()` until the batch has run or the member has left."""

    __slots__ = ("_batcher", "_left", "_runs", "_since", "_wait", "parent")

    def __init__(self, batcher: Batcher, parent: Mark | None, wait: Mark | None) -> None:
        self._batcher = batcher
        self.parent = parent
        self._wait = wait
        self._since = 0 if wait is None else wait.start
        self._runs: dict[int, Mark] = {}  # those in progress: a batch may be tried twice at once
        self._left = False

    def __enter__(self) -> Ticket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """The member waits no longer: it has its answer, or it gave up. What it had until now stays with it."""
        if self.parent is None:
            return
        with self._batcher._lock:
            self._left = True
            now = perf_counter_ns()
            if self._wait is not None:
                end_wait(self._wait, now)
                self._wait = None
            for inference in self._runs.values():
                inference.end = now
            self._runs.clear()

    def _run_began(
        self, run: int, now: int, busy: Sequence[Stretch], known_from: int, attributes: dict[str, object]
    ) -> None:
        with self._batcher._lock:
            if self.parent is None or self._left:
                return
            record = self.parent.record
            if self._wait is not None:
                self._wait.end = now  # told again below, in its parts
                record.waiting.discard(self._wait)
                self._wait = None
            resource = self._batcher.resource
            for begin, end, kind in [] if self._runs else waited(self._since, now, busy, known_from):
                told = {"resource": resource, "batch_id": attributes["batch_id"]}
                if kind is not None:
                    told["harness.wait"] = kind
                add_mark(self.parent, "queue", resource, begin, end, told)
            self._runs[run] = inference = Mark(record, self.parent, "inference", "inference", attributes, now)
            if not record.closed:
                record.add(inference)

    def _run_ended(self, run: int, now: int, error: str | None) -> None:
        with self._batcher._lock:
            inference = self._runs.pop(run, None)
            if inference is not None:
                inference.end = now
                inference.error = error
            self._since = now  # a batch that is tried again has waited from here


class Run:
    """One execution of a batch."""

    __slots__ = ("_attributes", "_batcher", "_begin", "_members", "_span_id", "_token")

    def __init__(self, batcher: Batcher, tickets: tuple[Ticket | None, ...], attributes: dict[str, object]) -> None:
        self._batcher = batcher
        self._members: dict[Ticket, int] = {}
        for index, ticket in enumerate(tickets):
            if ticket is not None:
                self._members.setdefault(ticket, index)
        self._span_id = pipeline.new_span_id()
        own: dict[str, Value] = {"batch_id": f"{self._span_id:016x}", "batch_size": len(tickets)}
        self._attributes: dict[str, Value] = {
            key: small(value) for key, value in attributes.items() if value is not None
        } | own
        self._begin = 0
        self._token: Token[Mark | None] | None = None

    def __enter__(self) -> Run:
        self._begin = now = perf_counter_ns()
        busy, known_from = self._batcher._started(now)
        for ticket, index in self._members.items():
            try:
                attributes: dict[str, object] = {**self._attributes, "harness.batch_index": index}
                ticket._run_began(self._span_id, now, busy, known_from, attributes)
            except Exception:
                LOG.warning("a member of a batch is not measured", exc_info=True)
        self._token = enter_root(None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        now = perf_counter_ns()
        # Left in another context than it was entered in, or out of order, the mark that is there is somebody else's.
        if self._token is not None and innermost() is None:
            with contextlib.suppress(ValueError):
                leave_root(self._token)
        self._batcher._finished(now)
        failed = None if kind is None else kind.__qualname__
        try:
            for ticket in self._members:
                ticket._run_ended(self._span_id, now, failed)
            self._export(now, failed)
        except Exception:
            LOG.warning("the span of a batch is lost", exc_info=True)

    def _export(self, end: int, failed: str | None) -> None:
        parents = [ticket.parent for ticket in self._members if ticket.parent is not None]
        records = [parent.record for parent in parents if parent.record.provider is not None]
        if not records:
            return
        provider, shift = records[0].provider, records[0].epoch_ns - records[0].start
        roots = [SpanContext(r.trace_id, r.root_id, is_remote=False, trace_flags=pipeline.SAMPLED) for r in records]
        span = ReadableSpan(
            name="batch",
            context=SpanContext(pipeline.new_trace_id(), self._span_id, is_remote=False, trace_flags=pipeline.SAMPLED),
            resource=provider.resource,
            attributes={
                f"harness.{key}" if key in KNOWN_ATTRIBUTES else key: value for key, value in self._attributes.items()
            },
            links=[Link(root) for root in roots],
            kind=SpanKind.INTERNAL,
            status=Status(StatusCode.UNSET) if failed is None else Status(StatusCode.ERROR, failed),
            start_time=self._begin + shift,
            end_time=end + shift,
            instrumentation_scope=SCOPE,
        )
        pipeline.export(provider, [span])


def waited(since: int, until: int, busy: Sequence[Stretch], known_from: int = 0) -> list[Slice]:
    """The wait [since, until] cut where `busy` (sorted, disjoint) begins and ends; slivers below SHORTEST_WAIT_NS are
    left out. Before `known_from` nothing is known about the worker.
    """
    slices: list[Slice] = [(since, min(known_from, until), None)] if known_from > since else []
    at = max(since, known_from)
    for begin, end in busy[bisect_right(busy, at, key=itemgetter(1)) :]:
        begin, end = max(begin, at), min(end, until)
        if end <= begin:
            continue
        slices += [(at, begin, "window"), (begin, end, "busy")]
        at = end
    slices.append((at, until, "window"))
    kept = [piece for piece in slices if piece[1] - piece[0] >= SHORTEST_WAIT_NS]
    if len(kept) <= MAX_SLICES:
        return kept
    together: list[Slice] = []
    at = since
    for kind in (None, "busy", "window"):
        length = sum(end - begin for begin, end, its in kept if its == kind)
        if length:
            together.append((at, at + length, kind))
            at += length
    return together
