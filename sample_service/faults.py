"""A learning aid: FAULTS slows a stage by a known amount, so that what a load test says can be checked.

FAULTS="preprocess:30ms,inference@det:*1.5,transfer:20ms,queue:15ms"

- `stage:Nms` adds N ms to that stage, once per request;
- `stage:*F` makes every span of that stage last F times as long;
- `@model` narrows inference to the calls of one model.

All of it sleeps: no processor time is used. Only requests below /v1/ are slowed.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from harness.instrument import stage

STAGES = ("queue", "preprocess", "inference", "postprocess", "transfer")
WAITS = ("queue", "transfer")  # they have no span of their own here that could be stretched
MODELS = ("magika", "det", "cls", "rec")
MOST_MS = 60_000.0
MOST_FACTOR = 100.0

_ENTRY = re.compile(r"(?P<stage>[a-z]+)(?:@(?P<model>[a-z]+))?:(?:(?P<ms>\d+(?:\.\d+)?)ms|\*(?P<factor>\d+(?:\.\d+)?))")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One slowdown: `add_s` once per request, or every span stretched by `factor`."""

    stage: str
    model: str | None = None
    add_s: float = 0.0
    factor: float = 1.0

    def covers(self, stage_name: str, model: object) -> bool:
        return self.stage == stage_name and self.model in (None, model)


@dataclass(slots=True)
class _Slowdown:
    """The faults of one request, and which of the once-per-request ones it has had."""

    faults: tuple[Fault, ...]
    spent: set[Fault] = field(default_factory=set)

    def pause_s(self, stage_name: str, model: object, took_s: float) -> float:
        """How long a span that took `took_s` must be held, seconds."""
        pause = 0.0
        for fault in self.faults:
            if not fault.covers(stage_name, model):
                continue
            pause += (fault.factor - 1.0) * took_s
            if fault not in self.spent:
                self.spent.add(fault)
                pause += fault.add_s
        return pause


_slowdown: ContextVar[_Slowdown | None] = ContextVar("sample_service_slowdown", default=None)


def parse_faults(text: str) -> tuple[Fault, ...]:
    """The faults of a FAULTS value; an empty one has none. Raises ValueError with one sentence."""
    entries = [entry.strip() for entry in text.split(",")] if text.strip() else []
    faults = tuple(_parse_entry(entry) for entry in entries)
    kinds = [(fault.stage, fault.model, fault.factor > 1.0) for fault in faults]
    if len(set(kinds)) < len(kinds):
        raise ValueError(f"FAULTS={text!r} slows the same stage twice in the same way")
    return faults


def _parse_entry(entry: str) -> Fault:
    def wrong(why: str) -> ValueError:
        return ValueError(f"FAULTS entry {entry!r}: {why}")

    match = _ENTRY.fullmatch(entry)
    if match is None:
        raise wrong("write it as stage:30ms, stage:*1.5 or inference@model:30ms")
    stage_name, model = match["stage"], match["model"]
    if stage_name not in STAGES:
        raise wrong(f"there is no stage '{stage_name}'; stages: {', '.join(STAGES)}")
    if model is not None and (stage_name != "inference" or model not in MODELS):
        raise wrong(f"only inference has models, and they are {', '.join(MODELS)}")
    if match["ms"] is not None:
        if not 0 < float(match["ms"]) <= MOST_MS:
            raise wrong(f"a delay is more than 0 and at most {MOST_MS:.0f} ms")
        return Fault(stage_name, model, add_s=float(match["ms"]) / 1000)
    if stage_name in WAITS:
        raise wrong(f"'{stage_name}' takes a delay in ms, not a factor")
    if not 1 < float(match["factor"]) <= MOST_FACTOR:
        raise wrong(f"a factor is more than 1 and at most {MOST_FACTOR:.0f}")
    return Fault(stage_name, model, factor=float(match["factor"]))


def marked(stage_name: str, name: str | None = None, **attributes: Any) -> AbstractContextManager[Any]:
    """`stage()` of the instrumentation, with this request's faults inside. For worker threads: a fault sleeps."""
    span = stage(stage_name, name, **attributes)
    slowdown = _slowdown.get()
    return span if slowdown is None else _slowed(span, slowdown, stage_name, attributes.get("model"))


@contextmanager
def _slowed(span: AbstractContextManager[Any], slowdown: _Slowdown, stage_name: str, model: object) -> Iterator[None]:
    with span:
        began = time.perf_counter()
        yield
        pause = slowdown.pause_s(stage_name, model, time.perf_counter() - began)
        if pause > 0:
            time.sleep(pause)


async def queue_fault() -> None:
    """Wait as long as a `queue` fault says, marked as a queue; on the event loop, before the worker starts."""
    slowdown = _slowdown.get()
    pause = slowdown.pause_s("queue", None, 0.0) if slowdown else 0.0
    if pause > 0:
        with stage("queue", resource="fault"):
            await asyncio.sleep(pause)


def with_faults(app: ASGIApp, faults: tuple[Fault, ...]) -> ASGIApp:
    """The app with its faults switched on for every request below /v1/; the app itself when there are none.

    It stands outside the instrumentation: a `transfer` fault holds the last piece of the body in send(), as a
    slow network would.
    """
    if not faults:
        return app
    held_s = sum(fault.add_s for fault in faults if fault.stage == "transfer")

    async def slowed(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await app(scope, receive, send)
            return

        async def held_send(message: Message) -> None:
            if held_s and message["type"] == "http.response.body" and not message.get("more_body", False):
                await asyncio.sleep(held_s)
            await send(message)

        token = _slowdown.set(_Slowdown(faults))
        try:
            await app(scope, receive, held_send)
        finally:
            _slowdown.reset(token)

    return slowed
