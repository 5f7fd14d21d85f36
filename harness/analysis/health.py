"""The generator's readings about itself, judged against their limits."""

from __future__ import annotations

from collections.abc import Sequence

from harness.findings import Health, HealthState, Reading


def judge(readings: Sequence[Reading]) -> Health:
    """The worst reading decides; each one beyond a limit gives a reason. No reading at all is suspect."""
    if not readings:
        return Health(HealthState.SUSPECT, (), ("the generator ended before it could report on itself",))
    reasons: list[str] = []
    state = HealthState.HEALTHY
    for reading in readings:
        level, limit = _level(reading)
        if level is HealthState.HEALTHY:
            continue
        shown = f"{reading.value:.4g} {reading.unit}".rstrip()
        reasons.append(f"{reading.name} is {shown}, beyond {limit:.4g}: {reading.meaning}")
        if level is HealthState.INVALID or state is HealthState.HEALTHY:
            state = level
    return Health(state, tuple(readings), tuple(reasons))


def _level(reading: Reading) -> tuple[HealthState, float | None]:
    if reading.value is None:
        return HealthState.HEALTHY, None
    if reading.invalid is not None and abs(reading.value) > reading.invalid:
        return HealthState.INVALID, reading.invalid
    if reading.suspect is not None and abs(reading.value) > reading.suspect:
        return HealthState.SUSPECT, reading.suspect
    return HealthState.HEALTHY, None
