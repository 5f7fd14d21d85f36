"""The stopwatch of the known-delay service: plain `perf_counter_ns` readings, one Watch per request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import asdict, dataclass, field
from time import perf_counter_ns as now
from types import TracebackType
from typing import Any

Message = MutableMapping[str, Any]
Asgi = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

WATCHES: list[Watch] = []
"""Of the requests that were answered."""


@dataclass
class Lap:
    """A stretch that was timed. `inside` names the lap it interrupts; laps with the same `beside` run in parallel."""

    watch: Watch
    stage: str
    name: str = ""
    inside: str = ""
    beside: str = ""
    resource: str | None = None
    begin_ns: int = 0

    def __enter__(self) -> None:
        self.begin_ns = now()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        end = now()
        self.watch.add(self.stage, self.begin_ns, end, self.name, self.inside, self.beside, self.resource)


@dataclass
class Watch:
    """What one request took, by its own account."""

    trace_id: str
    path: str
    entered_ns: int
    answered_ns: int = 0
    laps: list[dict[str, object]] = field(default_factory=list)
    asked_ns: int = 0  # just before the endpoint is called
    left_pool_ns: int = 0  # the last instant in a thread of the pool

    def __call__(
        self, stage: str, name: str = "", inside: str = "", beside: str = "", resource: str | None = None
    ) -> Lap:
        return Lap(self, stage, name, inside, beside, resource)

    def add(
        self,
        stage: str,
        begin_ns: int,
        end_ns: int,
        name: str = "",
        inside: str = "",
        beside: str = "",
        resource: str | None = None,
    ) -> None:
        lap = {"stage": stage, "begin_ns": begin_ns, "end_ns": end_ns, "name": name, "inside": inside}
        self.laps.append({**lap, "beside": beside, "resource": resource})

    def told(self) -> dict[str, object]:
        return asdict(self)


class Stopwatches:
    """ASGI middleware: a Watch for each request, from here until its answer begins."""

    def __init__(self, app: Asgi) -> None:
        self.app = app

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http" or scope["path"] == "/stopwatch":
            await self.app(scope, receive, send)
            return
        header = dict(scope["headers"]).get(b"traceparent", b"--").decode()
        watch = scope["watch"] = Watch(header.split("-")[1], scope["path"], now())

        async def answering(message: Message) -> None:
            if message["type"] == "http.response.start":
                watch.answered_ns = now()
                if watch.left_pool_ns:
                    watch.add("queue", watch.left_pool_ns, watch.answered_ns, resource="event_loop")
                WATCHES.append(watch)
            await send(message)

        await self.app(scope, receive, answering)
