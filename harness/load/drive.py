"""A load process, or a master of several, from its start to its last word: what it said, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from harness.errors import ExitCode, HarnessError, NothingMeasured, UsageError
from harness.interrupt import Interrupt
from harness.load import launch, stack
from harness.load.cost import Cost
from harness.load.launch import LoadProcess
from harness.load.order import Crew, Order
from harness.load.patience import OVERDUE_S, STOP_CREW_WITHIN_S, STOP_WITHIN_S, Limits, Patience
from harness.model import RunWarning

OnEvent = Callable[[Mapping[str, object]], None]
Decide = Callable[[Mapping[str, Any], bool], float | None]
"""Gets each line of progress of the load, and whether the measurement is invalid already. Returns the seconds from the
start of the load at which the measured part may end, None as long as it has to go on."""

_POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Loaded:
    """How the load child ended. `end` is its last word, empty when it died without one; `failed` says why then."""

    end: Mapping[str, Any]
    warnings: tuple[RunWarning, ...]
    interrupted: bool
    failed: HarnessError | None = None
    code: str = "load_process"  # of the warning about `failed`
    enough_s: float | None = None  # seconds from the start of the load: it was asked to end there, before its plan


def drive(
    order: Order,
    on_event: OnEvent,
    interrupt: Interrupt,
    crew: Crew,
    cost: Cost,
    decide: Decide | None = None,
) -> Loaded:
    """Run the load child to its end; it does not outlive the call. `on_event` gets its progress lines, and so does
    `decide`, which may end the run before its plan does.

    The end line's readings are those of the load processes and of `cost` over the time that the load was on. A child
    that hangs is killed; what it has recorded until then stays.
    """
    course = _Course(on_event, cost, decide, Patience(_limits(order, crew)))
    with _loading(order, crew) as child:
        while not child.over:
            for event in child.events(_POLL_S):
                course.patience.heard()
                if event["kind"] == "progress":
                    course.go_on(child, event, order.scenario.load.drain_s)
                elif event["kind"] == "warning":
                    course.warnings.append(_warned(event, on_event))
                elif event["kind"] == "end":
                    return course.ended(_with(cost, event))
                elif event["kind"] == "failed":
                    return course.ended({}, _failure(child, event))
            if interrupt.stop and not course.asked:
                course.asked = True
                child.request_stop()
                course.patience.ask_to_stop()
            if interrupt.now:
                child.kill()
            elif course.patience.is_over():
                return course.ended({}, _blocked(child, on_event), "blocked")
    return course.ended({})


@dataclass(slots=True)
class _Course:
    """What has happened so far in a run that is on."""

    on_event: OnEvent
    cost: Cost
    decide: Decide | None
    patience: Patience
    warnings: list[RunWarning] = field(default_factory=list)
    begun: bool = False
    asked: bool = False  # to stop
    enough_s: float | None = None

    def go_on(self, child: LoadProcess, progress: Mapping[str, Any], drain_s: float) -> None:
        """One line of progress: the first one with a time says that the load is on, later ones may be enough."""
        if "elapsed_s" in progress and not self.begun:
            self.begun = True
            self.cost.begin()
            self.patience.begin()
        self.on_event(progress)
        if self.decide is None or self.enough_s is not None or self.asked or not self.begun:
            return
        self.enough_s = self.decide(progress, any(warning.invalidates for warning in self.warnings))
        if self.enough_s is not None:
            child.say_enough(self.enough_s)
            self.patience.expect_end(drain_s + OVERDUE_S)

    def ended(self, end: Mapping[str, Any], failed: HarnessError | None = None, code: str = "load_process") -> Loaded:
        return Loaded(end, tuple(self.warnings), self.asked, failed, code, self.enough_s)


def _limits(order: Order, crew: Crew) -> Limits:
    load = order.scenario.load
    alone = crew.size == 1 and not crew.expected
    return Limits(load.end_s + load.drain_s + OVERDUE_S, stop_s=STOP_WITHIN_S if alone else STOP_CREW_WITHIN_S)


def _blocked(child: LoadProcess, on_event: OnEvent) -> NothingMeasured:
    """End a child that hangs, and say where it does."""
    message = stack.blocked_sentence(stack.of_blocked(child.pid, child.log))
    on_event({"message": f"warning: {message}; it is ended"})
    child.kill()
    return NothingMeasured(message, "what was recorded until then is kept; look for a loop or a pattern without an end")


def _warned(event: Mapping[str, Any], on_event: OnEvent) -> RunWarning:
    warning = RunWarning(**{k: v for k, v in event.items() if k != "kind"})
    if warning.invalidates or warning.code == "aborted":
        on_event({"message": f"warning: {warning.message}"})
    return warning


def _with(cost: Cost, end: Mapping[str, Any]) -> dict[str, Any]:
    return {**end, "readings": [*end.get("readings", ()), *cost.readings()]}


@contextmanager
def _loading(order: Order, crew: Crew) -> Iterator[LoadProcess]:
    child = launch.start(order, crew)
    try:
        yield child
    finally:
        if child.wait(STOP_WITHIN_S) is None:
            child.kill()
            child.wait(STOP_WITHIN_S)
        child.wait_for_company(STOP_WITHIN_S)


def _failure(child: LoadProcess, event: Mapping[str, Any]) -> HarnessError:
    """A load child that could not begin says so by its exit code; one that broke or was killed measured nothing."""
    refused = child.wait(STOP_WITHIN_S) == ExitCode.USAGE
    return (UsageError if refused else NothingMeasured)(event["message"], event["hint"])
