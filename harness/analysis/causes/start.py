"""The first requests of a service that was not warm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analysis.causes.scene import WORK, Floats, Scene
from harness.diagnosis import Cause, Steadiness
from harness.units import format_count, format_duration

MUCH_SLOWER = 3.0
"""Work that takes so many times as long as later is first-time work."""
LEAST_MORE_S = 0.05
WARMING_SLOWER = 1.5
"""The same for a run that was found to settle."""
BEYOND_CHANCE = 1.5
"""Beyond the slowest of the later ones, since one of any ten requests is the slowest."""
LATE_SLOW = 0.02
"""A larger share of such slow ones in the second half is no start: they go on."""
LATEST_START = 10
LATEST_END = 0.5
COST = 0.10
LEAST_ROWS = 50
"""Of fewer, a costly request or two at the start are no more than chance."""
NEARLY_ALL = 0.7
"""Of the first requests: a start is slow for nearly all that come in it, chance strikes one here and there."""
LEAST_SLOW = 3
BY_FAR = 10.0
"""The very first request alone is a start when it works so many times as long as its kind does later."""
LEAST_OF_KIND = 5
BACK = 2.0


@dataclass(frozen=True, slots=True)
class ColdStart:
    """`settled_ns` is the scheduled instant of the first request that was not touched by it."""

    cause: Cause
    settled_ns: int


def cold_start(scene: Scene) -> ColdStart | None:
    """First-time work is told from a queue that happened to be long at first by the work itself: that is slow only
    at the start of the run, and waiting is left out of it."""
    work = scene.column("other") + sum((scene.column(stage) for stage in WORK), np.zeros(len(scene.rows)))
    latency = scene.latencies()
    half = len(work) // 2
    if len(work) < LEAST_ROWS:
        return None
    usual, usual_latency = float(np.median(work[half:])), float(np.median(latency[half:]))
    if usual <= 0:
        return None
    settled = _slow_until(work, _usual_of_kind(scene, work, usual)) or _warming_until(scene, work, usual)
    if settled is None:
        return None
    back = np.flatnonzero(latency[settled:] <= BACK * usual_latency)
    if not len(back):
        return None
    settled += int(back[0])
    cost_s = float((latency[:settled] - latency[settled:].mean()).sum() / len(latency))
    if settled > LATEST_END * len(latency) or cost_s < COST * float(latency[settled:].mean()) or cost_s <= 0:
        return None
    return ColdStart(_told(scene, work, settled, usual, cost_s), int(scene.rows["scheduled_ns"].iloc[settled]))


def _usual_of_kind(scene: Scene, work: Floats, usual: float) -> Floats:
    """What each request's kind (name and size) takes later: a costly kind that comes first is no start."""
    half = len(work) // 2
    kind = scene.rows["name"].astype(str).reset_index(drop=True)
    sizes = scene.attribute("bytes_sent")
    if sizes is not None:  # classes of twice the bytes
        classes = np.round(np.log2(np.maximum(1.0, np.nan_to_num(sizes)))).astype(int)
        kind = kind + " " + pd.Series(classes).astype(str)
    later = pd.Series(work[half:]).groupby(kind[half:].to_numpy()).agg(["median", "size"])
    known = later.loc[later["size"] >= LEAST_OF_KIND, "median"]
    found: Floats = kind.map(known).fillna(usual).to_numpy(dtype=np.float64)
    return np.maximum(found, 1e-9)


def _slow_until(work: Floats, usual: Floats) -> int | None:
    """Number of requests up to the last slow one of the start; None when slow ones go on, or do not begin there.
    `usual` is what each would take later."""
    half = len(work) // 2
    times = work / usual
    chance = BEYOND_CHANCE * float(np.quantile(times[half:], 1.0 - LATE_SLOW))
    is_slow = (times >= max(MUCH_SLOWER, chance)) & (work >= usual + LEAST_MORE_S)
    slow = np.flatnonzero(is_slow)
    early = slow[slow < half]
    if not len(early) or early[0] >= LATEST_START or (slow >= half).mean() * len(slow) > LATE_SLOW * half:
        return None
    # The start ends where slow ones are no longer close to each other.
    gaps = np.flatnonzero(np.diff(early) > max(LATEST_START, early[0] + 1) * 2)
    end = int(early[gaps[0]] if len(gaps) else early[-1]) + 1
    if is_slow[:end].sum() >= LEAST_SLOW and is_slow[:end].mean() >= NEARLY_ALL:
        return end
    if not is_slow[0] or times[0] < max(BY_FAR, BY_FAR * chance / MUCH_SLOWER):
        return None
    fast = np.flatnonzero(~is_slow[:end])
    return int(fast[0]) if len(fast) else end


def _warming_until(scene: Scene, work: Floats, usual: float) -> int | None:
    first = next(iter(scene.facts.steps), None)
    if first is None or first.state is not Steadiness.WARMING or first.settled_after_s is None:
        return None
    at_ns = scene.rows["scheduled_ns"].to_numpy()
    settled = int(np.searchsorted(at_ns, at_ns[0] + first.settled_after_s * 1e9))
    return settled if settled > 0 and work[:settled].mean() >= WARMING_SLOWER * usual else None


def _told(scene: Scene, work: Floats, settled: int, usual: float, cost_s: float) -> Cause:
    at_ns = scene.rows["scheduled_ns"].to_numpy()
    took = format_duration((int(at_ns[settled]) - int(at_ns[0])) / 1e9)
    worst, count = float(work[:settled].max()), format_count(settled)
    stage = max((*WORK, "other"), key=lambda name: float(scene.column(name)[:settled].mean()))
    before, later = (float(part.mean()) for part in (scene.latencies()[:settled], scene.latencies()[settled:]))
    steps = tuple(step.sentence for step in scene.facts.steps[:1] if step.state is Steadiness.WARMING)
    return Cause(
        code="cold_start",
        stage=stage,
        resource=None,
        model=None,
        sentence=(
            f"The service was cold: its first {count} requests ({took}) took {format_duration(before)} on average, "
            f"later ones {format_duration(later)}, and the slowest first one worked {format_duration(worst)}."
        ),
        remedy="load the models and let them answer once before the service says it is ready, and give the test a "
        "longer warm-up",
        evidence=(
            f"mean latency {format_duration(before)} of the first {count} requests, {format_duration(later)} of the "
            f"{format_count(len(work) - settled)} later ones",
            f"work without waiting: at most {format_duration(worst)} at the start, later {format_duration(usual)} in "
            f"the middle, mostly {stage}",
            *steps,
        ),
        cost_s=cost_s,
    )
