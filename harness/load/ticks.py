"""Sleep until an absolute instant, to some tens of microseconds, without spinning.

The loop under gevent rounds its timers to milliseconds. A timerfd has the kernel's own resolution and wakes the loop
like any socket. Linux: timerfd_create(2). Elsewhere gevent's timer is used.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time

import gevent
from gevent import getcurrent

_CLOCK_MONOTONIC = 1
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
_clock = time.perf_counter_ns


class _Itimerspec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long), ("interval_ns", ctypes.c_long), ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )  # fmt: skip


class Alarm:
    """One sleeper. `sleep_until` blocks the calling greenlet only."""

    def __init__(self) -> None:
        self._fd = -1
        hub = gevent.get_hub()
        self._switch_away = hub.switch
        # perf_counter is CLOCK_MONOTONIC on Linux, the clock the timer is set by.
        if sys.platform == "linux":
            with contextlib.suppress(OSError, AttributeError):
                libc = ctypes.CDLL(None, use_errno=True)
                self._fd = libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
                self._set = libc.timerfd_settime
        if self._fd >= 0:
            self._at = _Itimerspec()
            self._at_pointer = ctypes.byref(self._at)
            self._watcher = hub.loop.io(self._fd, 1)

    def sleep_until(self, at_ns: int) -> None:
        """Return at the `perf_counter_ns` instant `at_ns` or just after it; at once when it has passed."""
        while True:
            left = at_ns - _clock()
            if left <= 0:
                return
            if self._fd < 0:
                gevent.sleep(left / 1e9)
            else:
                self._wait(at_ns)

    def _wait(self, at_ns: int) -> None:
        self._at.value_s, self._at.value_ns = divmod(at_ns, 1_000_000_000)
        # Setting the timer also forgets that it has fired, so nothing needs to be read. 1: an absolute instant.
        self._set(self._fd, 1, self._at_pointer, None)
        self._watcher.start(getcurrent().switch)
        try:
            self._switch_away()
        finally:
            self._watcher.stop()

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            self._watcher.stop()
            self._watcher.close()
            os.close(self._fd)
            self._fd = -1
