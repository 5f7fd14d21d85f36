"""How a scenario's runs developed: p95 and the load it held, each as a small line."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.dashboard.glance import Glance
from harness.units import format_count, format_duration, format_rate

NEWEST = 40
"""Runs of a scenario that a line shows."""
WIDTH, HEIGHT, _EDGE = 150.0, 30.0, 3.0


@dataclass(frozen=True, slots=True)
class Line:
    """A small line: `points` of an SVG polyline, its last one, and what it says."""

    name: str
    points: str
    end: tuple[float, float]
    newest: str
    label: str


@dataclass(frozen=True, slots=True)
class Trend:
    """One scenario."""

    scenario: str
    n: int
    lines: tuple[Line, ...]


def trends(runs: Sequence[Glance]) -> list[Trend]:
    """One of each scenario with two runs to draw a line between, the one that ran last first."""
    by_scenario: dict[str, list[Glance]] = {}
    for run in sorted(runs, key=lambda each: each.started_ns or 0, reverse=True):
        if run.state == "concluded":
            by_scenario.setdefault(run.scenario, []).append(run)
    found = (Trend(name, len(each), _lines(each[:NEWEST][::-1])) for name, each in by_scenario.items())
    return [trend for trend in found if trend.lines]


def _lines(runs: Sequence[Glance]) -> tuple[Line, ...]:
    """`runs` in the order of time."""
    closed = bool(runs) and runs[-1].closed_loop
    load: Callable[[float | None], str] = _users if closed else format_rate
    alike = [run for run in runs if run.closed_loop == closed]
    lines = (
        _line("p95", [run.p95_s for run in runs], format_duration),
        _line("holds", [run.capacity for run in alike], load),
    )
    return tuple(line for line in lines if line is not None)


def _users(level: float | None) -> str:
    return f"{format_count(round(level or 0))} users"


def _line(name: str, values: Sequence[float | None], written: Callable[[float | None], str]) -> Line | None:
    """None with fewer than two figures. What is not known leaves no mark: its neighbours are joined."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if len(known) < 2:
        return None
    low, high = min(known), max(known)
    room = HEIGHT - 2 * _EDGE
    step = (WIDTH - 2 * _EDGE) / (len(known) - 1)
    places = [
        (_EDGE + number * step, HEIGHT - _EDGE - room * ((value - low) / (high - low) if high > low else 0.5))
        for number, value in enumerate(known)
    ]
    label = f"{name} of {len(known)} runs: {written(low)} to {written(high)}, of the newest {written(known[-1])}"
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return Line(name, points, places[-1], written(known[-1]), label)
