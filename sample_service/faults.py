"""A learning aid: FAULTS slows the service in a known way, so that what a load test says can be checked.

FAULTS="preprocess:30ms,inference@det:*1.5,transfer:20ms,lock:25ms"

- `stage:Nms` adds N ms to that stage, once per request; `stage:*F` makes every span of it last F times as long;
- `@model` narrows inference to the calls of one model;
- `lock:Nms`: one lock for the whole process, held by each request for its first model call and N ms more;
- `loop:Nms`: each request keeps the event loop from everything else for N ms;
- `cold:Nms`: each model takes N ms to load when it is first asked for, and who asks meanwhile waits for that.

All of it sleeps and uses no processor time, unless `~cpu` stands behind the delay. Only requests below /v1/ are slowed.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from harness.instrument import stage

STAGES = ("queue", "preprocess", "inference", "postprocess", "transfer")
PLACES = (*STAGES, "lock", "loop", "cold")
WAITS = ("queue", "transfer")  # nobody works in them
STRETCHED = ("preprocess", "inference", "postprocess")  # those with spans of their own here
MODELS = ("magika", "det", "cls", "rec")
MOST_MS = 60_000.0
MOST_FACTOR = 100.0

_ENTRY = re.compile(
    r"(?P<place>[a-z]+)(?:@(?P<model>[a-z]+))?:(?:(?P<ms>\d+(?:\.\d+)?)ms(?P<busy>~cpu)?|\*(?P<factor>\d+(?:\.\d+)?))"
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One slowdown: `add_s` once per request, or every span stretched by `factor`. `busy`: it computes, not sleeps."""

    place: str
    model: str | None = None
    add_s: float = 0.0
    factor: float = 1.0
    busy: bool = False

    def covers(self, place: str, model: object) -> bool:
        return self.place == place and self.model in (None, model)

    def spend(self, took_s: float = 0.0) -> None:
        """Let the time pass: the delay, or what a span that took `took_s` lacks to its factor."""
        pause_s = self.add_s + (self.factor - 1.0) * took_s
        if self.busy:
            _compute(pause_s)
        elif pause_s > 0:
            time.sleep(pause_s)


def _compute(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@dataclass(frozen=True, slots=True)
class _Process:
    """What the requests of one process share: the lock of `lock`, and of `cold` the models that have been loaded."""

    lock: Lock = field(default_factory=Lock)
    loading: Lock = field(default_factory=Lock)
    loaded: set[object] = field(default_factory=set)


@dataclass(slots=True)
class _Slowdown:
    """The faults of one request, and which of the once-per-request ones it has had."""

    faults: tuple[Fault, ...]
    process: _Process = field(default_factory=_Process)
    spent: set[Fault] = field(default_factory=set)

    def ahead(self, place: str, model: object = None) -> list[Fault]:
        """The faults that a span of this place will meet; a delay is met once."""
        return [f for f in self.faults if f.covers(place, model) and f not in self.spent]

    def due(self, place: str, model: object = None) -> list[Fault]:
        """The same, met now."""
        met = self.ahead(place, model)
        self.spent.update(fault for fault in met if fault.add_s)
        return met


_NOTHING = nullcontext()

_slowdown: ContextVar[_Slowdown | None] = ContextVar("sample_service_slowdown", default=None)


def parse_faults(text: str) -> tuple[Fault, ...]:
    """The faults of a FAULTS value; an empty one has none. Raises ValueError with one sentence."""
    entries = [entry.strip() for entry in text.split(",")] if text.strip() else []
    faults = tuple(_parse_entry(entry) for entry in entries)
    kinds = [(fault.place, fault.model, fault.factor > 1.0) for fault in faults]
    if len(set(kinds)) < len(kinds):
        raise ValueError(f"FAULTS={text!r} slows the same stage twice in the same way")
    return faults


def _parse_entry(entry: str) -> Fault:
    def wrong(why: str) -> ValueError:
        return ValueError(f"FAULTS entry {entry!r}: {why}")

    match = _ENTRY.fullmatch(entry)
    if match is None:
        raise wrong("write it as stage:30ms, stage:30ms~cpu, stage:*1.5 or inference@model:30ms")
    place, model, busy = match["place"], match["model"], match["busy"] is not None
    if place not in PLACES:
        raise wrong(f"there is no '{place}' to slow; choose from {', '.join(PLACES)}")
    if model is not None and (place != "inference" or model not in MODELS):
        raise wrong(f"only inference has models, and they are {', '.join(MODELS)}")
    if match["ms"] is not None:
        if not 0 < float(match["ms"]) <= MOST_MS:
            raise wrong(f"a delay is more than 0 and at most {MOST_MS:.0f} ms")
        if busy and place in WAITS:
            raise wrong(f"'{place}' is a wait and takes no ~cpu")
        return Fault(place, model, add_s=float(match["ms"]) / 1000, busy=busy)
    if place not in STRETCHED:
        raise wrong(f"'{place}' takes a delay in ms, not a factor")
    if not 1 < float(match["factor"]) <= MOST_FACTOR:
        raise wrong(f"a factor is more than 1 and at most {MOST_FACTOR:.0f}")
    return Fault(place, model, factor=float(match["factor"]))


def slowed(stage_name: str, model: str | None = None) -> AbstractContextManager[None]:
    """This request's faults of a stage: to be entered just after it, in the same `with`. A fault blocks the thread."""
    slowdown = _slowdown.get()
    return _NOTHING if slowdown is None else _slowed(slowdown, stage_name, model)


@contextmanager
def _slowed(slowdown: _Slowdown, stage_name: str, model: str | None) -> Iterator[None]:
    if stage_name == "inference":
        _load_lazily(slowdown, model)
    began = time.perf_counter()
    yield
    took_s = time.perf_counter() - began
    held = slowdown.due("lock") if stage_name == "inference" else []
    for fault in (*held, *slowdown.due(stage_name, model)):
        fault.spend(took_s)


def one_at_a_time() -> AbstractContextManager[None]:
    """The lock of a `lock` fault, around the first model call of a request."""
    slowdown = _slowdown.get()
    return _NOTHING if slowdown is None or not slowdown.ahead("lock") else _locked(slowdown.process.lock)


@contextmanager
def _locked(lock: Lock) -> Iterator[None]:
    with stage("queue", resource="model_lock"):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _load_lazily(slowdown: _Slowdown, model: object) -> None:
    """As lazy loading does: the first to ask loads, the others wait; nobody has marked that."""
    cold = [fault for fault in slowdown.faults if fault.place == "cold"]
    process = slowdown.process
    if not cold or model in process.loaded:
        return
    with process.loading:
        if model not in process.loaded:
            for fault in cold:
                fault.spend()
            process.loaded.add(model)


async def faults_on_the_loop() -> None:
    """What `loop` and `queue` say, before the worker starts: the one blocks the event loop, the other waits, marked."""
    slowdown = _slowdown.get()
    if slowdown is None:
        return
    for fault in slowdown.due("loop"):
        fault.spend()
    for fault in slowdown.due("queue"):
        with stage("queue", resource="fault"):
            await asyncio.sleep(fault.add_s)


def with_faults(app: ASGIApp, faults: tuple[Fault, ...]) -> ASGIApp:
    """The app with its faults switched on for every request below /v1/; the app itself when there are none.

    It stands outside the instrumentation: a `transfer` fault holds the last piece of the body in send(), as a
    slow network would.
    """
    if not faults:
        return app
    held_s = sum(fault.add_s for fault in faults if fault.place == "transfer")
    process = _Process()

    async def slowed_app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await app(scope, receive, send)
            return

        async def held_send(message: Message) -> None:
            if held_s and message["type"] == "http.response.body" and not message.get("more_body", False):
                await asyncio.sleep(held_s)
            await send(message)

        token = _slowdown.set(_Slowdown(faults, process))
        try:
            await app(scope, receive, held_send)
        finally:
            _slowdown.reset(token)

    return slowed_app
