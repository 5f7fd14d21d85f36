"""What the service said about its own processor time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.analysis.causes.scene import Scene
from harness.units import format_share

LEAST_READINGS = 4
AT_LIMIT = 0.85
"""Of the cores that the service may use: from here on threads wait for a core."""
SURELY = 0.95
"""Of the cores that each of several processes may use, by all of them together: nobody says whether they share them."""
MOSTLY = 0.5


@dataclass(frozen=True, slots=True)
class Processor:
    """Processor time of the service, all its processes together, in cores."""

    used: float
    limit: float
    at_limit: float  # share of the readings
    readings: int
    around_one: float  # share of the readings that say one core
    processes: int

    @property
    def is_full(self) -> bool:
        return self.at_limit >= MOSTLY

    @property
    def text(self) -> str:
        several = f" by {self.processes} processes, if they share them" if self.processes > 1 else ""
        return (
            f"processor of the service: {self.used:.2f} of {self.limit:g} cores on average{several}, at its limit in "
            f"{format_share(self.at_limit)} of {self.readings} readings"
        )


def is_free(processor: Processor) -> bool:
    """Whether more threads would find a core."""
    return not processor.is_full and processor.used < AT_LIMIT * processor.limit


def processor_of(scene: Scene) -> Processor | None:
    """None when the service does not say, or hardly."""
    used, limits = scene.readings("process.cpu.utilization"), scene.vital("harness.cpu.limit")
    if len(used) < LEAST_READINGS or not len(limits) or limits.max() <= 0:
        return None
    limit = float(limits.max())
    processes = int(used["process"].nunique())
    share = AT_LIMIT
    if processes > 1:  # they report each on its own; a second of all of them is what counts against the limit
        seconds = used.groupby(used["at_ns"] // 1_000_000_000)["value"]
        together = seconds.sum().to_numpy(dtype=np.float64)
        if float(np.median(seconds.max())) < AT_LIMIT * min(limit, 1.0):
            share = SURELY  # none is short of a core by itself: on machines of their own they may all have room
    else:
        together = used["value"].to_numpy(dtype=np.float64)
    return Processor(
        used=float(together.mean()),
        limit=limit,
        at_limit=float((together >= share * limit).mean()),
        readings=len(together),
        around_one=float(((together >= 0.85) & (together <= 1.2)).mean()),
        processes=processes,
    )


def per_request(scene: Scene, processor: Processor) -> float | None:
    """Processor seconds of the service per request that ended; None when the rate is not known."""
    counts = scene.facts.counts
    if not counts.completed_per_s or not counts.ok:
        return None
    return processor.used / (counts.completed_per_s * (counts.ok + counts.failed) / counts.ok)
