"""Load profile + seed -> the instants at which requests are meant to be sent: pure functions on arrays.

The warm-up and each step draw from a stream of their own, keyed by (seed, segment), so a longer warm-up or one more
step leaves the arrivals of the other steps where they were, relative to their start. A closed loop has no schedule:
`users_at` says how many users there are when.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.errors import ScenarioError
from harness.model import Arrivals, LoadProfile, Phase, Step

if TYPE_CHECKING:
    from harness.scenario.replay_file import Recorded

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
    is the first `warmups` elements. `end_s`: when the last step ends. `kind`: of a replay that names its requests, the
    index of each one's name in `kind_names`; otherwise None, and the mix is drawn by weight.
    """

    at_s: NDArray[np.float64]
    request_id: NDArray[np.int64]
    step: NDArray[np.int16]
    warmups: int
    planned: int
    end_s: float
    kind: NDArray[np.int16] | None = None
    kind_names: tuple[str, ...] = ()

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


def schedule(load: LoadProfile, share: Share = ALL, recorded: Recorded | None = None) -> Schedule:
    """The arrivals of a load profile: a warm-up at the level the first step begins with, then the steps.

    The same load profile gives the same arrays; the seed alone decides. The shares of a run are disjoint, and together
    they are the schedule of `ALL`: constant arrivals are dealt out in turn, others by a draw of their own, so that
    each share of a Poisson process is one (thinning). `recorded` is what a replay sends again.
    Raises ValueError for a closed loop; ScenarioError when the recording is not the one the load profile was made of.
    """
    if load.arrivals is Arrivals.USERS:
        raise ValueError("a closed loop has no schedule: see users_at")
    if load.arrivals is Arrivals.REPLAY:
        return _replayed(load, share, recorded)
    segments = [Step(load.steps[0].level, load.warmup_s), *load.steps]
    offsets = [_offsets(load, stream, segment) for stream, segment in enumerate(segments)]
    counts = [len(o) for o in offsets]
    for start, own in zip((0.0, *_starts(load)), offsets, strict=True):
        own += start
    filled = [own for own in offsets if len(own)]
    at_s = filled[0] if len(filled) == 1 else np.concatenate(offsets)
    del offsets, filled, own
    steps = np.repeat(np.array([0, *range(len(load.steps))], dtype=np.int16), counts)
    ids = _own_ids(load, share, len(at_s))
    warmups = int(np.searchsorted(ids, counts[_WARMUP_STREAM]))
    if share.of == 1:
        return Schedule(at_s, ids, steps, warmups, len(at_s), load.end_s)
    return Schedule(at_s[ids], ids, steps[ids], warmups, len(at_s), load.end_s)


def _replayed(load: LoadProfile, share: Share, recorded: Recorded | None) -> Schedule:
    if recorded is None:
        raise ValueError("a replay needs its recording: see scenario.replay_file.read_recording")
    count = len(recorded.at_s)
    measured = count - int(np.searchsorted(recorded.at_s, load.warmup_s))
    if measured != round(load.steps[0].expected) or recorded.at_s[-1] >= load.end_s:
        raise ScenarioError(
            "the recording to replay has changed since it was checked", "leave it alone until the run has ended"
        )
    ids = _own_ids(load, share, count)
    warmups = int(np.searchsorted(ids, count - measured))
    kind = None if recorded.kind is None else recorded.kind[ids]
    steps = np.zeros(len(ids), dtype=np.int16)
    return Schedule(recorded.at_s[ids], ids, steps, warmups, count, load.end_s, kind, recorded.names)


def _own_ids(load: LoadProfile, share: Share, count: int) -> NDArray[np.int64]:
    if load.arrivals is Arrivals.CONSTANT or share.of == 1:
        return np.arange(share.index, count, share.of, dtype=np.int64)
    seeds = np.random.SeedSequence(load.seed, spawn_key=(_THINNING_STREAM,))
    marks = np.random.Generator(np.random.PCG64(seeds)).integers(share.of, size=count, dtype=np.int16)
    return np.flatnonzero(marks == share.index)


# --- one segment -------------------------------------------------------------------------------------------


def _offsets(load: LoadProfile, stream: int, segment: Step) -> NDArray[np.float64]:
    """Arrivals of one segment, seconds from its start, in [0, duration_s)."""
    if segment.duration_s <= 0:
        return np.empty(0)
    if load.arrivals is Arrivals.CONSTANT:
        # 1.1 s at 100/s is 110.00000000000001 in floats: rounded first, or one arrival more would slip in.
        order = np.arange(math.ceil(round(segment.expected, 6)), dtype=np.float64)
    else:
        seeds = np.random.SeedSequence(load.seed, spawn_key=(stream,))
        order = _unit_poisson(segment.expected, np.random.Generator(np.random.PCG64(seeds)))
    times = _at_cumulative(order, segment)
    return np.minimum(times, np.nextafter(segment.duration_s, 0.0), out=times)


def _unit_poisson(expected: float, random: np.random.Generator) -> NDArray[np.float64]:
    """A Poisson process of rate one on [0, expected): exponential gaps summed up.

    Drawn in unit time, so that another rate stretches the same pattern.
    """
    block = math.ceil(expected + 6 * math.sqrt(expected)) + 16
    times = _summed(random, block, 0.0)
    while times[-1] < expected:
        times = np.concatenate([times, _summed(random, block, float(times[-1]))])
    return times[: int(np.searchsorted(times, expected, side="left"))]


def _summed(random: np.random.Generator, count: int, start: float) -> NDArray[np.float64]:
    gaps = random.standard_exponential(count)
    gaps[0] += start
    return np.cumsum(gaps, out=gaps)


def _at_cumulative(order: NDArray[np.float64], segment: Step) -> NDArray[np.float64]:
    """When the cumulative rate of a segment reaches each value of `order`; overwrites it.

    The level goes from a to b in d seconds, so L(t) = a t + c t^2 with c = (b - a) / 2d. Of the two forms of its
    inverse, 2u / (a + sqrt(a^2 + 4 c u)) has no difference of nearly equal numbers when b is close to a. Mapping a
    Poisson process of rate one through it gives the one whose rate is the level (Cinlar, Introduction to Stochastic
    Processes, 1975, 4.7).
    """
    start = segment.level
    if segment.to is None:
        return np.divide(order, start, out=order)
    root = order * (2.0 * (segment.to - start) / segment.duration_s)
    root += start * start
    np.maximum(root, 0.0, out=root)
    np.sqrt(root, out=root)
    root += start
    order *= 2.0
    return np.divide(order, root, out=order)


# --- phases and users --------------------------------------------------------------------------------------


def _starts(load: LoadProfile) -> tuple[float, ...]:
    """When each step begins, seconds from the start of the run."""
    return tuple(accumulate((step.duration_s for step in load.steps[:-1]), initial=load.warmup_s))


def phase_at(load: LoadProfile, t_s: float) -> tuple[Phase, int]:
    """Phase and step at `t_s` seconds from the start of the run; after the last step the phase is DRAIN."""
    if t_s < load.warmup_s:
        return Phase.WARMUP, 0
    if t_s >= load.end_s:
        return Phase.DRAIN, len(load.steps) - 1
    return Phase.MEASURE, bisect_right(_starts(load), t_s) - 1


class Crew(NamedTuple):
    """How many users of a closed loop there are from `from_s` to `to_s`, seconds from the start of the run."""

    from_s: float
    to_s: float
    users: int
    step: int


def users_at(load: LoadProfile, share: Share = ALL) -> tuple[Crew, ...]:
    """The users of one load process over time, without gaps: the warm-up, then each step.

    A ramp is a staircase that stays equally long at every number from its first to its last. The numbers of all
    shares sum to the number of the load profile at every instant. Raises ValueError unless it is a closed loop.
    """
    if load.arrivals is not Arrivals.USERS:
        raise ValueError(f"{load.arrivals.value} arrivals have no users: see schedule")
    dealt = (crew._replace(users=_dealt(crew.users, share)) for crew in _crews(load))
    merged = []
    for _, same in groupby(dealt, lambda crew: (crew.from_s < load.warmup_s, crew.step, crew.users)):
        first, *others = same
        merged.append(first._replace(to_s=others[-1].to_s) if others else first)
    return tuple(merged)


def _crews(load: LoadProfile) -> Iterator[Crew]:
    if load.warmup_s > 0:
        yield Crew(0.0, load.warmup_s, round(load.steps[0].level), 0)
    starts = _starts(load)
    for number, (step, start) in enumerate(zip(load.steps, starts, strict=True)):
        end = load.end_s if number == len(starts) - 1 else starts[number + 1]
        first, last = round(step.level), round(step.level if step.to is None else step.to)
        stairs = range(first, last + 1) if last >= first else range(first, last - 1, -1)
        edges = [start + (end - start) * i / len(stairs) for i in range(len(stairs))]
        for users, from_s, to_s in zip(stairs, edges, [*edges[1:], end], strict=True):
            yield Crew(from_s, to_s, users, number)


def _dealt(users: int, share: Share) -> int:
    return users // share.of + (share.index < users % share.of)
