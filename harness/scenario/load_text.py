"""A load profile in words: for the plan before a run and the summary after it."""

from __future__ import annotations

import os
from collections.abc import Callable

from harness.model import Arrivals, LoadProfile, Step
from harness.units import format_count, format_duration, format_rate

MOST_SHOWN = 6
"""Steps that are written out; of more the first ones and the last."""


def amount_text(load: LoadProfile) -> str:
    """How much, in a few words: `poisson 4/s`, `poisson 1/s -> 8/s in 60 s (ramp)`, `16 users, think 200 ms to 2 s`."""
    if load.arrivals is Arrivals.REPLAY:
        return _replay(load)
    if load.arrivals is Arrivals.USERS:
        noun = " user" if [(step.level, step.to) for step in load.steps] == [(1.0, None)] else " users"
        return _steps(load, lambda level: format_count(round(level)), noun) + _think(load)
    return f"{load.arrivals.value} {_steps(load, format_rate)}"


def length_text(load: LoadProfile) -> str | None:
    """How long it is measured, when amount_text does not say: `60 s`, `60 s each`."""
    if load.arrivals is Arrivals.REPLAY or not _alike(load.steps):
        return None
    length = _length(load.steps[0].duration_s)
    return f"{length} each" if len(load.steps) > 1 else length


def load_text(load: LoadProfile) -> str:
    """The whole load profile on one line: `poisson 4/s, 10 s warm-up, 60 s, seed 7`."""
    parts = (amount_text(load), f"{_length(load.warmup_s)} warm-up", length_text(load), f"seed {load.seed}")
    return ", ".join(part for part in parts if part is not None)


def users_text(load: LoadProfile) -> str:
    """The users of a closed loop from fewest to most: `16 users`, `4 to 16 users`."""
    levels = [round(level) for step in load.steps for level in (step.level, step.to) if level is not None]
    low, high = min(levels), max(levels)
    if low != high:
        return f"{format_count(low)} to {format_count(high)} users"
    return "1 user" if low == 1 else f"{format_count(low)} users"


def _steps(load: LoadProfile, written: Callable[[float], str], noun: str = "") -> str:
    alike = _alike(load.steps)
    texts = [written(step.level) if alike else _one(step, written, noun) for step in load.steps]
    if len(texts) > MOST_SHOWN:
        texts = [*texts[: MOST_SHOWN - 2], "...", texts[-1] + (noun if alike else "") + f" ({len(load.steps)} steps)"]
        return " -> ".join(texts)
    return " -> ".join(texts) + (noun if alike else "")


def _one(step: Step, written: Callable[[float], str], noun: str) -> str:
    """A step with its length: `5/s for 10 s`, `1/s -> 8/s in 60 s (ramp)`."""
    if step.to is None:
        return f"{written(step.level)}{noun} for {_length(step.duration_s)}"
    return f"{written(step.level)} -> {written(step.to)}{noun} in {_length(step.duration_s)} (ramp)"


def _alike(steps: tuple[Step, ...]) -> bool:
    """Whether one length can be said for all."""
    return all(step.to is None and step.duration_s == steps[0].duration_s for step in steps)


def _think(load: LoadProfile) -> str:
    low, high = load.think_s
    if high == 0:
        return ""
    return f", think {_length(low)}" if low == high else f", think {_length(low)} to {_length(high)}"


def _replay(load: LoadProfile) -> str:
    step = load.steps[0]
    told = f"{format_count(round(step.expected))} arrivals in {_length(step.duration_s)}"
    if load.replay is None:
        return f"replay: {told}"
    name = os.path.basename(load.replay.path.rstrip("/"))
    speed = "" if load.replay.speed == 1 else f" at {load.replay.speed:g}x"
    return f"replay of {name}{speed}: {told}"


def _length(seconds: float) -> str:
    return format_duration(seconds, trim=True)
