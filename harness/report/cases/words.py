"""A case, a set of cases, and the words they share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness import __version__
from harness.analysis.comparing import words
from harness.findings import Verdict
from harness.model import RunWarning
from harness.report import figures
from harness.report.lines import VERDICT_WORDS
from harness.units import MISSING, format_rate

VALIDITY_CASE = "measurement is valid"
ABORT_CASE = "run was not aborted"
INTERRUPT_CASE = "run was not interrupted"
VERDICT_CASE = "verdict"

LONGER = "let it run longer (--duration, more pairs), or state a limit that fewer requests can decide"


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
    headline: str  # the verdict in words, with what was accepted
    reasons: tuple[str, ...]
    cases: tuple[Case, ...]
    properties: tuple[tuple[str, str], ...]
    at_most: str  # what slow-down is ruled out; "" where nobody asked
    sentences: tuple[str, ...]
    notes: tuple[str, ...]  # doubts
    started_ns: int
    duration_s: float


def change_text(ratio: float | None) -> str:
    """A ratio as the change it is: 1.063 is `+6.3%`, 28.2 is `28.2 times`."""
    return MISSING if ratio is None or math.isnan(ratio) else words.change(ratio)


def value_text(value: float | None, unit: str) -> str:
    """A value of a metric in its unit."""
    return format_rate(value) if unit == "1/s" else figures.in_unit(value, unit)


def headline_of(words: str, accepted: Sequence[str]) -> str:
    return f"{words}, accepted as it is: {'; '.join(accepted)}" if accepted else words


def ended(verdict: Verdict, interrupted: bool) -> str:
    word = VERDICT_WORDS[verdict]
    return f"{word} (interrupted: judged on what was measured)" if interrupted else word


def accepted_lines(accepted: Iterable[str]) -> list[str]:
    return [f"accepted: {each}" for each in accepted]


def with_hint(warning: RunWarning) -> str:
    return f"{warning.message} (hint: {warning.hint})" if warning.hint else warning.message


def hints_of(warnings: Iterable[RunWarning]) -> tuple[str, ...]:
    """What to do about the doubts that decide."""
    found = (f"hint: {warning.hint}" for warning in warnings if warning.invalidates and warning.hint)
    return tuple(dict.fromkeys(found))


def property_rows(
    scenario: str, rows: Sequence[tuple[str, str]], verdict: str, accepted: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    own = (("scenario", scenario), *rows, ("verdict", verdict), ("accepted", "; ".join(accepted)))
    return (*((name, text) for name, text in own if text), ("harness", __version__))


def closed(
    verdict: Verdict,
    cases: Sequence[Case],
    reasons: Sequence[str],
    hints: tuple[str, ...],
    interrupted: bool = False,
) -> tuple[Case, ...]:
    """The cases such that they tell the verdict: no pass or failure of an invalid measurement, no green list of a
    verdict that is not a pass.
    """
    because = "; ".join(reasons) or VERDICT_WORDS[verdict]
    valid = Case(VALIDITY_CASE, Verdict.PASSED)
    if verdict is Verdict.INVALID:
        valid = Case(VALIDITY_CASE, Verdict.INVALID, because, hints)
        cases = [c if c.verdict is Verdict.INVALID else replace(c, verdict=None) for c in cases]
    elif verdict is Verdict.PASSED:
        cases = [c if c.verdict is Verdict.PASSED else replace(c, verdict=None) for c in cases]
    elif verdict is Verdict.NOT_ENOUGH_DATA and not cases:
        valid = Case(VALIDITY_CASE, verdict, because, hints)
    elif all(case.verdict is not verdict for case in cases):
        cases = [*cases, Case(VERDICT_CASE, verdict, because, hints)]
    stopped = Case(INTERRUPT_CASE, Verdict.NOT_ENOUGH_DATA, "interrupted: judged on what was measured")
    return (valid, *cases, *([stopped] if interrupted else []))
