"""One process of a service that is slower than the others."""

from __future__ import annotations

import numpy as np

from harness.analysis.causes.scene import WORK, Flags, Floats, Scene
from harness.diagnosis import Cause
from harness.units import format_count, format_duration, format_share

TIMES = 2.0
LEAST_REQUESTS = 20
"""On both sides: fewer may have been costly ones by chance."""
COST = 0.10
OWN = (*WORK, "other")


def slow_process(scene: Scene) -> Cause | None:
    """Its requests take twice the time of the others' own, waiting left out, and more: of the typical request as well
    as on average, and of each name that both answer often enough."""
    of = scene.processes_of()
    if of is None or of.nunique() < 2:
        return None
    own: Floats = sum((scene.column(stage) for stage in OWN), np.zeros(len(scene.rows)))
    counts = of.value_counts()
    told = [str(name) for name in counts.index[counts >= LEAST_REQUESTS]]
    found = [(name, (of == name).fillna(False).to_numpy(dtype=np.bool_)) for name in told]
    known = of.notna().to_numpy(dtype=np.bool_)
    slow = [(name, flags) for name, flags in found if _is_slower(scene, own, flags, known & ~flags)]
    if not slow:
        return None
    name, flags = max(slow, key=lambda each: float(own[each[1]].mean()))
    others = known & ~flags
    cost_s = float(flags.mean()) * float(own[flags].mean() - own[others].mean())
    return _told(scene, name, flags, others, own, cost_s) if scene.is_worth(cost_s, COST) else None


def _is_slower(scene: Scene, own: Floats, flags: Flags, others: Flags) -> bool:
    if others.sum() < LEAST_REQUESTS or own[flags].mean() < TIMES * own[others].mean():
        return False
    names = scene.rows["name"].to_numpy()
    pairs = [(flags & (names == each), others & (names == each)) for each in np.unique(names[flags].astype(str))]
    often = [(mine, theirs) for mine, theirs in pairs if min(mine.sum(), theirs.sum()) >= LEAST_REQUESTS]
    return bool(often) and all(np.median(own[mine]) >= TIMES * np.median(own[theirs]) for mine, theirs in often)


def _told(scene: Scene, name: str, flags: Flags, others: Flags, own: Floats, cost_s: float) -> Cause:
    here, there = float(own[flags].mean()), float(own[others].mean())
    stages = {stage: scene.column(stage) for stage in OWN}
    stage = max(stages, key=lambda each: float(stages[each][flags].mean() - stages[each][others].mean()))
    times = f"{here / there:.1f} times" if there > 0 else "many times"
    return Cause(
        code="slow_process",
        stage=stage,
        resource=None,
        model=None,
        sentence=(
            f"One process of the service is slower than the others: requests that {name} answers, "
            f"{format_share(float(flags.mean()))} of all, take {times} as long ({format_duration(here)} against "
            f"{format_duration(there)}, waiting left out)."
        ),
        remedy="look at what differs there (device, cores and limits, version, what else runs beside it), or take it "
        "out of service",
        evidence=(
            f"n = {format_count(int(flags.sum()))} requests of {name}, {format_count(int(others.sum()))} of "
            f"the others (processes: {scene.processes - 1})",
            f"mostly {stage}: {format_duration(float(stages[stage][flags].mean()))} against "
            f"{format_duration(float(stages[stage][others].mean()))}",
            f"cost: {scene.counted(cost_s)}",
        ),
        cost_s=cost_s,
    )
