"""A limit on how long a greenlet may be busy, nearly free when it is kept.

gevent.Timeout makes, starts and stops a timer each time. Most requests end long before their limit, so one timer per
connection is enough: it stays armed from request to request, and looks when it fires whether it is needed at all.
"""

from __future__ import annotations

import time
from typing import Any

import gevent
from gevent import getcurrent

_NEVER = 1 << 63
_clock = time.perf_counter_ns


class Expired(BaseException):
    """Thrown into the greenlet whose time is over. No Exception: nobody on the way may swallow it."""


class Deadline:
    """The limit of one activity at a time, in one greenlet. Instants are monotonic ns."""

    __slots__ = ("_armed_for", "_at", "_greenlet", "_timer")

    def __init__(self) -> None:
        self._greenlet: Any = None
        self._timer: Any = None
        self._at = 0
        self._armed_for = _NEVER

    def begin(self, at_ns: int) -> None:
        """From now until `end`, the calling greenlet gets `Expired` when `at_ns` has come."""
        self._greenlet = getcurrent()
        self._at = at_ns
        if at_ns < self._armed_for:
            self._arm()

    def end(self) -> None:
        """The activity is over."""
        self._greenlet = None

    def close(self) -> None:
        """Give the timer back; `begin` makes another one."""
        self._greenlet = None
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None
            self._armed_for = _NEVER

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
        self._armed_for = self._at
        # The loop rounds to milliseconds; a timer that fires early is only armed once more.
        self._timer = gevent.get_hub().loop.timer(max(0.001, (self._at - _clock()) / 1e9), ref=False)
        self._timer.start(self._fired, update=True)  # user code may have run since the loop last looked at the clock

    def _fired(self) -> None:
        self._armed_for = _NEVER
        if self._greenlet is None:
            return
        if self._at > _clock():
            self._arm()
            return
        greenlet, self._greenlet = self._greenlet, None
        greenlet.throw(Expired)
