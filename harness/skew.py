"""Lines between bounds: what two drifting clocks may show each other, as plane geometry.

Instants are nanoseconds since some origin, heights nanoseconds of offset; a slope is a drift (1e-6 is 1 ppm). Bounds
from below are kept with their sign changed, so that both sides are ceilings and one arithmetic serves them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Lines = tuple[tuple[float, float], ...]
"""(slope, height at the origin), by rising slope."""

MOST_DRIFT = 500e-6
"""An operating system slews a clock by no more, and crystals are ten times better."""
SHORTEST_NS = 5e9  # a line over less says little about a drift
_FEWEST = 10  # bounds of each side under a line of its own
_TOLERANCE_NS = 1.0  # what whole nanoseconds and floats may get wrong
_PASSES = 12
_MOST_LINES = 64


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Bounds from above by rising instant: the offset at `at` is at most `by`."""

    at: Floats
    by: Floats

    def between(self, since: float, until: float) -> Ceiling:
        """Those with since <= at < until."""
        first, end = np.searchsorted(self.at, [since, until])
        return Ceiling(self.at[first:end], self.by[first:end])


@dataclass(frozen=True, slots=True)
class Band:
    """One line for the bounds from `since` to `until`, and the extremes around it.

    `above` are the highest lines possible, `below` the lowest with changed signs. `crossing` > 0: nothing fits, the
    two sides overlap by so many nanoseconds.
    """

    since: float
    until: float
    slope: float
    level: float  # at the origin
    above: Lines
    below: Lines
    crossing: float


def highest(lines: Lines, at: Floats) -> Floats:
    """The height of the highest of the lines at each instant."""
    heights = np.full(len(at), -np.inf)
    for slope, level in lines:
        np.maximum(heights, level + slope * at, out=heights)
    return heights


def follow(floor: Ceiling, ceiling: Ceiling) -> list[Band]:
    """One band where a line fits all bounds; else one or more between every two steps of a clock.

    A stretch in which no single line fits is halved until one does, or the bounds of a part become too few.
    """
    whole = _band(floor, ceiling)
    if whole.crossing == 0:
        return [whole]
    bands: list[Band] = []
    cuts = [-np.inf, *_steps(floor, ceiling), np.inf]
    for since, until in itertools.pairwise(cuts):
        bands += _halved(floor.between(since, until), ceiling.between(since, until), whole=True)
    return bands


# --- one line ----------------------------------------------------------------------------------------------


def _band(floor: Ceiling, ceiling: Ceiling) -> Band:
    """The line with the widest margin to both sides, and every line that fits.

    For each slope the lines that fit are an interval of levels, [bottom, top]; its width is concave in the slope and
    bends only at slopes of the two hulls.
    """
    above, below = _hull(ceiling), _hull(floor)
    bends = np.concatenate([_slopes(above), -_slopes(below), [-MOST_DRIFT, 0.0, MOST_DRIFT]])
    slopes = np.unique(np.clip(bends, -MOST_DRIFT, MOST_DRIFT))
    width = _top(above, slopes) + _top(below, -slopes)
    widest = width.max()
    slope = float(slopes[width >= widest - _TOLERANCE_NS / 1e3][[0, -1]].mean())
    constant = width[np.searchsorted(slopes, 0.0)]
    if constant >= (widest / 2 if widest > 0 else 2 * widest):  # a drift must earn its place
        slope = 0.0
    best = np.array([slope])
    top, bottom = float(_top(above, best)[0]), -float(_top(below, -best)[0])
    level = (top + bottom) / 2
    since, until = (float(pick([side.at[end] for side in (floor, ceiling)])) for pick, end in ((min, 0), (max, -1)))
    if widest < -_TOLERANCE_NS:
        return Band(since, until, slope, level, ((slope, bottom),), ((-slope, -top),), crossing=-float(widest))
    fit = _fitting(slopes, np.maximum(width, np.where(width == widest, 0, width)))
    lines = _lines(fit, _top(above, fit)), _lines(-fit[::-1], _top(below, -fit[::-1]))
    return Band(since, until, slope, level, *lines, crossing=0.0)


def _fitting(slopes: Floats, width: Floats) -> Floats:
    """The slopes at which some line fits: those that bend the set, and its two ends where the width becomes zero."""
    inside = np.flatnonzero(width >= 0)
    first, last = int(inside[0]), int(inside[-1])
    found = slopes[first : last + 1]
    ends: list[list[float]] = [[], []]
    for side, outside, edge in ((0, first - 1, first), (1, last + 1, last)):
        if 0 <= outside < len(slopes):
            part = width[edge] / (width[edge] - width[outside])
            ends[side] = [slopes[edge] + part * (slopes[outside] - slopes[edge])]
    return np.unique(np.concatenate([ends[0], found, ends[1]]))


def _lines(slopes: Floats, levels: Floats) -> Lines:
    """These lines, or fewer that are nowhere lower: a hull with many corners is not worth its time."""
    kept = np.unique(np.linspace(0, len(slopes) - 1, _MOST_LINES).round().astype(int))
    missed = (levels - np.interp(slopes, slopes[kept], levels[kept])).max()
    return tuple(zip(slopes[kept].tolist(), (levels[kept] + max(0.0, missed)).tolist(), strict=True))


def _hull(side: Ceiling) -> Ceiling:
    """The bounds that some line of a possible drift touches first: the lower convex hull.

    Most bounds say less than a neighbour's, whatever the drift: these go first, a million at a time.
    """
    falling, rising = side.by - MOST_DRIFT * side.at, side.by + MOST_DRIFT * side.at
    before = np.minimum.accumulate(falling)
    after = np.minimum.accumulate(rising[::-1])[::-1]
    kept = np.ones(len(side.at), bool)
    kept[1:] &= falling[1:] < before[:-1]
    kept[:-1] &= rising[:-1] <= after[1:]
    at, by = side.at[kept], side.by[kept]
    for _ in range(_PASSES):  # then those above the line from one neighbour to the other
        corner = np.ones(len(at), bool)
        corner[1:-1] = (by[1:-1] - by[:-2]) * (at[2:] - at[:-2]) < (by[2:] - by[:-2]) * (at[1:-1] - at[:-2])
        if corner.all():
            return Ceiling(at, by)
        at, by = at[corner], by[corner]
    return _chain(at.tolist(), by.tolist())


def _chain(at: list[float], by: list[float]) -> Ceiling:
    """The lower convex hull of bounds in order of time, one by one (Andrew's monotone chain)."""
    hull: list[tuple[float, float]] = []
    for x, y in zip(at, by, strict=True):
        while len(hull) > 1:
            (x0, y0), (x1, y1) = hull[-2:]
            if (y1 - y0) * (x - x0) < (y - y0) * (x1 - x0):
                break
            hull.pop()
        hull.append((x, y))
    columns = np.array(hull).T
    return Ceiling(columns[0], columns[1])


def _slopes(hull: Ceiling) -> Floats:
    return np.diff(hull.by) / np.diff(hull.at)


def _top(hull: Ceiling, slopes: Floats) -> Floats:
    """The highest level at the origin that a line of each slope may have."""
    touches = np.searchsorted(_slopes(hull), slopes)
    levels: Floats = hull.by[touches] - slopes * hull.at[touches]
    return levels


# --- several lines -----------------------------------------------------------------------------------------


def _halved(floor: Ceiling, ceiling: Ceiling, whole: bool = False) -> list[Band]:
    band = _band(floor, ceiling)
    if band.crossing == 0 and whole:
        return [band]
    middle = (band.since + band.until) / 2
    parts = [(floor.between(*ends), ceiling.between(*ends)) for ends in ((-np.inf, middle), (middle, np.inf))]
    few = any(len(side.at) < _FEWEST for part in parts for side in part)
    if band.crossing == 0 or few or band.until - band.since < 2 * SHORTEST_NS:
        return [_loosened(band, floor, ceiling)]
    return [found for part in parts for found in _halved(*part)]


def _loosened(band: Band, floor: Ceiling, ceiling: Ceiling) -> Band:
    """The same line where clocks are known not to follow one: a bound that holds for any course of a possible drift.

    Beyond the ends of the band it widens as fast as a clock may drift.
    """
    at = np.concatenate([floor.at, ceiling.at])
    line = band.level + band.slope * at
    top, bottom = _reach(ceiling, at), -_reach(floor, at)
    crossing = float((bottom - top).max())
    crossing = crossing if crossing > _TOLERANCE_NS else 0.0
    off = max(float((top - line).max()), float((line - bottom).max()), crossing / 2)

    def lines(slope: float, level: float) -> Lines:
        ends = (-MOST_DRIFT, band.since), (MOST_DRIFT, band.until)
        outside = [(steep, level + off + (slope - steep) * end) for steep, end in ends if steep != slope]
        return tuple(sorted([*outside, (slope, level + off)]))

    return replace(band, above=lines(band.slope, band.level), below=lines(-band.slope, -band.level), crossing=crossing)


def _reach(side: Ceiling, at: Floats) -> Floats:
    """The most that the offset can be at each instant, when it drifts in whatever way between the bounds."""
    edge = [np.inf]
    before = np.concatenate([edge, np.minimum.accumulate(side.by - MOST_DRIFT * side.at)])
    after = np.concatenate([np.minimum.accumulate((side.by + MOST_DRIFT * side.at)[::-1])[::-1], edge])
    earlier = before[np.searchsorted(side.at, at, side="right")] + MOST_DRIFT * at
    later = after[np.searchsorted(side.at, at)] - MOST_DRIFT * at
    reach: Floats = np.minimum(earlier, later)
    return reach


def _steps(floor: Ceiling, ceiling: Ceiling) -> list[float]:
    """Where a clock was stepped: no drift leads from the bounds before to those behind. At least 5 s apart."""
    start, end = min(floor.at[0], ceiling.at[0]), max(floor.at[-1], ceiling.at[-1])
    latest = min(end - SHORTEST_NS, *(side.at[-min(_FEWEST, len(side.at))] for side in (floor, ceiling)))
    cuts: list[float] = []
    span = 2 * SHORTEST_NS
    while start <= latest:
        parts = [side.between(start, start + span) for side in (floor, ceiling)]
        step = min(_first_conflict(*parts), _first_conflict(*parts[::-1]))
        if np.isinf(step) or any(len(part.at) < _FEWEST for part in parts):
            if start + span > end:
                break
            span *= 2
            continue
        step = max(
            _between(floor, ceiling, start, step), start + SHORTEST_NS, *(part.at[_FEWEST - 1] for part in parts)
        )
        if step > latest:
            break
        cuts.append(step)
        start, span = step, 2 * SHORTEST_NS
    return cuts


def _between(floor: Ceiling, ceiling: Ceiling, start: float, seen: float) -> float:
    """The middle of the time in which a clock was stepped, when `seen` is the first instant that shows it."""
    before = [_mirrored(side.between(start, seen)) for side in (floor, ceiling)]
    behind = [_mirrored(side.between(seen, seen + SHORTEST_NS)) for side in (floor, ceiling)]
    last = -min(_first_conflict(behind[0], before[1]), _first_conflict(behind[1], before[0]))
    return (max(last, start) + seen) / 2


def _mirrored(side: Ceiling) -> Ceiling:
    return Ceiling(-side.at[::-1], side.by[::-1])


def _first_conflict(one: Ceiling, other: Ceiling) -> float:
    """The first instant of `other` that contradicts an earlier bound of the other side; inf when none does."""
    if not len(one.at) or not len(other.at):
        return np.inf
    lowest = np.concatenate([[np.inf], np.minimum.accumulate(one.by - MOST_DRIFT * one.at)])
    room = lowest[np.searchsorted(one.at, other.at, side="right")] + other.by + MOST_DRIFT * other.at
    crossed = np.flatnonzero(room < -_TOLERANCE_NS)
    return float(other.at[crossed[0]]) if len(crossed) else np.inf
