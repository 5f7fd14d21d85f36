"""Ctrl-C as a request: once to stop and keep what was measured, twice to stop now."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType


class Interrupt:
    """While open, SIGINT, SIGTERM and SIGHUP only count; the code that runs looks at `stop` and `now`."""

    def __init__(self) -> None:
        self.presses = 0
        self._before: dict[signal.Signals, object] = {}

    @property
    def stop(self) -> bool:
        """End the run early, keeping what was measured."""
        return self.presses >= 1

    @property
    def now(self) -> bool:
        """Do not wait for anything any more."""
        return self.presses >= 2

    def again(self, presses: int) -> bool:
        """Whether it was pressed since there were `presses`, or twice in all: ends a wait that began then."""
        return self.now or self.presses > presses

    def __enter__(self) -> Interrupt:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # `nohup harness run ...`: the terminal may go, the run goes on
            self._before[number] = signal.signal(number, self._count)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal() itself returned

    def _count(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.presses += 1
