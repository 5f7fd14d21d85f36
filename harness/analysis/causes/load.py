"""What the load as a whole does to the service: more than it can carry, memory, garbage collection, retries."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from harness.analysis.causes.scene import Floats, Scene
from harness.analysis.facts import Facts
from harness.diagnosis import Cause, Steadiness, StepFindings
from harness.units import format_bytes, format_duration, format_rate, format_share

GC_SHARE = 0.10
LEAST_READINGS = 5
MEMORY_READINGS = 30
MEMORY_GROWTH = 0.20
MEMORY_LEAST_B = 50 * 2**20
MEMORY_GOES_ON = 0.30
"""Of the growth in the second half: less is a service that fills its caches."""
REAL_GAP = 0.95
"""Of what came: who answers more than that answers about as much as comes, within what a rate is known to."""
HARDLY_ANY = 0.01
LIMITS = (
    "thread_pool", "lock", "batcher_busy", "event_loop", "cpu_saturated", "gil", "oversubscribed", "machine_full",
    "payload", "stage_waits", "stage_dominates",
)  # fmt: skip
"""Causes that say what there is too little of. A slow way or a cold start limits no rate."""
RESENT = "resent"
RESENT_COST = 0.10


def overload(facts: Facts, limiting: Cause | None) -> Cause | None:
    """More comes than is answered. `limiting` is the first other cause: it is named where it limits the rate."""
    unstable = [step for step in facts.steps if step.state is Steadiness.UNSTABLE]
    if not unstable:
        return None
    step = unstable[0]
    offered = f" ({format_rate(step.offered_per_s)} offered)" if step.offered_per_s is not None else ""
    limit = limiting if limiting is not None and limiting.code in LIMITS else None
    resource = limit.resource if limit is not None else None
    return Cause(
        code="overload",
        stage=limit.stage if limit is not None else None,
        resource=resource,
        model=None,
        sentence=f"More requests come than the service answers{offered}{_carries(facts.steps, step)}.",
        remedy="lower the rate to what the service carries, or add capacity"
        + (f" where it is used up ({resource})" if resource else ""),
        evidence=tuple(s.sentence for s in unstable),
        cost_s=0.0,
    )


def _carries(steps: Sequence[StepFindings], unstable: StepFindings) -> str:
    """The most that was answered in any step, where that is clearly less than what came."""
    answered = [s.completed_per_s for s in steps if s.completed_per_s is not None]
    if unstable.offered_per_s is not None:
        answered = [each for each in answered if each <= REAL_GAP * unstable.offered_per_s]
        if answered and max(answered) < HARDLY_ANY * unstable.offered_per_s:
            return ": it answers hardly any of them"
    return f": it answers about {format_rate(max(answered))}" if answered else ""


def gc_pauses(scene: Scene) -> Cause | None:
    """Seconds of garbage collection per second: nothing else of the process runs meanwhile. Each process stops alone;
    told is the one that stops for longest."""
    pauses = scene.readings("harness.gc.pause")
    if pauses.empty:
        return None
    of_each = pauses.groupby("process", dropna=False)["value"].agg(["mean", "size"])  # a reading a second
    judged = of_each[of_each["size"] >= LEAST_READINGS]
    stopped = judged[judged["mean"] >= GC_SHARE]
    if stopped.empty:
        return None
    position = int(stopped["mean"].to_numpy().argmax())
    worst, readings = stopped.index[position], int(stopped["size"].iloc[position])
    share = float(stopped["mean"].iloc[position])
    some = f" in {len(stopped)} of {len(judged)} processes" if len(judged) > 1 else ""
    up_to = "up to " if len(stopped) > 1 else ""
    return Cause(
        code="gc",
        stage=None,
        resource="gc",
        model=None,
        sentence=f"Garbage collection stops the service{some} for {up_to}{format_share(share)} of the time.",
        remedy="make less garbage per request, call gc.freeze() once the models are loaded, or gc.set_threshold()",
        evidence=(
            f"process {worst}: {format_duration(share)} of pauses in a second on average, {readings} readings; "
            f"n = {len(judged)} process{'es' if len(judged) > 1 else ''}",
        ),
        cost_s=float(stopped["mean"].sum()) / len(judged) * scene.latency_s,
    )


def memory_growth(facts: Facts) -> Cause | None:
    """A process whose memory goes on rising until the end."""
    vitals = facts.vitals
    if vitals.empty:
        return None
    memory = vitals[vitals["name"] == "process.memory.usage"]
    for process, readings in memory.groupby("process", dropna=False):
        values = readings.sort_values("at_ns", kind="stable")["value"].to_numpy(dtype=np.float64)
        values = values[np.isfinite(values)]
        if (grown := _grown(values)) is not None:
            first, last = grown
            return _growing(str(process), len(values), first, last)
    return None


def _grown(values: Floats) -> tuple[float, float] | None:
    """Level at the begin and at the end; None when the memory does not go on rising."""
    if len(values) < MEMORY_READINGS:
        return None
    fifth = len(values) // 5
    levels = [float(np.median(values[i * fifth : (i + 1) * fifth])) for i in range(5)]
    growth = levels[-1] - levels[0]
    if growth < max(MEMORY_LEAST_B, MEMORY_GROWTH * levels[0]) or levels[-1] - levels[2] < MEMORY_GOES_ON * growth:
        return None
    return (levels[0], levels[-1]) if all(b > a for a, b in pairwise(levels)) else None


def _growing(process: str, n: int, first: float, last: float) -> Cause:
    return Cause(
        code="memory_growth",
        stage=None,
        resource="memory",
        model=None,
        sentence=f"The memory of the service goes on growing: from {format_bytes(first)} to {format_bytes(last)} "
        "during the test.",
        remedy="look for what is kept per request (caches without a limit, lists that only grow)",
        evidence=(f"process {process}: {format_bytes(first)} at first, {format_bytes(last)} at the end, {n} readings",),
        cost_s=0.0,
    )


def retries(scene: Scene) -> Cause | None:
    """Requests sent twice: the lost first try is in `connect`."""
    resent = scene.attribute("resent")
    if not scene.has_warning(RESENT) or resent is None:
        return None
    again = resent > 0
    cost_s = float(scene.column("connect")[again].sum() / len(again))
    if not scene.is_worth(cost_s, RESENT_COST):
        return None
    return Cause(
        code="retries",
        stage="connect",
        resource=None,
        model=None,
        sentence=f"{format_share(float(again.mean()))} of the requests were sent twice, because the service closed the "
        f"connection before it answered: {scene.of_mean(cost_s)}.",
        remedy="make the idle timeout of the service longer than that of its clients, and look for workers that end",
        evidence=(f"sent twice: {int(again.sum()):,} of {len(again):,} requests", f"cost: {scene.counted(cost_s)}"),
        cost_s=cost_s,
    )
