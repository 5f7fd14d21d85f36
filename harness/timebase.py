"""Instants since the epoch from a clock that never steps.

`time.time_ns` may be stepped or slewed in the middle of a request; `perf_counter_ns` may not, but counts from
nowhere. A Timebase anchors one to the other, takes the pair again once a second and keeps the drift it saw, so
that durations are monotonic and instants can still be compared with another process on the same host.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

REANCHOR_EVERY_NS = 1_000_000_000
STEP_NS = 1_000_000
"""More than this within a second is a step: what an operating system slews a clock by is half of it (500 ppm)."""
_MAX_STEPS = 100


@dataclass(frozen=True, slots=True)
class ClockStep:
    """The wall clock jumped by `by_ns` some time in the second before `at_ns` (epoch ns, by the new clock)."""

    at_ns: int
    by_ns: int


class Timebase:
    """Monotonic instants in nanoseconds since the epoch: a `perf_counter_ns` reading plus `offset_ns`.

    `drift_ns` is the largest difference found so far between two anchors: near zero on a quiet clock, large when
    the wall clock was stepped, and then a reason to doubt comparisons with other clocks. `steps` are the first hundred
    jumps, `step_count` counts all.
    """

    __slots__ = ("_anchored_at", "_mono", "_wall", "drift_ns", "offset_ns", "step_count", "steps")

    def __init__(self, wall: Callable[[], int] = time.time_ns, mono: Callable[[], int] = time.perf_counter_ns) -> None:
        self._wall = wall
        self._mono = mono
        self.drift_ns = 0
        self.steps: list[ClockStep] = []
        self.step_count = 0
        _, self.offset_ns, self._anchored_at = self._pair()

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
        return self._mono() + self.offset_ns

    def at(self, mono_ns: int) -> int:
        """The instant of a `perf_counter_ns` reading, ns since the epoch."""
        return mono_ns + self.offset_ns

    def reanchor(self) -> int:
        """Take the pair again if a second has passed. Returns the drift found, ns (0 when it was too early)."""
        before = self._anchored_at
        if self._mono() - before < REANCHOR_EVERY_NS:
            return 0
        width, offset, self._anchored_at = self._pair()
        drift = offset - self.offset_ns
        if abs(drift) <= width:  # no more than the pair itself may be off: on a busy machine the old one is better
            return 0
        self.offset_ns = offset
        if abs(drift) > abs(self.drift_ns):
            self.drift_ns = drift
        if abs(drift) * REANCHOR_EVERY_NS > STEP_NS * (self._anchored_at - before):
            self.step_count += 1
            if len(self.steps) < _MAX_STEPS:
                self.steps.append(ClockStep(self.at(self._anchored_at), drift))
        return drift
