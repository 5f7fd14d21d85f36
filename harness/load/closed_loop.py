"""A closed loop: each of so many users sends, waits for its answer, thinks, and sends again.

The number of users follows the steps of the load profile. A request belongs to the phase and step in which it starts;
its latency is its service time, for nothing but the answer before decides when it begins.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import gevent
from gevent.event import Event
from locust.exception import StopUser

from harness.arrivals import ALL, Share, users_at
from harness.load.health import Health
from harness.load.live import Live
from harness.load.ticks import Alarm
from harness.model import LoadProfile, Phase

_SPAWNED_IN_A_ROW = 20  # before the sessions that are there may run again
_NEVER = 1 << 62
_clock = time.perf_counter_ns


class _Change(NamedTuple):
    after_ns: int  # from the start of the run
    users: int
    phase: str
    step: int


class ClosedLoop:
    """The users of one load process. `spawn(number)` starts one, `retire(user)` asks one to end soon."""

    def __init__(
        self,
        load: LoadProfile,
        share: Share,
        live: Live,
        spawn: Callable[[int], Any],
        retire: Callable[[Any], None],
        health: Health,
    ) -> None:
        self._changes = _changes(load, share)
        self._live = live
        self._spawn_one = spawn
        self._retire = retire
        self._health = health
        self._t0 = 0
        self._passed = 0  # changes that have come
        self._go = Event()
        self.alive: dict[int, Any] = {}
        self._retired: set[int] = set()
        self.unjudged: Callable[[], int] = lambda: 0  # requests answered, and waiting for user code to judge them
        self.left_early = 0  # users that ended by themselves
        self.starting = 0
        self.pending: deque[Any] = deque()  # nothing ever waits here
        self.over = False  # no more requests
        self.closed = False
        # Read by sessions for each request:
        self.users = 0  # sessions with a number below this one may send
        self.phase, self.step = Phase.WARMUP.value, 0
        self.until = _NEVER  # monotonic ns of the next change

    @property
    def in_flight(self) -> int:
        """Requests begun and not yet answered."""
        return self._live.sent - self._live.answers - self._live.censored - self.unjudged()

    @property
    def due(self) -> int:
        """Requests begun: a closed loop owes no others."""
        return self._live.sent

    def open_first(self) -> None:
        """Start the users of the first step; they wait for `run`."""
        self._fill(self._changes[0].users)

    def run(self, t0: int) -> None:
        """Let them send from `t0` (monotonic ns) on, and change their number in time. Returns after the last step."""
        self._t0 = t0
        alarm = Alarm()
        try:
            self.until = t0 + self._changes[0].after_ns
            for change in self._changes:
                alarm.sleep_until(t0 + change.after_ns)
                self.advance(_clock())
                self._go.set()
                self._fill(self.users)
                self._retire_surplus()
        finally:
            alarm.close()
            self.finish()

    def advance(self, now: int) -> None:
        """Let the changes come whose time has come. Sessions ask, too: under load they see it before `run` does."""
        while now >= self.until:
            change = self._changes[self._passed]
            self._passed += 1
            if change.phase == Phase.MEASURE.value and self.phase != change.phase:
                self._health.restart()
            self.users, self.phase, self.step = change.users, change.phase, change.step
            self.over = self.over or change.phase == Phase.DRAIN.value
            last = self._passed == len(self._changes)
            self.until = _NEVER if last else self._t0 + self._changes[self._passed].after_ns

    def finish(self) -> None:
        """No more requests: who has one in flight gets the answer."""
        self.over, self.users, self.until = True, 0, _NEVER
        self._go.set()

    # --- sessions -----------------------------------------------------------------------------------------

    def _fill(self, users: int) -> None:
        spawned = 0
        for number in range(users):
            if number not in self.alive and not self.closed:
                self._start(number)
                spawned += 1
                if spawned % _SPAWNED_IN_A_ROW == 0:
                    gevent.sleep(0)

    def _start(self, number: int) -> None:
        self.starting += 1
        self.alive[number] = self._spawn_one(number)
        self._health.sessions = max(self._health.sessions, len(self.alive))

    def _retire_surplus(self) -> None:
        for number in [number for number in self.alive if number >= self.users and number not in self._retired]:
            self._retired.add(number)
            self._retire(self.alive[number])

    def begin(self) -> None:
        """A session is ready; returns when it may send. Raises StopUser when it never may."""
        self.starting -= 1
        self._go.wait()
        if self.over:
            raise StopUser

    def gone(self, number: int, started: bool) -> None:
        """A session ended. `started`: it came as far as `begin`."""
        self.alive.pop(number, None)
        if not started:
            self.starting -= 1
        asked = number in self._retired
        self._retired.discard(number)
        if number < self.users and not self.over:
            if asked:  # and wanted again by now
                self._start(number)
            else:
                self.left_early += 1


def _changes(load: LoadProfile, share: Share = ALL) -> list[_Change]:
    found = [
        _Change(
            round(crew.from_s * 1e9),
            crew.users,
            (Phase.WARMUP if crew.from_s < load.warmup_s else Phase.MEASURE).value,
            crew.step,
        )
        for crew in users_at(load, share)
    ]
    return [*found, _Change(round(load.end_s * 1e9), 0, Phase.DRAIN.value, found[-1].step)]
