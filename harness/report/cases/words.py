"""A case, a set of cases, and the words they share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness import __version__
from harness.analysis.comparing import words
from harness.findings import Verdict
from harness.model import RunWarning
from harness.report.verdict_text import NOT_JUDGED, VERDICT_WORDS, accepted_lines
from harness.units import MISSING

VALIDITY_CASE = "measurement is valid"
ABORT_CASE = "run was not aborted"
INTERRUPT_CASE = "run was not interrupted"
SLO_CASE = "SLOs are met"
VERDICT_CASE = "verdict"


@dataclass(frozen=True, slots=True)
class Case:
    """One question and its answer. `verdict` is None where it was not judged."""

    name: str
    verdict: Verdict | None
    said: str = ""  # what was seen against what was asked
    why: tuple[str, ...] = ()  # who is to blame, what to do


@dataclass(frozen=True, slots=True)
class Told:
    """One set of findings as a build server shows it."""

    scenario: str
    kind: str  # which findings of the scenario: "run", "ab", "baseline" or "calibration"
    verdict: Verdict
    tone: Verdict | None  # what its mark stands for; None: nothing was judged
    headline: str  # the verdict in words
    reasons: tuple[str, ...]
    cases: tuple[Case, ...]
    properties: tuple[tuple[str, str], ...]
    at_most: str  # what slow-down is ruled out; "" where nobody asked
    sentences: tuple[str, ...]
    accepted: tuple[str, ...]  # what makes the measurement invalid and was accepted
    notes: tuple[str, ...]  # doubts, beside what was accepted
    started_ns: int
    duration_s: float


def change_text(ratio: float | None) -> str:
    """A ratio as the change it is: 1.063 is `+6.3%`, 28.2 is `28.2 times`."""
    return MISSING if ratio is None or math.isnan(ratio) else words.change(ratio)


def with_hint(warning: RunWarning) -> str:
    return f"{warning.message} (hint: {warning.hint})" if warning.hint else warning.message


def hints_of(warnings: Iterable[RunWarning]) -> tuple[str, ...]:
    """What to do about the doubts that decide."""
    found = (f"hint: {warning.hint}" for warning in warnings if warning.invalidates and warning.hint)
    return tuple(dict.fromkeys(found))


def property_rows(
    scenario: str, rows: Sequence[tuple[str, str]], headline: str, accepted: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    own = (("scenario", scenario), *rows, ("verdict", headline), ("accepted", "; ".join(accepted)))
    return (*((name, text) for name, text in own if text), ("harness", __version__))


def closed(
    verdict: Verdict,
    cases: Sequence[Case],
    reasons: Sequence[str],
    hints: tuple[str, ...],
    accepted: Sequence[str] = (),
    interrupted: bool = False,
) -> tuple[Case, ...]:
    """The cases such that they tell the verdict: no pass or failure of an invalid measurement, no green list of a
    verdict that is not a pass, no measurement called valid that was accepted as it is.
    """
    because = "; ".join(reasons) or VERDICT_WORDS[verdict]
    valid = (
        Case(VALIDITY_CASE, None, "; ".join(accepted_lines(accepted)))
        if accepted
        else Case(VALIDITY_CASE, Verdict.PASSED)
    )
    kept = {
        Verdict.PASSED: (Verdict.PASSED,),
        Verdict.FAILED: tuple(Verdict),
        Verdict.NOT_ENOUGH_DATA: (Verdict.PASSED, Verdict.NOT_ENOUGH_DATA),
        Verdict.INVALID: (Verdict.INVALID,),
    }
    cases = [case if case.verdict in (None, *kept[verdict]) else _not_judged(case) for case in cases]
    if verdict is Verdict.INVALID or (verdict is Verdict.NOT_ENOUGH_DATA and not cases):
        valid = Case(VALIDITY_CASE, verdict, because, hints)
    elif verdict is not Verdict.PASSED and all(case.verdict is not verdict for case in cases):
        cases = [*cases, Case(VERDICT_CASE, verdict, because, hints)]
    stopped = Case(INTERRUPT_CASE, Verdict.NOT_ENOUGH_DATA, "interrupted: this is what was measured until then")
    return (valid, *cases, *([stopped] if interrupted else []))


def _not_judged(case: Case) -> Case:
    return replace(case, verdict=None, said=f"{NOT_JUDGED}: {case.said}" if case.said else NOT_JUDGED, why=())
