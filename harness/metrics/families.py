"""The metrics of a run: names by the conventions of OpenTelemetry, base units, and what each is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from harness.findings import HealthState
from harness.metrics.tally import Distribution, Tally

Labels: TypeAlias = Mapping[str, str]
Kind = Literal["counter", "gauge", "histogram"]
_HEALTH = {HealthState.HEALTHY: 0, HealthState.SUSPECT: 1, HealthState.INVALID: 2}


@dataclass(frozen=True, slots=True)
class Point:
    """One series. A histogram's value is a distribution."""

    labels: Labels
    value: float | Distribution
    started_ns: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `unit` is UCUM as OpenTelemetry writes it: s, 1, {request}."""

    name: str
    kind: Kind
    unit: str
    help: str
    points: tuple[Point, ...]


def families(tallies: Sequence[Tally]) -> list[Family]:
    """The metrics of some runs, those that have a value."""
    found = [Family(name, kind, unit, text, tuple(_points(tallies, of))) for name, kind, unit, text, of in _FAMILIES]
    return [family for family in found if family.points]


def _points(tallies: Iterable[Tally], of: _Values) -> Iterator[Point]:
    for tally in tallies:
        at_ns = tally.frame.at_ns if tally.frame is not None else tally.started_ns
        for labels, value in of(tally):
            if value is not None:
                own = {"run_id": tally.run_id, "scenario": tally.scenario, **labels}
                yield Point(own, value, tally.started_ns, at_ns)


_Values: TypeAlias = Callable[[Tally], Iterable[tuple[Labels, float | Distribution | None]]]


def _requests(tally: Tally) -> Iterator[tuple[Labels, Distribution]]:
    for (name, phase, outcome), found in tally.requests.items():
        yield {"name": name, "phase": phase, "outcome": outcome}, found


def _counts(tally: Tally) -> Iterator[tuple[Labels, float]]:
    for labels, found in _requests(tally):
        yield labels, found.n


def _stages(tally: Tally) -> Iterator[tuple[Labels, Distribution]]:
    for stage, found in tally.stages.items():
        yield {"stage": stage}, found


def _errors(tally: Tally) -> Iterator[tuple[Labels, float]]:
    for what, count in tally.errors.items():
        yield {"error": what}, count


def _phase(tally: Tally) -> Iterator[tuple[Labels, float]]:
    if tally.frame is not None:
        yield {"phase": tally.frame.phase}, 1


def _health(tally: Tally) -> Iterator[tuple[Labels, float]]:
    if tally.frame is not None and tally.frame.health is not None:
        yield {}, _HEALTH[tally.frame.health]


def _of_frame(name: str) -> _Values:
    def of(tally: Tally) -> Iterator[tuple[Labels, float | None]]:
        yield {}, None if tally.frame is None else getattr(tally.frame, name)

    return of


_FAMILIES: tuple[tuple[str, Kind, str, str, _Values], ...] = (
    ("harness.request.duration", "histogram", "s",
     "Latency of each request, from the instant it was scheduled.", _requests),
    ("harness.stage.duration", "histogram", "s",
     "Time in a stage, of answered requests with a server half.", _stages),
    ("harness.requests", "counter", "{request}", "Requests that have ended.", _counts),
    ("harness.request.errors", "counter", "{request}", "Requests that failed, by what went wrong.", _errors),
    ("harness.requests.censored", "gauge", "{request}",
     "Requests that were still in flight when the run ended.", _of_frame("censored")),
    ("harness.requests.in_flight", "gauge", "{request}",
     "Requests that were sent and have no answer yet.", _of_frame("in_flight")),
    ("harness.requests.backlog", "gauge", "{request}",
     "Requests that are due and wait for a free session.", _of_frame("backlog")),
    ("harness.users", "gauge", "{user}", "Users of a closed loop.", _of_frame("users")),
    ("harness.offered", "gauge", "{request}/s",
     "Requests per second that the schedule asks for now.", _of_frame("offered_per_s")),
    ("harness.achieved", "gauge", "{request}/s",
     "Requests per second that ended lately.", _of_frame("rate_per_s")),
    ("harness.run.elapsed", "gauge", "s", "Time since the load began.", _of_frame("elapsed_s")),
    ("harness.run.phase", "gauge", "1", "1 for what the run is doing.", _phase),
    ("harness.generator.health", "gauge", "1",
     "The load generator about itself: 0 healthy, 1 suspect, 2 invalid.", _health),
)  # fmt: skip
