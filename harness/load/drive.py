"""A load process, or a master of several, from its start to its last word: what it said, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from harness.errors import ExitCode, HarnessError, NothingMeasured, UsageError
from harness.interrupt import Interrupt
from harness.load import launch
from harness.load.cost import Cost
from harness.load.launch import LoadProcess
from harness.load.order import Crew, Order
from harness.model import RunWarning

OnEvent = Callable[[Mapping[str, object]], None]

STOP_WITHIN_S = 10.0
_POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Loaded:
    """How the load child ended. `end` is its last word, empty when it died without one; `failed` says why then."""

    end: Mapping[str, Any]
    warnings: tuple[RunWarning, ...]
    interrupted: bool
    failed: HarnessError | None = None


def drive(order: Order, on_event: OnEvent, interrupt: Interrupt, crew: Crew, cost: Cost) -> Loaded:
    """Run the load child to its end; it does not outlive the call. `on_event` gets its progress lines.

    The end line's readings are those of the load processes and of `cost` over the time that the load was on.
    """
    warnings: list[RunWarning] = []
    asked = begun = False
    with _loading(order, crew) as child:
        while not child.over:
            for event in child.events(_POLL_S):
                if event["kind"] == "progress":
                    if "elapsed_s" in event and not begun:
                        begun = True
                        cost.begin()
                    on_event(event)
                elif event["kind"] == "warning":
                    warnings.append(RunWarning(**{k: v for k, v in event.items() if k != "kind"}))
                    if warnings[-1].invalidates or warnings[-1].code == "aborted":
                        on_event({"message": f"warning: {warnings[-1].message}"})
                elif event["kind"] == "end":
                    return Loaded(_with(cost, event), tuple(warnings), asked)
                elif event["kind"] == "failed":
                    return Loaded({}, tuple(warnings), asked, _failure(child, event))
            if interrupt.stop and not asked:
                asked = True
                child.request_stop()
            if interrupt.now:
                child.kill()
    return Loaded({}, tuple(warnings), asked)


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
