"""What the users of one load process share, and where each of them stands in the run."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import gevent
from locust.exception import StopUser

from harness.arrivals import ALL, Share
from harness.load.closed_loop import ClosedLoop
from harness.load.desk import Desk, Slot, nowhere
from harness.load.held import Held
from harness.load.open_loop import Arrival, OpenLoop, Seat
from harness.load.tls import tls_context
from harness.load.wire import Origin
from harness.model import Phase, TlsSpec

_clock = time.perf_counter_ns
_SERVED = "harness_arrival"


@dataclass(slots=True)
class Rig:
    """What the users of one load process share; hangs on the Locust environment as `harness_rig`.

    `ids` are for requests that have no arrival of their own. Without a loop Locust schedules, counts and reports.
    """

    desk: Desk
    held: Held
    target: str | None
    ids: Iterator[int]
    open_loop: OpenLoop | None = None
    closed_loop: ClosedLoop | None = None
    no_request: Callable[[str], None] = lambda _task: None
    give_up: Callable[[Exception], None] = lambda _error: None
    think_s: tuple[float, float] = (0.0, 0.0)
    seed: int = 0
    share: Share = ALL
    quiet_with: int = 0  # listeners of the request event that are not the user's
    over: bool = False
    origins: dict[tuple[str, str], Origin] = field(default_factory=dict)
    tls: TlsSpec = field(default_factory=TlsSpec)
    tls_context: Any = None

    def origin(self, url: str) -> Origin:
        """The origin of a URL, shared by all sessions so that names are looked up once. Raises ScenarioError when
        what TLS needs cannot be read."""
        parts = urlsplit(url)
        key = (parts.scheme, parts.netloc)
        if key not in self.origins:
            if parts.scheme == "https" and self.tls_context is None:
                self.tls_context = tls_context(self.tls)
            self.origins[key] = Origin(url, self.tls_context)
        return self.origins[key]


def rig_of(environment: Any) -> Rig:
    """The rig of an environment; one of its own under plain `locust -f`."""
    rig: Rig | None = getattr(environment, "harness_rig", None)
    if rig is None:
        desk = Desk(f"locust-{time.time_ns()}", "0", 1.0, nowhere)
        rig = Rig(desk, Held(desk, 1.0, nowhere), None, itertools.count())
        environment.harness_rig = rig
        gevent.spawn(_keep_time, desk)
    return rig


def _keep_time(desk: Desk) -> None:
    while True:
        gevent.sleep(1.0)
        desk.timebase.reanchor()


class Place:
    """Where one user stands in the run: which slot its next request takes."""

    __slots__ = ("arrival", "ended", "number", "rig", "seat", "settle", "slot", "started")

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.number = 0  # of the session; of a closed loop: those below the number of users may send
        self.started = False  # on_start is over
        self.ended = False  # on_stop has begun
        self.arrival: Arrival | None = None  # whose first request is still to come
        self.slot: Slot | None = None  # of the last arrival
        self.seat: Seat | None = None
        self.settle: Callable[[], None] = lambda: None  # record answers that nobody will judge any more

    def serve(self, arrival: Arrival) -> None:
        """The current greenlet begins the task of this arrival: it and those it starts from now on may take the slot.

        A greenlet left behind by the task of an earlier arrival may not: it would pass for a request of this one.
        """
        self.arrival, self.slot = arrival, arrival.slot
        greenlet = gevent.getcurrent()
        # Greenlets inherit this dict from the one that starts them. A new one for each arrival tells them apart.
        greenlet.spawn_tree_locals = {**(greenlet.spawn_tree_locals or {}), _SERVED: arrival}

    def next_slot(self) -> Slot:
        """The slot of a request that is about to begin. Raises StopUser when no more may."""
        rig, loop = self.rig, self.rig.closed_loop
        if self.ended:  # a logout, when the session is over
            return Slot(next(rig.ids), None, Phase.DRAIN.value, 0)
        if not self.started and not rig.over:  # a login, before the first task: no part of the measured load
            return Slot(next(rig.ids), None, Phase.WARMUP.value, 0)
        if loop is not None:
            loop.advance(_clock())
        if rig.over or (loop is not None and loop.over):
            gevent.sleep(0)  # whoever catches all exceptions in a loop can still be killed
            raise StopUser
        if loop is not None:
            return Slot(next(rig.ids), None, loop.phase, loop.step)
        if self.arrival is not None and _served() is self.arrival:
            self.arrival = None
            assert self.slot is not None  # noqa: S101 - set with the arrival
            return self.slot
        _, _, phase, step = self.slot or (0, None, Phase.WARMUP.value, 0)
        return Slot(next(rig.ids), None, phase, step)


def _served() -> Arrival | None:
    """The arrival whose task the current greenlet belongs to."""
    found: Arrival | None = (getattr(gevent.getcurrent(), "spawn_tree_locals", None) or {}).get(_SERVED)
    return found
