"""An event loop that is kept busy, and services that take requests late."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.analysis.causes.queues import blamed
from harness.analysis.causes.scene import LOOP, Floats, Scene
from harness.analysis.doubts import SMALL_REQUEST, TAKEN_LATE
from harness.diagnosis import Cause
from harness.units import format_duration, format_share

LATE_S = 0.020
"""Once a second the largest delay of the loop is told: a median from here on is no grain of the machine."""
VERY_LATE_S = 0.050
OFTEN = 0.30
COST = 0.15
GROWS = 0.5
"""Correlation of the time with the size from which on it is the way."""
LEAST_READINGS = 5
MATCHES = 0.6
"""One block of the loop is at most its largest delay: unclaimed time that is clearly longer is no block of it."""
MOSTLY_SMALL = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Loops:
    """The event loops of a service's processes: each process has its own, and one may be blocked alone.

    `late` are the processes with a blocked one, `told` all that say enough; `lags` are readings of the late ones.
    """

    late: tuple[str, ...]
    told: int
    lags: Floats

    @property
    def whose(self) -> str:
        """E.g. "service's event loop" or "event loop of 1 of 4 service processes (api/7)"."""
        if len(self.late) == self.told or not self.late:
            return "service's event loop"
        more = f" and {len(self.late) - 3} more" if len(self.late) > 3 else ""
        return f"event loop of {len(self.late)} of {self.told} service processes ({', '.join(self.late[:3])}{more})"


def loops_of(scene: Scene) -> Loops:
    late, kept, told = [], [np.zeros(0)], 0
    for process, readings in scene.readings("harness.event_loop.lag").groupby("process"):
        lags = readings["value"].to_numpy(dtype=np.float64)
        if len(lags) < LEAST_READINGS:
            continue
        told += 1
        if float(np.median(lags)) >= LATE_S or float((lags >= VERY_LATE_S).mean()) >= OFTEN:
            late.append(str(process))
            kept.append(lags)
    return Loops(tuple(late), told, np.concatenate(kept))


def is_late(scene: Scene) -> bool | None:
    """Whether an event loop of the service was blocked; None when it does not say."""
    loops = loops_of(scene)
    return bool(loops.late) if loops.told else None


def mostly_small(scene: Scene) -> bool | None:
    """Whether most requests are so small that the way cannot hold them up; None when sizes are not known."""
    sizes = scene.attribute("bytes_sent")
    if sizes is None or not np.isfinite(sizes).any():
        return None
    return float((sizes <= SMALL_REQUEST).mean()) >= MOSTLY_SMALL


def grows_with_bytes(scene: Scene, stage: str, attribute: str) -> bool:
    """Whether larger ones take longer there: then it is the way, and not a wait at its end."""
    sizes = scene.attribute(attribute)
    if sizes is None:
        return False
    took = scene.column(stage)
    known = np.isfinite(sizes)
    if known.sum() < 10 or np.ptp(sizes[known]) <= 0 or np.ptp(took[known]) <= 0:
        return False
    return bool(np.corrcoef(sizes[known], took[known])[0, 1] >= GROWS)


def waits_outside(scene: Scene) -> float:
    """The wait before the service took a request, as far as it is no way: that of small requests."""
    if mostly_small(scene) is False or grows_with_bytes(scene, "upload", "bytes_sent"):
        return scene.mean("queue_est")
    return scene.mean("upload", "queue_est")


def event_loop(scene: Scene) -> Cause | None:
    """Code that runs on the event loop keeps all other requests of the process waiting: in being taken, in going on
    after a thread, and in time that nobody claims. On a machine without a free core only the last tells it from other
    programs that take the processor."""
    loops = loops_of(scene)
    late = bool(loops.late) if loops.told else None
    if late is False or (scene.is_crowded and not scene.is_worth(scene.mean("other"), COST)):
        return None
    back_s, outside_s, other_s = scene.waited(LOOP), waits_outside(scene), scene.mean("other")
    if late:
        other_s = min(other_s, _explained(scene, loops, other_s))
        cost_s = back_s + outside_s + other_s
        if not scene.is_worth(cost_s, COST):
            return None
    else:
        taken_late = scene.has_warning(TAKEN_LATE)
        cost_s = back_s + (outside_s if taken_late else 0.0)
        if not scene.is_worth(cost_s, COST) or not scene.is_worth(back_s, COST / 3 if taken_late else COST):
            return None
    return Cause(
        code="event_loop",
        stage=_stage(back_s, outside_s, other_s),
        resource=LOOP,
        model=None,
        sentence=_sentence(scene, loops, cost_s),
        remedy="move what computes or blocks out of `async def` into a thread (plain `def`, asyncio.to_thread) or "
        "another process",
        evidence=_evidence(scene, loops.lags, back_s, outside_s),
        cost_s=cost_s,
    )


def _explained(scene: Scene, loops: Loops, other_s: float) -> float:
    """How much of the unclaimed time the delays explain, at most. The largest delay of a second is no delay that each
    request meets: without a block of that length in each request, one meets it as often as the loop is blocked."""
    typical = float(np.median(loops.lags))
    if typical >= MATCHES * other_s:
        return other_s
    lasted_s = float(np.ptp(scene.rows["scheduled_ns"].to_numpy(dtype=np.int64))) / 1e9
    rate = len(scene.rows) / lasted_s / max(1, loops.told) if lasted_s > 0 else 0.0
    return min(1.0, rate * typical) * typical


def _stage(back_s: float, outside_s: float, other_s: float) -> str:
    named = {"queue": back_s, "upload": outside_s, "other": other_s}
    return max(named, key=lambda name: named[name])


def _sentence(scene: Scene, loops: Loops, cost_s: float) -> str:
    told = f"The {loops.whose} is kept busy: {scene.of_mean(cost_s)} go by with waiting for it or blocking it"
    lags = loops.lags
    return f"{told}; it was late by {format_duration(float(np.median(lags)))} at a time." if len(lags) else f"{told}."


def _evidence(scene: Scene, lags: Floats, back_s: float, outside_s: float) -> tuple[str, ...]:
    lines = []
    if len(lags):
        often = format_share(float((lags >= VERY_LATE_S).mean()))
        lines.append(
            f"largest delay of the event loop in a second: median {format_duration(float(np.median(lags)))}, at least "
            f"{format_duration(VERY_LATE_S, trim=True)} in {often} of {len(lags)} readings"
        )
    lines.append(f"waiting for the event loop after a thread was done: {scene.counted(back_s)}")
    lines.append(f"before the service took the request: {scene.counted(outside_s)}")
    lines.append(f"inside the service, claimed by no stage: {scene.counted(scene.mean('other'))}")
    return (*lines, *blamed(scene, LOOP))


def taken_late(scene: Scene) -> Cause | None:
    """Small requests wait before the service takes them, and its event loop is not known to be at fault. Without a
    free core nobody can tell what they wait for, only that it is a wait."""
    waited_s = waits_outside(scene)
    if not scene.has_warning(TAKEN_LATE) or not scene.is_worth(waited_s, COST):
        return None
    if is_late(scene) is False and not scene.is_crowded:  # a loop that is on time takes a request at once
        return None
    unsure = "; the machine of the generator had no core left, so it may be the processor" if scene.is_crowded else ""
    return Cause(
        code="taken_late",
        stage="upload" if scene.mean("upload") >= scene.mean("queue_est") else "queue_est",
        resource=None,
        model=None,
        sentence=f"Requests wait before the service takes them: {scene.of_mean(waited_s)}{unsure}.",
        remedy="run generator and service on machines of their own, and look again"
        if scene.is_crowded
        else "add workers or threads of the service (uvicorn --workers, gunicorn --workers and --threads), or move "
        "what blocks out of `async def`",
        evidence=(f"before the service took the request: {scene.counted(waited_s)}",),
        cost_s=waited_s,
    )
