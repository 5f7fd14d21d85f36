"""Load profile + seed -> the instants at which requests are meant to be sent: pure functions on arrays.

The warm-up and each step draw from a stream of their own, keyed by (seed, segment), so a longer warm-up or one more
step leaves the arrivals of the other steps where they were, relative to their start.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.model import Arrivals, LoadProfile, Phase

_WARMUP_STREAM = 0  # step i draws from stream i + 1
_THINNING_STREAM = 1 << 21


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of the arrivals one load process sends: number `index` of `of`."""

    index: int = 0
    of: int = 1


ALL = Share()


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """Intended sends of one load process, one array element each, in order.

    `at_s`: seconds from the start of the run, float64, never decreasing. `request_id`: position among the arrivals of
    the whole run, which are `planned` in all. `step`: index into the load profile's steps, 0 during the warm-up, which
    is the first `warmups` elements. `end_s`: when the last step ends.
    """

    at_s: NDArray[np.float64]
    request_id: NDArray[np.int64]
    step: NDArray[np.int16]
    warmups: int
    planned: int
    end_s: float

    def __len__(self) -> int:
        return len(self.at_s)

    @property
    def measured(self) -> NDArray[np.bool_]:
        """False in the warm-up; built on each call."""
        return np.arange(len(self)) >= self.warmups

    @property
    def phase(self) -> NDArray[np.str_]:
        """ "warmup" or "measure" for each arrival; built on each call (28 bytes an arrival)."""
        return np.where(self.measured, Phase.MEASURE.value, Phase.WARMUP.value)


def schedule(load: LoadProfile, share: Share = ALL) -> Schedule:
    """The arrivals of a load profile: a warm-up at the first step's level, then the steps.

    The same load profile gives the same arrays; the seed alone decides. The shares of a run are disjoint, and together
    they are the schedule of `ALL`: constant arrivals are dealt out in turn, random ones by a draw of their own, so that
    each share of a Poisson process is one (thinning).
    """
    segments = [(load.warmup_s, load.steps[0].level)] + [(step.duration_s, step.level) for step in load.steps]
    starts = np.cumsum([0.0, *(length for length, _ in segments[:-1])])
    offsets = [_offsets(load, stream, length, rate) for stream, (length, rate) in enumerate(segments)]
    counts = [len(o) for o in offsets]
    for start, own in zip(starts, offsets, strict=True):
        own += start
    steps = np.repeat(np.array([0, *range(len(load.steps))], dtype=np.int16), counts)
    at_s = np.concatenate(offsets)
    ids = _own_ids(load, share, len(at_s))
    warmups = int(np.searchsorted(ids, counts[_WARMUP_STREAM]))
    return Schedule(at_s[ids], ids, steps[ids], warmups, len(at_s), load.end_s)


def _own_ids(load: LoadProfile, share: Share, count: int) -> NDArray[np.int64]:
    if load.arrivals is Arrivals.CONSTANT or share.of == 1:
        return np.arange(share.index, count, share.of, dtype=np.int64)
    seeds = np.random.SeedSequence(load.seed, spawn_key=(_THINNING_STREAM,))
    marks = np.random.Generator(np.random.PCG64(seeds)).integers(share.of, size=count, dtype=np.int16)
    return np.flatnonzero(marks == share.index)


def _offsets(load: LoadProfile, stream: int, length_s: float, rate: float) -> NDArray[np.float64]:
    """Arrivals of one segment, seconds from its start, in [0, length_s)."""
    if length_s <= 0:
        return np.empty(0)
    if load.arrivals is Arrivals.CONSTANT:
        return _constant(length_s, rate)
    seeds = np.random.SeedSequence(load.seed, spawn_key=(stream,))
    return _poisson(length_s, rate, np.random.Generator(np.random.PCG64(seeds)))


def _constant(length_s: float, rate: float) -> NDArray[np.float64]:
    # 1.1 s at 100/s is 110.00000000000001 in floats: rounded first, or one arrival more would slip in.
    count = math.ceil(round(length_s * rate, 6))
    return np.arange(count, dtype=np.float64) / rate


def _poisson(length_s: float, rate: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Exponential gaps summed up. Gaps are drawn in unit time, so another rate stretches the same pattern."""
    expected = length_s * rate
    block = math.ceil(expected + 6 * math.sqrt(expected)) + 16
    times = _summed(random, block, 0.0)
    while times[-1] < expected:
        times = np.concatenate([times, _summed(random, block, float(times[-1]))])
    times = times[: int(np.searchsorted(times, expected, side="left"))]
    times /= rate
    return np.minimum(times, np.nextafter(length_s, 0.0), out=times)


def _summed(random: np.random.Generator, count: int, start: float) -> NDArray[np.float64]:
    gaps = random.standard_exponential(count)
    gaps[0] += start
    return np.cumsum(gaps, out=gaps)
