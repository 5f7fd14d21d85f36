"""What a fix would give, as text: the usual changes, replayed. Written once, so that all reports agree."""

from __future__ import annotations

from dataclasses import dataclass

from harness.diagnosis import Level, WhatIfFindings
from harness.findings import Summary
from harness.model import Split
from harness.report.figures import decimals_for, ms
from harness.report.text import visible
from harness.report.whatif_text import ASSUMES, OF_THESE, calibration
from harness.units import MISSING, format_count, format_rate

TITLE = "What a fix would give"


@dataclass(frozen=True, slots=True)
class GainTable:
    """A row of `columns` per change, what gives most first; `notes` are what the figures stand on, in sentences."""

    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def gain_table(summary: Summary) -> GainTable | None:
    """The answers of the replay; None where it has none."""
    answers = [found for found in summary.gains if found.now is not None]
    if not answers:
        return None
    has_p99 = all(level is None or level.p99_s is not None for found in answers for level in (found.now, found.then))
    limited = any(found.most_per_s is not None for found in answers)
    tail = "p99 (ms)" if has_p99 else "mean (ms)"
    columns = ("change", "p50 (ms)", tail, *(("carries at most",) if limited else ()))
    lines = tuple(_line(found, has_p99)[: len(columns)] for found in answers)
    return GainTable(columns, lines, _notes(answers, has_p99))


def no_gain(summary: Summary) -> str:
    """Why a replay has no answer; empty where it has one, or where a reader would not look for one."""
    gave_account = any(n for split, n in summary.counts.split if split != Split.NONE.value)
    if gain_table(summary) is not None or not (gave_account or len(summary.steps) > 1):
        return ""
    refusal = next((found.refusal for found in summary.gains if found.refusal), "")
    told = visible(refusal, 300)
    return f"{TITLE}: no answer. {told[:1].upper()}{told[1:]}." if told else ""


def _line(found: WhatIfFindings, has_p99: bool) -> tuple[str, ...]:
    change, now, then = visible(found.change, 120), found.now, found.then
    if now is None or then is None:
        return (change, MISSING, MISSING, MISSING)
    tail = _moves(_tail(now, has_p99), _tail(then, has_p99))
    return (change, _moves(now.p50_s, then.p50_s), tail, format_rate(found.most_per_s))


def _tail(level: Level, has_p99: bool) -> float | None:
    return level.p99_s if has_p99 else level.mean_s


def _moves(now_s: float | None, then_s: float | None) -> str:
    decimals = decimals_for(now_s)
    return f"{ms(now_s, decimals)} → {ms(then_s, decimals)}"


def _notes(answers: list[WhatIfFindings], has_p99: bool) -> tuple[str, ...]:
    first = answers[0]
    missing = "" if has_p99 else ", too few for a p99"
    of = f"stands on n = {format_count(first.n)} requests (measured, ok, with server half){missing}; {OF_THESE}"
    refused = [f"{visible(f.change, 120)}: no answer, {visible(f.refusal, 300)}" for f in answers if f.refusal]
    return (calibration(first), of, f"assumes that {ASSUMES}", *refused)
