"""Lights that say how far the figures can be trusted: the generator, what came from the service, clocks, steadiness."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from harness.diagnosis import Steadiness
from harness.findings import HealthState, Loss, Reading, Summary
from harness.model import RunWarning, Split
from harness.report.figures import in_unit
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
    """The lights in the order they are shown. Those on spans, steps and cost only where the run has any."""
    found = (
        _generator(summary), _server_halves(summary), _clock(summary), _errors(summary),
        _spans(summary), _traces(summary), _steadiness(summary), _cost(summary),
    )  # fmt: skip
    return tuple(_unrepeated(summary, light) for light in found if light is not None)


def _unrepeated(summary: Summary, light: Light) -> Light:
    """Without what stands above the lights already, among the reasons of the verdict."""
    if light.state is LightState.GOOD or not any(light.phrase in reason for reason in summary.reasons):
        return light
    return replace(light, phrase="not to be trusted, for the reasons above")


_HEALTH = {
    HealthState.HEALTHY: LightState.GOOD,
    HealthState.SUSPECT: LightState.ATTENTION,
    HealthState.INVALID: LightState.BAD,
}


def _generator(summary: Summary) -> Light:
    health = summary.health
    # What invalidates a run happened to the generator, unless it is about clocks, which have a light of their own.
    broken = [w.message for w in summary.warnings if w.invalidates and not _about_clocks(w)]
    if broken:
        return Light("Load generator", LightState.BAD, broken[0])
    return Light("Load generator", _HEALTH[health.state], health.reasons[0] if health.reasons else health.state.value)


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


_LOST = ("spans_lost", "rejected_spans", "late_spans", "orphan_spans", "missing_server_halves")
_MIXED_UP = ("leaked_contexts", "several_roots", "trailing", "duplicate_spans")


def _spans(summary: Summary) -> Light | None:
    if _server_halves(summary).state is LightState.UNKNOWN:
        return None
    return _doubted(summary, "Lost spans", _LOST, "none seen")


def _traces(summary: Summary) -> Light | None:
    if _server_halves(summary).state is LightState.UNKNOWN:
        return None
    return _doubted(summary, "Mixed-up traces", _MIXED_UP, "no sign of one")


def _doubted(summary: Summary, name: str, codes: tuple[str, ...], good: str) -> Light:
    doubt = next((w for w in summary.warnings if w.code in codes), None)
    if doubt is None:
        return Light(name, LightState.GOOD, good)
    return Light(name, LightState.BAD if doubt.invalidates else LightState.ATTENTION, doubt.message)


_STEADINESS = {
    Steadiness.UNSTABLE: LightState.BAD,
    Steadiness.DRIFTING: LightState.ATTENTION,
    Steadiness.WARMING: LightState.ATTENTION,
    Steadiness.UNTESTED: LightState.UNKNOWN,
    Steadiness.STEADY: LightState.GOOD,
}
"""What a step is, the worst first."""


def _steadiness(summary: Summary) -> Light | None:
    states = [step.state for step in summary.steps]
    if not states:
        return None
    worst = min(states, key=list(_STEADINESS).index)
    if len(states) == 1:
        word = "too short to tell" if worst is Steadiness.UNTESTED else worst.value
        return Light("Steady state", _STEADINESS[worst], word)
    parts = [f"{states.count(state)} {state.value}" for state in _STEADINESS if state in states]
    return Light("Steady state", _STEADINESS[worst], f"of {len(states)} load steps {', '.join(parts)}")


_COSTS = (("cpu", "load process"), ("receiver_cpu", "span receiver"), ("cli_cpu", "command line"))


def _cost(summary: Summary) -> Light | None:
    """What the harness used of the machine it ran on: with the service on the same one, that was missing there."""
    known = {reading.name: reading for reading in summary.health.readings}
    found = [(known[name], what) for name, what in _COSTS if name in known and known[name].value is not None]
    if len(found) < 2:  # only runs of our own measure all of it
        return None
    shown = ", ".join(f"{what} {in_unit(reading.value, reading.unit)}" for reading, what in found)
    return Light("Cost of the harness", max((_state(r) for r, _ in found), key=_WORST.index), f"{shown} of a core")


_WORST = (LightState.GOOD, LightState.ATTENTION, LightState.BAD)


def _state(reading: Reading) -> LightState:
    return _HEALTH[reading.state] if reading.state is not None else LightState.GOOD
