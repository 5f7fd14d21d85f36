"""Waits for something that others hold: worker threads, locks, batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analysis.causes.scene import BATCHER_KINDS, LOOP, THREADS, WORK, Floats, Scene
from harness.analysis.causes.vitals import Processor, is_free
from harness.diagnosis import Cause
from harness.units import format_duration, format_share

MUCH = 0.20
"""A wait with a smaller share of the mean latency is no cause."""
MOST = 0.55
"""From here on waiting is clearly more than the work, whatever the load."""
BUSY = 0.60
"""Random arrivals wait at any load. Below this share of the time in use, that is all there is to it: at half load a
single server makes a third of the latency waiting."""
LOCK_BUSY = 0.50
"""The same of a lock: what is held outside the named stage is not counted, so that it is in use for longer."""
HOLDS = 0.25
"""A wait inside the pool that is so much of the time a thread is held makes the wait for threads."""
NAMED = 0.5
DEFAULT_THREADS = 40
LONG_WAIT_S = 0.001


@dataclass(frozen=True, slots=True)
class Pool:
    """How a pool was used: `at_once` requests inside while others waited, each for `hold_s`; `busy` is the share of
    the time in which all of them were. None where that is not known."""

    wait_s: float
    hold_s: float
    at_once: int | None
    busy: float | None


def pool_of(scene: Scene) -> Pool:
    """The use of the worker threads, from when requests left their queue until they had their work done."""
    queue, waits = scene.column("queue"), _per_request(scene, THREADS)
    hold = np.maximum(0.0, queue - waits) + sum((scene.column(stage) for stage in WORK), np.zeros(len(queue)))
    wait_s = scene.waited(THREADS)
    if not (waits >= LONG_WAIT_S).any():
        return Pool(wait_s, float(hold.mean()), None, None)
    before = sum((scene.column(stage) for stage in ("backlog", "connect", "upload", "queue_est")), np.zeros(len(queue)))
    scheduled = scene.rows["scheduled_ns"].to_numpy(dtype=np.int64)
    joins = (scheduled - scheduled.min()) / 1e9 + before
    begins = joins + waits
    ends = begins + hold
    seen = (joins + waits / 2)[waits >= LONG_WAIT_S]
    inside = np.searchsorted(np.sort(begins), seen, "right") - np.searchsorted(np.sort(ends), seen, "left")
    at_once = max(1, round(float(np.quantile(inside, 0.75))))
    lasted = float(ends.max() - joins.min())
    return Pool(wait_s, float(hold.mean()), at_once, float(hold.sum()) / (lasted * at_once) if lasted > 0 else None)


def _per_request(scene: Scene, resource: str) -> Floats:
    waits = scene.facts.waits
    if waits.empty:
        return np.zeros(len(scene.rows))
    sums = waits[waits["resource"] == resource].groupby("request_id")["duration_s"].sum()
    found: Floats = sums.reindex(scene.rows["request_id"]).fillna(0.0).to_numpy(dtype=np.float64)
    return found


def explained(pool: Pool, part_s: float) -> float:
    """The share of the wait for threads that goes back to a part of the time that each is held, at least: the wait
    grows with the square of that time, and more (Pollaczek and Khinchine)."""
    part = min(1.0, part_s / pool.hold_s) if pool.hold_s > 0 else 0.0
    return 1.0 - (1.0 - part) ** 2


def thread_pool(scene: Scene, pool: Pool, processor: Processor | None, explained: float = 0.0) -> Cause | None:
    """`explained` is the share of the waiting that another cause accounts for: that part is not told twice."""
    left_s = pool.wait_s * (1.0 - explained)
    if not scene.is_worth(left_s, MUCH):
        return None
    if scene.share(left_s) < MOST and (pool.busy is None or pool.busy < BUSY):
        return None
    sizes, used = scene.vital("harness.threadpool.size"), scene.vital("harness.threadpool.in_use")
    default = len(sizes) > 0 and len(used) > 0 and sizes.max() == DEFAULT_THREADS == used.max()
    at_once = f"; about {pool.at_once} were worked on at once" if pool.at_once is not None else ""
    held = f"a thread is held for {format_duration(pool.hold_s)} per request"
    evidence = [f"waiting for a thread: {scene.counted(pool.wait_s)}", held + at_once]
    if pool.busy is not None:
        evidence.append(f"the threads were in use {format_share(min(1.0, pool.busy))} of the time")
    if default:
        evidence.append(f"all {DEFAULT_THREADS} threads of the default pool were in use at times")
    evidence += blamed(scene, THREADS)
    if processor is not None:
        evidence.append(processor.text)
    return Cause(
        code="thread_pool",
        stage="queue",
        resource=THREADS,
        model=None,
        sentence=f"Requests wait for a free worker thread: {scene.of_mean(pool.wait_s)}{at_once}.",
        remedy=_more_threads(processor, default),
        evidence=tuple(evidence),
        cost_s=left_s,
    )


def _more_threads(processor: Processor | None, default: bool) -> str:
    if processor is not None and not is_free(processor):
        return "make the work faster, or add cores and processes (the processor is busy: threads alone do not help)"
    how = "raise total_tokens of anyio's default limiter" if default else "enlarge the pool of worker threads"
    unsure = "" if processor is not None else ", if the service has processor time left"
    return f"{how}{unsure}, or add processes of the service"


def lock(scene: Scene, pool: Pool) -> Cause | None:
    """Waits for a resource with a name of its own. Threads that stand at it keep others from a thread: their waiting
    counts here, since more threads would only wait at the same place. The cost is that of the lock alone."""
    named = _locks(scene)
    if not named:
        return None
    resource, wait_s = max(named.items(), key=lambda each: each[1])
    behind_s = pool.wait_s if wait_s >= HOLDS * pool.hold_s else 0.0  # see stands_before
    if not scene.is_worth(wait_s, 0.0) or not scene.is_worth(wait_s + behind_s, MUCH):
        return None
    busy = _lock_busy(scene, resource)
    if scene.share(wait_s + behind_s) < MOST and busy is not None and busy < LOCK_BUSY:
        return None
    evidence = [f"waiting for {resource}: {scene.counted(wait_s)}", *blamed(scene, resource)]
    if busy is not None:
        evidence.append(f"{resource} was in use about {format_share(min(1.0, busy))} of the time")
    if behind_s >= LONG_WAIT_S:
        evidence.append(f"waiting for a thread, which others keep while they wait for it: {scene.counted(behind_s)}")
    return Cause(
        code="lock",
        stage="queue",
        resource=resource,
        model=_holding_model(scene, resource),
        sentence=f"Requests wait for {resource}, which others hold: {scene.of_mean(wait_s)}.",
        remedy=f"hold {resource} for less of the work, or allow more than one at a time, if what it guards can "
        "bear that",
        evidence=tuple(evidence),
        cost_s=wait_s,
    )


def _lock_busy(scene: Scene, resource: str) -> float | None:
    """The share of the time in which the lock is held by as many as can hold it: holding time per request, that of
    the stage named for it or else of the models, times requests per second. Each process has a lock of its own."""
    blame = next((b for b in scene.facts.blame if b.resource == resource and b.stage in WORK), None)
    hold_s = scene.mean(blame.stage if blame is not None and blame.stage is not None else "inference")
    lasted_s = float(np.ptp(scene.rows["scheduled_ns"].to_numpy(dtype=np.int64))) / 1e9
    if hold_s <= 0 or lasted_s <= 0:
        return None
    at_once = blame.at_once if blame is not None and blame.at_once else 1
    return hold_s * (len(scene.rows) - 1) / lasted_s / (at_once * scene.processes)


def stands_before(scene: Scene, pool: Pool, held: Cause) -> bool:
    """Whether threads are kept by those who wait for the lock, so that others wait for a thread."""
    return scene.waited(held.resource or "") >= HOLDS * pool.hold_s


def holds(scene: Scene, held: Cause, slow: Cause) -> bool:
    """Whether the lock is held during the stage of the other cause, as far as that is known."""
    holders = [b for b in scene.facts.blame if b.resource == held.resource and b.stage is not None]
    return not holders or any(b.stage == slow.stage and b.share >= MUCH for b in holders)


def _locks(scene: Scene) -> dict[str, float]:
    """Mean wait per request for each resource that is no batcher, in one pass: a service may name one per request."""
    batchers = {name for name, kind in scene.waits if kind in BATCHER_KINDS}
    found: dict[str, float] = {}
    for (name, _), wait in scene.waits.items():
        if name is not None and name not in (THREADS, LOOP) and name not in batchers:
            found[name] = found.get(name, 0.0) + wait
    return found


def batch(scene: Scene) -> Cause | None:
    """Waits for a batch: while it fills, or while another one runs; the larger of the two is named."""
    kinds = {kind: sum(wait for (_, its), wait in scene.waits.items() if its == kind) for kind in BATCHER_KINDS}
    kind = max(kinds, key=lambda name: kinds[name])
    wait_s = kinds[kind]
    if not scene.is_worth(wait_s, MUCH):
        return None
    resource = max(((wait, name) for (name, its), wait in scene.waits.items() if its == kind), key=lambda w: w[0])[1]
    evidence = [f"{name}: {scene.counted(wait)}" for name, wait in kinds.items() if wait > 0]
    evidence += _sizes(scene)
    name = resource or "the batch"
    if kind == "window":
        return Cause(
            code="batch_window",
            stage="queue",
            resource=resource,
            model=None,
            sentence=f"Requests wait for their batch ({name}) to fill, the model being free: {scene.of_mean(wait_s)}.",
            remedy="shorten the window of the batch, or let it go as soon as the model is free",
            evidence=tuple(evidence),
            cost_s=wait_s,
        )
    return Cause(
        code="batcher_busy",
        stage="queue",
        resource=resource,
        model=None,
        sentence=f"Requests wait while the model runs the batches ({name}) before theirs: {scene.of_mean(wait_s)}.",
        remedy="allow larger batches, a faster model or one more worker for them",
        evidence=tuple(evidence),
        cost_s=wait_s,
    )


def nameless(scene: Scene) -> Cause | None:
    """Much waiting inside the service of which nobody said what it was for: headers carry no names."""
    wait_s = scene.mean("queue")
    if not scene.is_worth(wait_s, MOST) or sum(scene.waits.values()) > NAMED * wait_s:
        return None
    return Cause(
        code="queue",
        stage="queue",
        resource=None,
        model=None,
        sentence=f"Requests wait inside the service: {scene.of_mean(wait_s)}; for what, it does not say.",
        remedy="let the service send its spans (`harness check SCENARIO --connect` has the lines): they name what is "
        "waited for, a thread, a lock or a batch",
        evidence=(f"queue: {scene.counted(wait_s)}",),
        cost_s=wait_s,
    )


def _sizes(scene: Scene) -> list[str]:
    calls = scene.facts.calls
    if calls.empty or "batch_size" not in calls:
        return []
    sizes = pd.to_numeric(calls.loc[calls["batch_id"].notna(), "batch_size"]).dropna()
    if sizes.empty:
        return []
    return [
        f"requests in a batch: {float(sizes.mean()):.3g} on average, at most {int(sizes.max())}, n = {len(sizes):,}"
    ]


def blamed(scene: Scene, resource: str) -> list[str]:
    """Who held the resource meanwhile, those with the most first."""
    found = [b for b in scene.facts.blame if b.resource == resource and b.share >= 0.05][:3]
    lines = []
    for blame in found:
        what = " ".join(part for part in (blame.stage, blame.model) if part) or "nobody"
        of = f" of {blame.name}" if blame.name else ""
        lines.append(f"meanwhile held by {what}{of}: {format_share(blame.share)} of the waiting, n = {blame.n:,}")
    if found and found[0].at_once is not None and resource != THREADS:  # a pool tells its own
        lines.append(f"{found[0].at_once} at once could hold {resource} in a process")
    return lines


def _holding_model(scene: Scene, resource: str) -> str | None:
    return next((b.model for b in scene.facts.blame if b.resource == resource and b.share >= MOST), None)
