"""An event loop that is kept busy, and services that take requests late."""

from __future__ import annotations

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
LEAST_READINGS = 3
MATCHES = 0.3
"""A delay of the loop that is less than this share of the unclaimed time does not explain it."""


def is_late(scene: Scene) -> bool | None:
    """Whether the service's event loop was blocked; None when it does not say."""
    lags = scene.vital("harness.event_loop.lag")
    if len(lags) < LEAST_READINGS:
        return None
    return float(np.median(lags)) >= LATE_S or float((lags >= VERY_LATE_S).mean()) >= OFTEN


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
    sizes = scene.attribute("bytes_sent")
    if grows_with_bytes(scene, "upload", "bytes_sent"):
        return scene.mean("queue_est")
    if sizes is not None and float((sizes <= SMALL_REQUEST).mean()) < 0.5:
        return scene.mean("queue_est")
    return scene.mean("upload", "queue_est")


def event_loop(scene: Scene) -> Cause | None:
    """Code that runs on the event loop keeps all other requests of the process waiting: in being taken, in going on
    after a thread, and in time that nobody claims. On a machine without a free core only the last tells it from other
    programs that take the processor."""
    late = is_late(scene)
    if late is False or (scene.is_crowded and not scene.is_worth(scene.mean("other"), COST)):
        return None
    lags = scene.vital("harness.event_loop.lag")
    back_s, outside_s, other_s = scene.waited(LOOP), waits_outside(scene), scene.mean("other")
    if late:
        typical = float(np.median(lags))
        uploads = scene.mean("upload", "queue_est")
        outside_s = max(outside_s, min(uploads, typical) if not grows_with_bytes(scene, "upload", "bytes_sent") else 0)
        cost_s = back_s + outside_s + (other_s if typical >= MATCHES * other_s else 0.0)
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
        sentence=_sentence(scene, lags, cost_s),
        remedy="move what computes or blocks out of `async def` into a thread (plain `def`, asyncio.to_thread) or "
        "another process",
        evidence=_evidence(scene, lags, back_s, outside_s, other_s),
        cost_s=cost_s,
    )


def _stage(back_s: float, outside_s: float, other_s: float) -> str:
    named = {"queue": back_s, "upload": outside_s, "other": other_s}
    return max(named, key=lambda name: named[name])


def _sentence(scene: Scene, lags: Floats, cost_s: float) -> str:
    told = f"The service's event loop is kept busy: {scene.of_mean(cost_s)} go by with waiting for it or blocking it"
    return f"{told}; it was late by {format_duration(float(np.median(lags)))} at a time." if len(lags) else f"{told}."


def _evidence(scene: Scene, lags: Floats, back_s: float, outside_s: float, other_s: float) -> tuple[str, ...]:
    lines = []
    if len(lags):
        often = format_share(float((lags >= VERY_LATE_S).mean()))
        lines.append(
            f"largest delay of the event loop in a second: median {format_duration(float(np.median(lags)))}, at least "
            f"{format_duration(VERY_LATE_S, trim=True)} in {often} of {len(lags)} readings"
        )
    lines.append(f"waiting for the event loop after a thread was done: {scene.counted(back_s)}")
    lines.append(f"before the service took the request: {scene.counted(outside_s)}")
    lines.append(f"inside the service, claimed by no stage: {scene.counted(other_s)}")
    return (*lines, *blamed(scene, LOOP))


def taken_late(scene: Scene) -> Cause | None:
    """Small requests wait before the service takes them, and its event loop is not known to be at fault."""
    waited_s = waits_outside(scene)
    if scene.is_crowded or not scene.has_warning(TAKEN_LATE) or not scene.is_worth(waited_s, COST):
        return None
    if is_late(scene) is False:  # a loop that is on time takes a request at once: so it is the way
        return None
    return Cause(
        code="taken_late",
        stage="upload" if scene.mean("upload") >= scene.mean("queue_est") else "queue_est",
        resource=None,
        model=None,
        sentence=f"Requests wait before the service takes them: {scene.of_mean(waited_s)}.",
        remedy="add workers or threads of the service (uvicorn --workers, gunicorn --workers and --threads), or move "
        "what blocks out of `async def`",
        evidence=(f"before the service took the request: {scene.counted(waited_s)}",),
        cost_s=waited_s,
    )
