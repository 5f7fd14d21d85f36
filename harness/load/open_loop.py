"""Arrivals at their scheduled instants, handed to a pool of sessions that grows by need.

The schedule is absolute: nothing waits relative to the last send, so a stalled server delays no arrival. An arrival
that finds no idle session waits in `pending`; what it waits is `backlog` in its sample, never hidden, never dropped.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from typing import Any, NamedTuple

import gevent
from gevent.hub import Waiter
from locust.exception import StopUser

from harness.arrivals import Schedule
from harness.load.desk import Slot
from harness.load.health import Health
from harness.load.ticks import Alarm
from harness.model import Phase

MAX_SESSIONS = 10_000
_BURST = 32  # arrivals handed over in a row when the schedule is behind, before the sessions may run
_BLOCK = 4096
_clock = time.perf_counter_ns


class Arrival(NamedTuple):
    """One intended send. `job` is what the session does with it: a payload, or a task of a user class."""

    slot: Slot
    job: Any


class Seat:
    """Where one session waits for its next arrival."""

    __slots__ = ("arrival", "waiter")

    def __init__(self) -> None:
        self.arrival: Arrival | None = None
        self.waiter: Any = Waiter()


class OpenLoop:
    """The schedule and the session pool of one load process.

    `spawn` starts one more session, which calls `sit` once, then `take` and `done` for each arrival, and `leave`.
    """

    def __init__(
        self,
        schedule: Schedule,
        job_of: Callable[[int], Any],
        spawn: Callable[[], None],
        health: Health,
        cap: int = MAX_SESSIONS,
    ) -> None:
        self._schedule = schedule
        self._job_of = job_of
        self._spawn_one = spawn
        self._health = health
        self._cap = cap
        self._idle: dict[Seat, None] = {}  # used as a stack: the session that served last is taken first
        self.pending: deque[Arrival] = deque()
        self.starting = 0  # sessions spawned that do not serve yet
        self.sessions = 0
        self.in_flight = 0
        self.closed = False  # the run is over: no session is opened, none takes another arrival
        self.due = 0  # arrivals whose instant has come
        self.last: Slot | None = None
        self._loop = gevent.get_hub().loop

    def run(self, t0: int) -> None:
        """Hand over every arrival at `t0` (monotonic ns) plus its offset. Returns after the last one."""
        alarm = Alarm()
        in_a_row = 0
        try:
            for slot, due_at in self._slots(t0):
                arrival = Arrival(slot, self._job_of(slot.request_id))  # while there is time: it may read from disk
                if due_at > _clock():
                    alarm.sleep_until(due_at)
                    in_a_row = 0
                elif (in_a_row := in_a_row + 1) >= _BURST:
                    gevent.sleep(0)
                    in_a_row = 0
                if self.due == self._schedule.warmups:
                    self._health.restart()
                self._health.lateness_s.append((_clock() - due_at) / 1e9)
                self.due += 1
                self.last = slot
                self._hand_over(arrival)
        finally:
            alarm.close()

    def _slots(self, t0: int) -> Iterator[tuple[Slot, int]]:
        """Each arrival's place in the run, and the monotonic instant it is due at."""
        s = self._schedule
        for at in range(0, len(s), _BLOCK):
            block = slice(at, at + _BLOCK)
            due = ((s.at_s[block] * 1e9).round().astype("int64") + t0).tolist()
            in_warmup = max(0, s.warmups - at)
            phases = chain(repeat(Phase.WARMUP.value, in_warmup), repeat(Phase.MEASURE.value))
            yield from zip(
                map(Slot, s.request_id[block].tolist(), due, phases, s.step[block].tolist()), due, strict=True
            )

    def _hand_over(self, arrival: Arrival) -> None:
        if self._idle:
            seat, _ = self._idle.popitem()
            seat.arrival = arrival
            self.in_flight += 1
            self._loop.run_callback(seat.waiter.switch, None)
            return
        self.pending.append(arrival)
        if self.starting < len(self.pending):
            self.spawn()

    def spawn(self) -> None:
        """One more session, unless the pool is full."""
        if self.closed or self.sessions >= self._cap:
            return
        self.starting += 1
        self.sessions += 1
        self._health.sessions = max(self._health.sessions, self.sessions)
        self._spawn_one()

    def gone(self, seat: Seat | None) -> None:
        """A session ended, by itself or by force. `seat` is None when it never sat down."""
        self.sessions -= 1
        if seat is None:
            self.starting -= 1
        elif self.pending and self.starting < len(self.pending):
            self.spawn()

    # --- called by a session ------------------------------------------------------------------------------

    def sit(self) -> Seat:
        """A session is ready to serve."""
        self.starting -= 1
        return Seat()

    def take(self, seat: Seat) -> Arrival:
        """The next arrival for this session; waits for it. The longest waiting one comes first.

        Raises StopUser when the run is over."""
        if self.closed:
            raise StopUser
        if self.pending:
            self.in_flight += 1
            seat.arrival = None
            return self.pending.popleft()
        seat.waiter.clear()
        self._idle[seat] = None
        seat.waiter.get()
        arrival = seat.arrival
        assert arrival is not None  # noqa: S101 - whoever wakes the seat has put one there
        seat.arrival = None
        return arrival

    def done(self) -> None:
        """The session has finished with its arrival."""
        self.in_flight -= 1

    def leave(self, seat: Seat) -> Arrival | None:
        """The session ends. Returns an arrival it was given and never took, if any."""
        self._idle.pop(seat, None)
        unserved, seat.arrival = seat.arrival, None
        if unserved is not None:
            self.in_flight -= 1
        return unserved
