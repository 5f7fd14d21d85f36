"""The generator's readings about itself, judged against their limits."""

from __future__ import annotations

from collections.abc import Sequence

from harness.findings import Health, HealthState, Reading
from harness.units import format_duration, format_share


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
        shown, beyond = _shown(reading.value, reading.unit), _shown(limit, reading.unit)
        reasons.append(f"{reading.name} is {shown}, beyond {beyond} ({reading.meaning})")
        if level is HealthState.INVALID or state is HealthState.HEALTHY:
            state = level
    return Health(state, tuple(readings), tuple(reasons))


def _shown(value: float | None, unit: str) -> str:
    if unit == "s":
        return format_duration(value, trim=True)
    return format_share(value) if unit == "ratio" else f"{value:.4g} {unit}".rstrip()


def _level(reading: Reading) -> tuple[HealthState, float | None]:
    if reading.value is None:
        return HealthState.HEALTHY, None
    if reading.invalid is not None and abs(reading.value) > reading.invalid:
        return HealthState.INVALID, reading.invalid
    if reading.suspect is not None and abs(reading.value) > reading.suspect:
        return HealthState.SUSPECT, reading.suspect
    return HealthState.HEALTHY, None
