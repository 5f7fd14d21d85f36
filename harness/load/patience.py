"""How long a load process may be silent before it counts as blocked."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

SILENT_S = 20.0
"""Without a line, once it sends load: lines of progress come twice a second."""
OVERDUE_S = 30.0
"""After the end of the load and its drain: for on_stop of the users, and for the last samples to be handed over."""
STOP_WITHIN_S = 10.0
STOP_CREW_WITHIN_S = 30.0
"""A master waits for the last samples of workers elsewhere, and finds out itself which of its workers hangs."""
_ASLEEP_S = 2.0


@dataclass(frozen=True, slots=True)
class Limits:
    """`overdue_s` counts from the first progress of the load, `silent_s` from any line, `stop_s` from the request."""

    overdue_s: float
    silent_s: float = SILENT_S
    stop_s: float = STOP_WITHIN_S


class Patience:
    """Asked between waits. Starting up may take as long as it takes: importing, reading payloads, waiting for workers.

    Time in which we did not run ourselves (a suspended machine, SIGSTOP to the whole group) counts against nobody.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._looked_at = self._heard_at = clock()
        self._began_at: float | None = None
        self._asked_at: float | None = None

    def heard(self) -> None:
        """A line came."""
        self._heard_at = self._clock()

    def begin(self) -> None:
        """The load is on."""
        self._began_at = self._clock()

    def ask_to_stop(self) -> None:
        """It was asked to stop."""
        self._asked_at = self._clock()

    def expect_end(self, within_s: float) -> None:
        """It was asked to end as planned, but now."""
        if self._began_at is not None:
            self._limits = replace(self._limits, overdue_s=self._clock() - self._began_at + within_s)

    def is_over(self) -> bool:
        """Whether no end is to be expected any more. To be asked at least once a second."""
        now = self._clock()
        asleep_s = now - self._looked_at
        self._looked_at = now
        if asleep_s > _ASLEEP_S:
            self._heard_at = now
            self._began_at = None if self._began_at is None else self._began_at + asleep_s
            self._asked_at = None if self._asked_at is None else self._asked_at + asleep_s
            return False
        if self._asked_at is not None and now - self._asked_at > self._limits.stop_s:
            return True
        if self._began_at is None:
            return False
        return now - self._heard_at > self._limits.silent_s or now - self._began_at > self._limits.overdue_s
