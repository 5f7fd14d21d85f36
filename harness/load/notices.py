"""What a load process says about its run, besides its figures: warnings, each once, and when enough have failed."""

from __future__ import annotations

import traceback
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from harness.load.live import Live
from harness.load.recorder import Recorder
from harness.timebase import Timebase

Emit = Callable[[dict[str, Any]], None]

_MOST_WARNINGS = 50
_MOST_STEPS = 5
_INVALID_STEP_NS = 20_000_000
_LOOKS = 11  # at the counts, half a second apart
_FEWEST_ANSWERS = 20


class Notices:
    """Emits warning lines."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._said: set[str] = set()
        self._steps_said = 0
        self.task_errors: Counter[str] = Counter()

    def warn(self, code: str, message: str, hint: str, invalidates: bool = False) -> None:
        """One warning line."""
        self._emit({"kind": "warning", "code": code, "message": message, "hint": hint, "invalidates": invalidates})

    def _once(self, what: str) -> bool:
        if what in self._said or len(self._said) >= _MOST_WARNINGS:
            return False
        self._said.add(what)
        return True

    def task_error(self, user_instance: Any, exception: BaseException, **_: Any) -> None:
        """A listener of Locust's user_error event."""
        what = f"{type(exception).__name__}: {' '.join(str(exception).split())[:200]}"
        self.task_errors[what] += 1
        if self._once(what):
            traceback.print_exception(exception)  # to the log of this process
            message = f"a task of {type(user_instance).__name__} failed: {what}"
            self.warn("task_error", message, "load-*.log in the run folder has the traceback", invalidates=True)

    def no_request(self, task: str) -> None:
        """A task came to its end and had sent nothing."""
        if self._once(f"no_request {task}"):
            self.warn("no_request", f"the task {task} ended without a request", "its arrivals leave no sample")

    def foreign_clients(self, kinds: Sequence[str]) -> None:
        """Classes bring clients that are not ours."""
        does, its = ("times its", "its") if len(kinds) == 1 else ("time their", "their")
        message = (
            f"{' and '.join(kinds)} {does} requests in Python: connect and upload are not told apart, and {its} own CPU"
            " time is in the latency"
        )
        self.warn("foreign_client", message, "derive the class from harness.load.HarnessUser; the tasks can stay")

    def left_early(self, users: int) -> None:
        """Users of a closed loop that ended by themselves."""
        if users:
            message = f"{users:,} of the users ended before the run did: the load was lower than planned since"
            self.warn("users_left", message, "a task or on_start raised, or stopped its user")

    def lost_rows(self, recorder: Recorder) -> None:
        """The disk refused samples."""
        if recorder.failure is not None:
            message = f"samples cannot be written ({recorder.failure}): the last {recorder.lost:,} are lost"
            self.warn("recorder", message, "free some disk space, or choose another place with --out", invalidates=True)

    def clock_steps(self, timebase: Timebase, started_ns: int) -> None:
        """Jumps of the wall clock since the last call. `started_ns`: of the run, epoch."""
        steps = timebase.steps[self._steps_said : _MOST_STEPS]
        self._steps_said += len(steps)
        for step in steps:
            after_s = max(0, step.at_ns - started_ns) / 1e9
            message = f"the wall clock jumped by {step.by_ns / 1e6:+.1f} ms, {after_s:.0f} s into the run"
            hint = "spans of these seconds may be cut; is a time service setting this machine's clock?"
            self.warn("clock_step", message, hint, invalidates=abs(step.by_ns) > _INVALID_STEP_NS)

    def aborted(self, after_s: float, share: float, answers: int, above: float, errors: Counter[str]) -> None:
        """Too much failed; `errors` so far, by name."""
        message = (
            f"stopped after {after_s:.1f} s: {100 * share:.0f} % of the last {answers:,} answers failed"
            f" (abort_on: error_rate > {100 * above:g}%), most with: "
            + ", ".join(f"{name} ({count:,})" for name, count in errors.most_common(3))
        )
        self.warn("aborted", message, "is the service up to this load?")


class FailureWatch:
    """Tells when the share of failed answers over the last five seconds is above a limit."""

    def __init__(self, above: float | None) -> None:
        self.above = above
        self._looks: deque[tuple[int, int]] = deque([(0, 0)], maxlen=_LOOKS)

    def look(self, live: Live) -> tuple[float, int] | None:
        """To be called twice a second. The share and its number of answers when it is above; else None."""
        self._looks.append((live.answers, live.failed))
        if self.above is None:
            return None
        answers, failed = (new - old for new, old in zip(self._looks[-1], self._looks[0], strict=True))
        if answers < _FEWEST_ANSWERS or failed <= self.above * answers:
            return None
        return failed / answers, answers
