"""When the load generator, and not the service, is what was measured."""

from __future__ import annotations

import numpy as np

from harness.analysis.causes.scene import Scene
from harness.analysis.facts import Facts
from harness.diagnosis import Cause
from harness.findings import HealthState, Reading
from harness.units import format_duration, format_share

OWN = ("lateness_p99", "lateness_max", "hub_lag_p99", "hub_lag_max", "hub_held", "cpu", "steal", "throttled")
"""Readings that are beyond their limits when the generator gets too little processor time."""
DOUBTFUL = ("event_loop", "taken_late", "upload", "download", "delayed_ack", "connections")
"""Causes that the generator's own delays look like."""
MUCH = 0.20
LEAST_S = 0.002
WORTH_A_WORD = 0.01


def generator(facts: Facts, scene: Scene | None) -> Cause | None:
    """Late by more than a limit, or by much of what was measured. Waiting for a session that is busy is no lateness:
    the readings are about the time until an arrival was handed over."""
    bad = [r for r in facts.health.readings if r.name in OWN and r.state in (HealthState.SUSPECT, HealthState.INVALID)]
    if not bad:
        return None
    backlog_s = float(np.nan_to_num(facts.rows["backlog_s"].mean())) if len(facts.rows) else 0.0
    late_s = next((r.value for r in facts.health.readings if r.name == "lateness_p99" and r.value is not None), 0.0)
    touched = scene is not None and scene.is_worth(backlog_s, MUCH, LEAST_S) and late_s >= backlog_s
    if not touched and not any(r.state is HealthState.INVALID for r in bad):
        return None
    worst = next((r for r in bad if r.state is HealthState.INVALID), bad[0])
    share = scene.share(backlog_s) if scene is not None else 0.0
    told = scene is not None and share >= WORTH_A_WORD
    lost = f"; {scene.of_mean(backlog_s)} were lost before the send" if scene is not None and told else ""
    return Cause(
        code="generator",
        stage="backlog" if share >= MUCH else None,
        resource=None,
        model=None,
        sentence=f"The load generator could not keep up ({_shown(worst)}): this says more about it than about the "
        f"service{lost}.",
        remedy=worst.advice
        or "give the generator more processor time (--processes, a machine of its own) or a lower rate",
        evidence=tuple(f"{_shown(reading)}: {reading.meaning}" for reading in bad),
        cost_s=max(backlog_s, 0.0),
    )


def _shown(reading: Reading) -> str:
    value = reading.value or 0.0
    text = {"s": format_duration(value), "ratio": format_share(value)}.get(reading.unit, f"{value:.4g} {reading.unit}")
    return f"{reading.name} {text}"
