"""Instants since the epoch from a clock that never steps.

`time.time_ns` may be stepped or slewed in the middle of a request; `perf_counter_ns` may not, but counts from
nowhere. A Timebase anchors one to the other, takes the pair again once a second and keeps the drift it saw, so
that durations are monotonic and instants can still be compared with another process on the same host.
"""

from __future__ import annotations

import time
from collections.abc import Callable

REANCHOR_EVERY_NS = 1_000_000_000


class Timebase:
    """Monotonic instants in nanoseconds since the epoch.

    `drift_ns` is the largest difference found so far between two anchors: near zero on a quiet clock, large when
    the wall clock was stepped, and then a reason to doubt comparisons with other clocks.
    """

    __slots__ = ("_anchored_at", "_mono", "_offset", "_wall", "drift_ns")

    def __init__(self, wall: Callable[[], int] = time.time_ns, mono: Callable[[], int] = time.perf_counter_ns) -> None:
        self._wall = wall
        self._mono = mono
        self.drift_ns = 0
        _, self._offset, self._anchored_at = self._pair()

    def _pair(self) -> tuple[int, int, int]:
        """How far the pair may be off, the offset, and the monotonic instant it was taken; ns.

        Three tries, the tightest bracket wins: being descheduled between the two reads would bend the anchor.
        """
        best: tuple[int, int, int] | None = None
        for _ in range(3):
            before = self._mono()
            wall = self._wall()
            after = self._mono()
            if best is None or after - before < best[0]:
                best = (after - before, wall - (before + after) // 2, after)
        assert best is not None  # noqa: S101 - three tries were made
        return best

    def now_ns(self) -> int:
        """This instant, ns since the epoch."""
        return self._mono() + self._offset

    def at(self, mono_ns: int) -> int:
        """The instant of a `perf_counter_ns` reading, ns since the epoch."""
        return mono_ns + self._offset

    def reanchor(self) -> int:
        """Take the pair again if a second has passed. Returns the drift found, ns (0 when it was too early)."""
        if self._mono() - self._anchored_at < REANCHOR_EVERY_NS:
            return 0
        width, offset, self._anchored_at = self._pair()
        drift = offset - self._offset
        if abs(drift) <= width:  # no more than the pair itself may be off: on a busy machine the old one is better
            return 0
        self._offset = offset
        if abs(drift) > abs(self.drift_ns):
            self.drift_ns = drift
        return drift
