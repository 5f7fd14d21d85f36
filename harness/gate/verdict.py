"""The verdict of a run from those of its SLOs. It fails closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.findings import ABORTED, Health, HealthState, SloFindings, Verdict
from harness.model import RunWarning

CUT_SHORT = ("cut_short", "not_stored", "load_process", "blocked", "recorder")
"""Codes of warnings that a run did not end, or is not on the disk as it was: that cannot be accepted."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict of a run with its reasons; `accepted` is what makes the measurement invalid and was accepted."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()


def judge_run(
    slos: Sequence[SloFindings],
    health: Health,
    warnings: Sequence[RunWarning],
    ok: int,
    accept: bool = False,
    strict: bool = False,
) -> Judged:
    """An invalid measurement is never passed or failed, unless its doubts are accepted; then they are returned.

    A run that did not end, or without a single ok request, has nothing to accept. One that was aborted has failed,
    whatever the requests before that say of its SLOs. `strict` wants a generator that is not even suspect, and an SLO.
    """
    doubts = [w for w in warnings if w.invalidates and w.code != ABORTED]
    unwell = health.state is HealthState.INVALID or (strict and health.state is HealthState.SUSPECT)
    invalid = (*(w.message for w in doubts), *(health.reasons if unwell else ()))
    if unwell and not health.reasons:
        invalid = (*invalid, f"the load generator is {health.state}")
    if invalid and not (accept and ok and not any(w.code in CUT_SHORT for w in doubts)):
        return Judged(Verdict.INVALID, invalid)
    return _judged(slos, warnings, ok, strict, invalid)


def _judged(
    slos: Sequence[SloFindings], warnings: Sequence[RunWarning], ok: int, strict: bool, accepted: tuple[str, ...]
) -> Judged:
    aborted = tuple(w.message for w in warnings if w.code == ABORTED)
    if aborted:
        return Judged(Verdict.FAILED, (*aborted, *_reasons(slos, Verdict.FAILED)), accepted)
    for verdict in (Verdict.FAILED, Verdict.INVALID, Verdict.NOT_ENOUGH_DATA):
        reasons = _reasons(slos, verdict)
        if reasons:
            return Judged(verdict, reasons, accepted)
    if ok == 0:
        return Judged(Verdict.NOT_ENOUGH_DATA, ("no request was answered as expected",), accepted)
    if strict and not slos:
        return Judged(Verdict.NOT_ENOUGH_DATA, ("there is no SLO to judge",), accepted)
    return Judged(Verdict.PASSED, (), accepted)


def _reasons(slos: Sequence[SloFindings], verdict: Verdict) -> tuple[str, ...]:
    return tuple(f"{s.expression}: {s.reason}" for s in slos if s.verdict is verdict)
