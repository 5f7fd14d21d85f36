"""Locust user classes on our wire: `HarnessUser` for Python scenarios, `ScenarioUser` for `requests:` of a YAML one.

Under an open loop a user is a session of a pool: Locust starts it and runs its one task, `serve_arrivals`; each arrival
then runs one of the tasks its author wrote. In a closed loop Locust runs the tasks as it always does.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import gevent
import locust
import numpy as np
from locust.exception import InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately, StopTest, StopUser
from locust.user.users import RestMixin

from harness.load.client import Client
from harness.load.desk import Slot
from harness.load.open_loop import Arrival
from harness.load.payloads import Payload
from harness.load.place import Place, rig_of
from harness.load.response import Response
from harness.load.wire import Connection, Exchange

_BLOCK = 8192
_AFTER_NO_CONNECTION_S = 0.01  # a dead target would otherwise be hammered as fast as it can refuse
_clock = time.perf_counter_ns


class HarnessUser(locust.User, RestMixin[Any]):  # type: ignore[misc, unused-ignore]
    """Base of the user classes of Python scenarios: `self.client` sends, `@task` methods say what.

    Under `harness run` with a rate each arrival runs one task, drawn by weight; its first request counts from the
    scheduled instant, later ones from their own start. With a number of users, and under plain `locust -f`, it is a
    Locust user like any other. `default_headers` go with every request.
    """

    abstract = True
    tasks: list[Any]
    default_headers: dict[str, str] | None = None

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        rig = rig_of(environment)
        self.harness_place = place = Place(rig)
        # Locust's own statistics listen first; without them nobody else would see a plain Locust run.
        listeners = environment.events.request._handlers
        fire = environment.events.request.fire

        def tell(response: Response) -> None:
            if len(listeners) > rig.quiet_with:
                fire(**response.request_meta)

        base = rig.target or self.host or ""
        self.client = Client(rig.desk, rig.held, base, rig.origin, place.next_slot, tell)
        self.client.headers.update(self.default_headers or {})
        self.client.context = self.context
        place.settle = self.client.settle


class ScenarioUser(locust.User):  # type: ignore[misc, unused-ignore]
    """Sends the requests of a scenario: a job is a payload."""

    abstract = True

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        rig = rig_of(environment)
        self.harness_place = Place(rig)
        self._url = rig.target or ""
        self.connection = Connection(rig.origin(self._url))
        self._fire = environment.events.request.fire

    def tell(self, payload: Payload, x: Exchange) -> None:
        """Fire Locust's event, for those who listen."""
        response = Response(self._url, payload.kind, x, (), b"", x.error)
        self._fire(**response.request_meta)

    def on_stop(self) -> None:
        """The session ends."""
        self.connection.close()


# --- open loop ---------------------------------------------------------------------------------------------


def serve_arrivals(user: Any) -> None:
    """The one task Locust sees under an open loop: take arrivals until the run ends."""
    place: Place = user.harness_place
    rig, loop = place.rig, place.rig.open_loop
    assert loop is not None  # noqa: S101 - only set as a task under an open loop
    serve = _send_payload if isinstance(user, ScenarioUser) else _run_task
    seat = place.seat = loop.sit()
    try:
        while True:
            arrival = loop.take(seat)
            failure: str | None = None
            try:
                serve(user, place, arrival)
            except (InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately):
                pass  # the task ended itself early, Locust's way
            except (StopUser, StopTest):
                raise
            except Exception as error:  # user code may raise anything; the run goes on
                failure = f"task error: {type(error).__name__}"
                user.environment.events.user_error.fire(user_instance=user, exception=error, tb=error.__traceback__)
            finally:
                loop.done()
                _close_arrival(place, failure)
    finally:
        unserved = loop.leave(seat)
        if unserved is not None:
            rig.desk.never_sent(job_name(unserved.job), unserved.slot)


def _send_payload(user: ScenarioUser, place: Place, arrival: Arrival) -> None:
    rig, payload = place.rig, arrival.job
    x = rig.desk.send(user.connection, payload, arrival.slot)
    if len(user.environment.events.request._handlers) > rig.quiet_with:
        user.tell(payload, x)


def _run_task(user: Any, place: Place, arrival: Arrival) -> None:
    place.serve(arrival)
    arrival.job(user)
    place.settle()
    if place.arrival is not None:
        place.arrival = None
        place.rig.no_request(job_name(arrival.job))


def _close_arrival(place: Place, failure: str | None) -> None:
    """Its task failed, or was cut off by the end of the run, before the first request."""
    if place.arrival is not None:
        arrival, place.arrival = place.arrival, None
        place.rig.desk.never_sent(job_name(arrival.job), arrival.slot, failure)


# --- closed loop -------------------------------------------------------------------------------------------


def send_in_turn(draw: Callable[[int], Payload]) -> Callable[[ScenarioUser], None]:
    """The one task of a scenario's users in a closed loop; `draw` gives the payload of a request id."""

    def task(user: ScenarioUser) -> None:
        place: Place = user.harness_place
        rig, loop = place.rig, place.rig.closed_loop
        assert loop is not None  # noqa: S101 - only set as a task in a closed loop
        number, connection, send, ids = place.number, user.connection, rig.desk.send, rig.ids
        listeners, quiet_with = user.environment.events.request._handlers, rig.quiet_with
        pause = think_time(place)
        try:
            while number < loop.users:
                request_id = next(ids)
                payload = draw(request_id)
                x = send(connection, payload, Slot(request_id, None, loop.phase, loop.step))
                if x.done_at >= loop.until:
                    loop.advance(x.done_at)
                if len(listeners) > quiet_with:
                    user.tell(payload, x)
                if x.send_at is None:
                    gevent.sleep(_AFTER_NO_CONNECTION_S)
                if pause is not None:
                    gevent.sleep(pause())
                    loop.advance(_clock())
        except (StopUser, StopTest):
            raise
        except Exception as error:  # a payload that could be made before, and cannot any more
            rig.give_up(error)
        raise StopUser

    return task


def think_time(place: Place) -> Callable[[], float] | None:
    """How long this user thinks, seconds, drawn anew by each call; None when it does not."""
    low, high = place.rig.think_s
    if high <= 0:
        return None
    # Its number counts among all load processes, so that no two users of a run draw alike.
    draws = random.Random(f"{place.rig.seed}/{place.number * place.rig.share.of + place.rig.share.index}")  # noqa: S311
    return lambda: draws.uniform(low, high)


# --- jobs --------------------------------------------------------------------------------------------------


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
