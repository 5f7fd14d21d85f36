"""Locust user classes on our wire: `HarnessUser` for Python scenarios, `ScenarioUser` for `requests:` of a YAML one.

Under an open loop a user is a session of a pool. Locust starts it and runs its one task, `serve_arrivals`; each arrival
then runs one of the tasks its author wrote.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import locust
import numpy as np
from locust.exception import InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately, StopTest, StopUser

from harness.load.channel import tls_context
from harness.load.client import Client, event_fields
from harness.load.desk import Desk, Slot, nowhere
from harness.load.open_loop import Arrival, OpenLoop, Seat
from harness.load.payloads import Kind, Payload
from harness.load.wire import Connection, Exchange, Origin
from harness.model import Phase

_BLOCK = 8192


@dataclass(slots=True)
class Rig:
    """What the users of one load process share; hangs on the Locust environment as `harness_rig`."""

    desk: Desk
    target: str | None
    extra_ids: Iterator[int]  # for requests that are not the first of an arrival
    open_loop: OpenLoop | None = None
    no_request: Callable[[str], None] = lambda _task: None
    over: bool = False
    origins: dict[tuple[str, str], Origin] = field(default_factory=dict)
    tls: Any = None

    def origin(self, url: str) -> Origin:
        """The origin of a URL, shared by all sessions so that names are looked up once."""
        parts = urlsplit(url)
        key = (parts.scheme, parts.netloc)
        if key not in self.origins:
            if parts.scheme == "https" and self.tls is None:
                self.tls = tls_context()
            self.origins[key] = Origin(url, self.tls)
        return self.origins[key]


def _rig_of(environment: Any) -> Rig:
    rig = getattr(environment, "harness_rig", None)
    if rig is None:  # plain `locust -f`: Locust schedules, counts and reports
        run_id = f"locust-{time.time_ns()}"
        rig = Rig(Desk(run_id, "0", 1.0, nowhere), None, itertools.count())
        environment.harness_rig = rig
    return rig


class HarnessUser(locust.User):  # type: ignore[misc, unused-ignore]
    """Base of the user classes of Python scenarios: `self.client` sends, `@task` methods say what.

    Under `harness run` each arrival runs one task, drawn by weight; its first request counts from the scheduled
    instant, later ones from their own start. Under plain `locust -f` it is a Locust user like any other.
    """

    abstract = True
    tasks: list[Any]

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        rig = _rig_of(environment)
        self._rig = rig
        self._arrival: Arrival | None = None  # whose first request is still to come
        self._slot: Slot | None = None
        self.seat: Seat | None = None
        # Locust's own statistics listen first; without them nobody else would see a plain Locust run.
        self._listeners: list[Any] = environment.events.request._handlers
        self._quiet_with = 0 if rig.open_loop is None else 1
        base = rig.target or self.host or ""
        self.client = Client(rig.desk, base, rig.origin, self._next_slot, self._fire)
        if rig.open_loop is not None:
            self.tasks = [serve_arrivals]

    def serve(self, arrival: Arrival) -> None:
        """One arrival: run its task."""
        self._arrival, self._slot = arrival, arrival.slot
        arrival.job(self)
        if self._arrival is not None:
            self._arrival = None
            self._rig.no_request(job_name(arrival.job))

    def close_arrival(self, failure: str | None) -> None:
        """Its task failed, or was cut off by the end of the run, before the first request."""
        if self._arrival is not None:
            arrival, self._arrival = self._arrival, None
            self._rig.desk.never_sent(job_name(arrival.job), arrival.slot, failure)

    def _next_slot(self) -> Slot:
        rig = self._rig
        if rig.over:
            raise StopUser
        if self._arrival is not None:
            self._arrival = None
            assert self._slot is not None  # noqa: S101 - set with the arrival
            return self._slot
        # What is sent before the first arrival (a login in on_start) is no part of the measured load.
        phase, step = (Phase.WARMUP.value, 0) if self._slot is None else self._slot[2:]
        return Slot(next(rig.extra_ids), None, phase, step)

    def _fire(self, kind: Kind, x: Exchange, failure: str | None, response: Any, url: str) -> None:
        if len(self._listeners) > self._quiet_with:
            self.environment.events.request.fire(**event_fields(kind, x, failure, response, url))


class ScenarioUser(HarnessUser):
    """Sends the requests of a scenario: a job is a payload."""

    abstract = True

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._url = self._rig.target or ""
        self._connection = Connection(self._rig.origin(self._url))

    def serve(self, arrival: Arrival) -> None:
        """One arrival: send its payload."""
        payload: Payload = arrival.job
        x = self._rig.desk.send(self._connection, payload, arrival.slot)
        if len(self._listeners) > self._quiet_with:
            self._fire(payload.kind, x, x.error, None, self._url)

    def on_stop(self) -> None:
        """The session ends."""
        self._connection.close()


def serve_arrivals(user: HarnessUser) -> None:
    """The one task Locust sees under an open loop: take arrivals until the run ends."""
    rig = user._rig
    loop = rig.open_loop
    assert loop is not None  # noqa: S101 - only set as a task under an open loop
    seat = loop.sit()
    user.seat = seat
    try:
        while True:
            arrival = loop.take(seat)
            failure: str | None = None
            try:
                user.serve(arrival)
            except (InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately):
                pass  # the task ended itself early, Locust's way
            except (StopUser, StopTest):
                raise
            except Exception as error:  # user code may raise anything; the run goes on
                failure = f"task error: {type(error).__name__}"
                user.environment.events.user_error.fire(user_instance=user, exception=error, tb=error.__traceback__)
            finally:
                loop.done()
                user.close_arrival(failure)
    finally:
        user.client.close()
        unserved = loop.leave(seat)
        if unserved is not None:
            rig.desk.never_sent(job_name(unserved.job), unserved.slot)


def job_name(job: Any) -> str:
    """What a sample is called whose request was never sent."""
    return job.kind.name if isinstance(job, Payload) else str(job.__name__)


def task_draws(tasks: Sequence[Any], seed: int) -> Callable[[int], Any]:
    """The task of each arrival, by its request id. Locust repeats a task in the list as often as it weighs."""
    block, drawn = -1, [0]

    def task_of(request_id: int) -> Any:
        nonlocal block, drawn
        wanted, at = divmod(request_id, _BLOCK)
        if wanted != block:
            seeds = np.random.SeedSequence(seed, spawn_key=(1 << 20, wanted))
            block, drawn = (
                wanted,
                np.random.Generator(np.random.PCG64(seeds)).integers(len(tasks), size=_BLOCK).tolist(),
            )
        return tasks[drawn[at]]

    return task_of
