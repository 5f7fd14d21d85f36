"""The generator's readings about itself, judged against their limits; those of many load processes together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.findings import Health, HealthState, Reading
from harness.units import format_bytes, format_duration, format_share

_RANK = {None: 0, HealthState.HEALTHY: 1, HealthState.SUSPECT: 2, HealthState.INVALID: 3}
_ANSWERS, _STAMPED = "answers", "kernel_stamped"


def judge(readings: Sequence[Reading]) -> Health:
    """The worst reading decides; each one beyond a limit gives a reason. No reading at all is suspect.

    `readings` are those of all load processes, each with its `worker`. Of each name the worst one is kept: a process
    that lags is not healed by three that do not. Only what can be added is: counts without a limit are summed, and
    the share of kernel stamps is taken over all answers.
    """
    if not readings:
        return Health(HealthState.SUSPECT, (), ("the generator ended before it could report on itself",))
    many = len({reading.worker for reading in readings}) > 1
    merged: list[Reading] = []
    reasons: list[str] = []
    for same in _by_name(readings).values():
        one = _merged(same, readings)
        merged.append(one if many else replace(one, worker=""))
        if _bad(one):
            reasons.append(_reason(merged[-1], sum(map(_bad, same)) - 1))
    state = max((r.state or HealthState.HEALTHY for r in merged), key=_RANK.__getitem__)
    return Health(state, tuple(merged), tuple(reasons))


def _by_name(readings: Sequence[Reading]) -> dict[str, list[Reading]]:
    named: dict[str, list[Reading]] = {}
    for reading in readings:
        named.setdefault(reading.name, []).append(reading)
    return named


def _bad(reading: Reading) -> bool:
    return reading.state in (HealthState.SUSPECT, HealthState.INVALID)


def _merged(same: list[Reading], readings: Sequence[Reading]) -> Reading:
    """The one reading that stands for those of all load processes."""
    known = [r for r in same if r.value is not None]
    if not known:
        return replace(same[0], worker="")
    if all(r.unit == "count" and r.suspect is None and r.invalid is None for r in known):
        return replace(known[0], value=sum(r.value or 0.0 for r in known), worker="")
    if known[0].name == _STAMPED:
        return _weighted(known, {r.worker: r.value or 0.0 for r in readings if r.name == _ANSWERS})
    return max(known, key=_badness)


def _badness(reading: Reading) -> tuple[int, float]:
    value = reading.value or 0.0
    return _RANK[reading.state], -value if reading.small_is_bad else abs(value)


def _weighted(known: list[Reading], answers: dict[str, float]) -> Reading:
    """A share of the answers of each process as the share of all; the lowest, when their numbers are not known."""
    weights = [answers.get(r.worker, 0.0) for r in known]
    if not all(weights):
        return min(known, key=lambda r: r.value or 0.0)
    share = sum((r.value or 0.0) * weight for r, weight in zip(known, weights, strict=True)) / sum(weights)
    return replace(known[0], value=share, worker="")


def _reason(reading: Reading, others: int) -> str:
    """What is beyond which limit, of which process, and what to do."""
    limit = reading.invalid if reading.state is HealthState.INVALID else reading.suspect
    of = f" of worker {reading.worker}" if reading.worker else ""
    more = f"; so is that of {others} more" if others else ""
    todo = f": {reading.advice}" if reading.advice else ""
    side = "below" if reading.small_is_bad else "beyond"
    shown = f"{_shown(reading.value, reading.unit)}, {side} {_shown(limit, reading.unit)}"
    return f"{reading.name}{of} is {shown} ({reading.meaning}){more}{todo}"


def _shown(value: float | None, unit: str) -> str:
    if unit == "s":
        return format_duration(value, trim=True)
    if unit == "B":
        return format_bytes(value)
    return format_share(value) if unit == "ratio" else f"{value:.4g} {unit}".rstrip()
