"""Four lights that say how far the figures can be trusted: generator, server halves, clock, errors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from harness.findings import HealthState, Loss, Summary
from harness.model import RunWarning, Split
from harness.units import format_share


class LightState(StrEnum):
    """How a light shines. UNKNOWN is dark: there was nothing to judge."""

    GOOD = "good"
    ATTENTION = "attention"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Light:
    """One light with its name and one short phrase."""

    name: str
    state: LightState
    phrase: str


def lights(summary: Summary) -> tuple[Light, ...]:
    """The four lights, in the order they are shown."""
    found = (_generator(summary), _server_halves(summary), _clock(summary), _errors(summary))
    return tuple(_unrepeated(summary, light) for light in found)


def _unrepeated(summary: Summary, light: Light) -> Light:
    """Without what stands above the lights already, among the reasons of the verdict."""
    if light.state is LightState.GOOD or not any(light.phrase in reason for reason in summary.reasons):
        return light
    return replace(light, phrase="not to be trusted, for the reasons above")


def _generator(summary: Summary) -> Light:
    states = {
        HealthState.HEALTHY: LightState.GOOD,
        HealthState.SUSPECT: LightState.ATTENTION,
        HealthState.INVALID: LightState.BAD,
    }
    health = summary.health
    # What invalidates a run happened to the generator, unless it is about clocks, which have a light of their own.
    broken = [w.message for w in summary.warnings if w.invalidates and not _about_clocks(w)]
    if broken:
        return Light("Load generator", LightState.BAD, broken[0])
    return Light("Load generator", states[health.state], health.reasons[0] if health.reasons else health.state.value)


_LOSS = {
    Loss.NONE: (LightState.GOOD, ""),
    Loss.UNIFORM: (LightState.GOOD, ", the others missing at random"),
    Loss.UNTESTED: (LightState.ATTENTION, ", too few to compare with the others"),
    Loss.CLUSTERED: (LightState.BAD, ", the others missing together in time: no stage is judged"),
    Loss.BIASED: (LightState.BAD, ", the others differ in latency: no stage is judged"),
}


def _server_halves(summary: Summary) -> Light:
    by_split = dict(summary.counts.split)
    total = sum(by_split.values())
    missing = by_split.get(Split.NONE.value, 0)
    if total == 0 or missing == total:
        return Light("Server halves", LightState.UNKNOWN, "none: the stages inside the service are not known")
    if not missing:
        return Light("Server halves", LightState.GOOD, "for every ok request")
    loss = summary.coverage.loss if summary.coverage is not None else None
    state, how = _LOSS[loss] if loss is not None else (LightState.ATTENTION, "")
    return Light("Server halves", state, f"for {format_share(1 - missing / total)} of the ok requests{how}")


def _clock(summary: Summary) -> Light:
    doubts = [w for w in summary.warnings if _about_clocks(w)]
    if doubts:
        state = LightState.BAD if any(w.invalidates for w in doubts) else LightState.ATTENTION
        return Light("Clocks", state, doubts[0].message)
    if _server_halves(summary).state is LightState.UNKNOWN:
        return Light("Clocks", LightState.UNKNOWN, "nothing to compare")
    return Light("Clocks", LightState.GOOD, "no contradiction between client and service")


def _about_clocks(warning: RunWarning) -> bool:
    return "clock" in warning.code or "offset" in warning.code


def _errors(summary: Summary) -> Light:
    counts = summary.counts
    lost = counts.failed + counts.censored
    total = counts.ok + lost
    if total == 0:
        return Light("Errors", LightState.UNKNOWN, "no request was measured")
    if lost == 0:
        return Light("Errors", LightState.GOOD, "none")
    phrase = f"{lost:,} of {total:,} ({format_share(lost / total)})"
    return Light("Errors", LightState.BAD if counts.ok == 0 else LightState.ATTENTION, phrase)
