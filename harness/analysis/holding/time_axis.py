"""Times of many places laid end to end on one axis, and integrals over it: one sweep serves all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LENGTH = 1 << 62
"""Of the whole axis, ns: more would not fit into 64 bits."""

Times = NDArray[np.int64]
Floats = NDArray[np.float64]
Numbers = NDArray[Any]  # instants, or floats


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """Each of `places` has a stretch of its own, `2 * half_ns + 2` long, with `centre_ns` in its middle.

    Instants outside the stretch are moved to its edge.
    """

    places: NDArray[np.int64]  # sorted
    centre_ns: int
    half_ns: int

    def at(self, place: NDArray[np.int64], instant_ns: Times) -> Times:
        """Where instants of known places stand."""
        offset = np.searchsorted(self.places, place) * (2 * self.half_ns + 2)
        found: Times = offset + self.half_ns + np.clip(instant_ns - self.centre_ns, -self.half_ns, self.half_ns)
        return found

    def place_at(self, at: NDArray[np.int64]) -> NDArray[np.int64]:
        """The place on whose stretch each point of the axis is."""
        found: NDArray[np.int64] = self.places[at // (2 * self.half_ns + 2)]
        return found

    def knows(self, place: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which places are on the axis."""
        return np.isin(place, self.places)


def axis_of(place: NDArray[np.int64], start_ns: Times, end_ns: Times) -> Axis:
    """An axis that holds intervals [start, end) of these places."""
    places = np.unique(place)
    if not len(place):
        return Axis(places, 0, 0)
    centre = int(np.median(start_ns))
    reach = max(abs(int(edge) - centre) for edge in (start_ns.min(), start_ns.max(), end_ns.min(), end_ns.max()))
    return Axis(places, centre, min(reach, _LENGTH // len(places) // 2 - 1))


@dataclass(frozen=True, slots=True, eq=False)
class Integral:
    """A function that never falls, linear between the instants `at`: 0 before the first, level after the last."""

    at: Numbers
    height: Floats
    slope: Floats

    def __call__(self, instant: Numbers) -> Floats:
        if not len(self.at):
            return np.zeros(len(instant))
        place = np.searchsorted(self.at, instant, side="right") - 1
        known = np.maximum(place, 0)
        risen = self.height[known] + self.slope[known] * (instant - self.at[known])
        return np.where(place >= 0, risen, 0.0)


def open_of(begin: Numbers, end: Numbers, weight: Floats | None = None) -> Integral:
    """The integral of how many of these intervals are open, or of their weight."""
    at, level = levels(begin, end, weight)
    return _integral(at, level.astype(np.float64))


def shared_of(begin: Times, end: Times) -> Integral:
    """The integral, in seconds, of 1 / n where n > 0 of these intervals are open, and of 0 elsewhere."""
    at, level = levels(begin, end)
    return _integral(at, np.where(level > 0, 1e-9 / np.maximum(level, 1), 0.0))


def levels(begin: Numbers, end: Numbers, weight: Floats | None = None) -> tuple[Numbers, Numbers]:
    """The instants at which intervals begin or end, and how many are open (or their weight) from each of them on."""
    at = np.concatenate((begin, end))
    change = np.concatenate((np.ones(len(begin), np.int64), -np.ones(len(end), np.int64)))
    order = np.argsort(at, kind="stable")
    steps = change if weight is None else np.concatenate((weight, -weight))
    level: Numbers = np.cumsum(steps[order])
    return at[order], level


def _integral(at: Numbers, slope: Floats) -> Integral:
    if not len(at):
        return Integral(at, slope, slope)
    slope[-1] = 0.0  # weights that are fractions may leave a trace
    return Integral(at, np.concatenate(([0.0], np.cumsum(slope[:-1] * np.diff(at)))), slope)
