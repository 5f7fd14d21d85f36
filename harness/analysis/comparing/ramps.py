"""Steps that follow each other in one direction: are they steps, or a slope cut into pieces?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PLACES = 16
"""So many beginnings and ends of a slope are tried."""
SHORTEST = 8
"""Runs over which a slope has to extend: what moves faster is a step."""


@dataclass(frozen=True, slots=True)
class Ramp:
    """Level until `start`, in a straight line to `end`, level from there; `rise` in logarithms."""

    start: int
    end: int
    rise: float
    left: float  # sum of squares it leaves unexplained


def steps_and_ramps(logs: Floats, found: Sequence[tuple[int, float]]) -> tuple[list[tuple[int, float]], list[Ramp]]:
    """Changes (index, p) in order -> those that are steps, and the slopes that the others are parts of.

    A slope replaces several steps in one direction if it leaves less unexplained for its number of parameters
    (Schwarz 1978; of smoothed values, of which each is worth half a one).
    """
    borders = [0, *[at for at, _ in found], len(logs)]
    means = [float(logs[start:end].mean()) for start, end in pairwise(borders)] if found else []
    steps: list[tuple[int, float]] = []
    ramps: list[Ramp] = []
    first = 0
    while first < len(found):
        last, up = first, means[first + 1] > means[first]
        while last + 1 < len(found) and (means[last + 2] > means[last + 1]) == up:
            last += 1
        ramp = _better_ramp(logs, borders[first : last + 3]) if last > first else None
        if ramp is None:
            steps += found[first : last + 1]
        else:
            ramps.append(ramp)
        first = last + 1
    return steps, ramps


def _better_ramp(logs: Floats, borders: Sequence[int]) -> Ramp | None:
    """The best slope over the stretch of these borders, if it is better than a step at each inner one."""
    start, end = borders[0], borders[-1]
    stretch, steps = logs[start:end], len(borders) - 2
    of_steps = sum(_squares(logs[a:b]) for a, b in pairwise(borders))
    best = min(
        (
            _ramp(stretch, a, b)
            for a in _places(0, borders[1] - start)
            for b in _places(borders[-2] - start, len(stretch) - 1)
            if b - a >= SHORTEST
        ),
        key=lambda ramp: ramp.left,
        default=None,
    )
    if best is None:
        return None
    n, tiny = len(stretch) / 2.0, 1e-12 * len(stretch)
    gained = n * math.log((best.left + tiny) / (of_steps + tiny))
    parameters = 4 - (2 * steps + 1)
    if gained + parameters * math.log(n) > 0.0:
        return None
    return Ramp(start + best.start, start + best.end, best.rise, best.left)


def _places(low: int, high: int) -> list[int]:
    return sorted({round(each) for each in np.linspace(low, high, min(PLACES, high - low + 1))})


def _ramp(stretch: Floats, start: int, end: int) -> Ramp:
    shape = np.clip((np.arange(len(stretch)) - start) / (end - start), 0.0, 1.0)
    about = shape - shape.mean()
    rise = float(about @ stretch) / float(about @ about)
    return Ramp(start, end, rise, _squares(stretch - rise * shape))


def _squares(part: Floats) -> float:
    left = part - part.mean()
    return float(left @ left)
