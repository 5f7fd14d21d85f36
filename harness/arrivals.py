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


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """Intended sends, one array element each, in order.

    `at_s`: seconds from the start of the run, float64, never decreasing. `measured`: False in the warm-up, which is a
    prefix. `step`: index into the load profile's steps, 0 during the warm-up. `end_s`: when the last step ends.
    """

    at_s: NDArray[np.float64]
    measured: NDArray[np.bool_]
    step: NDArray[np.int64]
    end_s: float

    def __len__(self) -> int:
        return len(self.at_s)

    @property
    def phase(self) -> NDArray[np.str_]:
        """ "warmup" or "measure" for each arrival; built on each call (28 bytes an arrival)."""
        return np.where(self.measured, Phase.MEASURE.value, Phase.WARMUP.value)


def schedule(load: LoadProfile) -> Schedule:
    """All arrivals of a load profile: a warm-up at the first step's rate, then each step for `duration_s`.

    The same load profile gives the same arrays; the seed alone decides. Rates are per second and above 0.
    """
    segments = [(load.warmup_s, load.steps[0])] + [(load.duration_s, rate) for rate in load.steps]
    starts = [0.0] + [load.warmup_s + i * load.duration_s for i in range(len(load.steps))]
    offsets = [_offsets(load, stream, length, rate) for stream, (length, rate) in enumerate(segments)]
    counts = [len(o) for o in offsets]
    for start, own in zip(starts, offsets, strict=True):
        own += start
    steps = np.repeat(np.array([0, *range(len(load.steps))], dtype=np.int64), counts)
    measured = np.ones(sum(counts), dtype=np.bool_)
    measured[: counts[_WARMUP_STREAM]] = False
    end_s = load.warmup_s + len(load.steps) * load.duration_s
    return Schedule(np.concatenate(offsets), measured, steps, end_s)


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
