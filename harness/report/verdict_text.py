"""The verdict in words: one wording for every report, so that none says more than another.

What was not judged is called that: a run without an SLO, and every limit of an invalid measurement.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.findings import ABORTED, SloFindings, Summary, Verdict
from harness.model import RunWarning

VERDICT_WORDS = {
    Verdict.PASSED: "passed",
    Verdict.FAILED: "failed",
    Verdict.NOT_ENOUGH_DATA: "not enough data",
    Verdict.INVALID: "invalid measurement",
}

UNJUDGED = "nothing judged: no SLO"
NOT_JUDGED = "not judged"


def verdict_line(summary: Summary) -> str:
    """The verdict as a word, with a note when nothing succeeded, it was judged in spite of doubts, or was cut short.

    A run without an SLO has not passed anything: nobody judged it.
    """
    counts, notes = summary.counts, []
    failed = counts.scheduled - counts.ok
    if counts.ok == 0 and counts.failed:
        notes.append(f"no request succeeded: {counts.failed:,} failed")
    elif unjudged(summary) and failed > 0:
        notes.append(f"{failed:,} of {counts.scheduled:,} requests failed")
    word = UNJUDGED if unjudged(summary) else VERDICT_WORDS[summary.verdict]
    was_judged = not unjudged(summary) and summary.verdict is not Verdict.INVALID
    return noted(word, notes, accepted=bool(summary.accepted), interrupted=summary.interrupted, judged=was_judged)


def noted(word: str, notes: list[str], *, accepted: bool, interrupted: bool, judged: bool = True) -> str:
    """`passed (an invalid measurement, accepted as it is)`: the word, and in brackets what has to be known with it."""
    kept = [*notes, *(["an invalid measurement, accepted as it is"] if accepted else [])]
    if interrupted:
        kept.append("interrupted: judged on what was measured" if judged else "interrupted")
    return f"{word} ({'; '.join(kept)})" if kept else word


def unjudged(summary: Summary) -> bool:
    """Whether there was no SLO to judge, and nothing else that made it fail."""
    return summary.verdict is Verdict.PASSED and not summary.slo


def tone(verdict: Verdict, interrupted: bool) -> Verdict:
    """What marks and colours stand for: what was cut short is not a green pass, and its exit code is none."""
    return Verdict.NOT_ENOUGH_DATA if interrupted and verdict is Verdict.PASSED else verdict


def tone_of(summary: Summary) -> Verdict | None:
    """The tone of a run; None when nothing was judged."""
    return None if unjudged(summary) else tone(summary.verdict, summary.interrupted)


def slo_verdict(summary: Summary, slo: SloFindings) -> Verdict | None:
    """None where it was not judged: nothing of an invalid measurement is passed or failed."""
    return None if summary.verdict is Verdict.INVALID and slo.verdict is not Verdict.INVALID else slo.verdict


def slo_word(verdict: Verdict | None) -> str:
    """The answer to a single limit; the measurement as a whole may still be valid where it is `invalid`."""
    return NOT_JUDGED if verdict is None else verdict.value.replace("_", " ")


def reason_lines(summary: Summary) -> list[str]:
    """What stands below the verdict: its reasons, what was accepted, and at which look it was decided."""
    return [*summary.reasons, *accepted_lines(summary.accepted), *([summary.decided] if summary.decided else [])]


def accepted_lines(accepted: Iterable[str]) -> list[str]:
    """What makes the measurement invalid, and was accepted: it is part of the verdict."""
    return [f"accepted as it is: {doubt}" for doubt in accepted]


WARNING_WORDS = ("invalid", "accepted", "failed", "warning")
"""What a warning does to the run, the gravest first."""


def warning_lines(summary: Summary) -> list[tuple[str, RunWarning]]:
    """Each warning with a word of WARNING_WORDS; those that decide the verdict come first."""
    lines = [(_warning_word(summary, warning), warning) for warning in summary.warnings]
    return sorted(lines, key=lambda line: WARNING_WORDS.index(line[0]))


def _warning_word(summary: Summary, warning: RunWarning) -> str:
    if warning.code == ABORTED:
        return "failed"
    if not warning.invalidates:
        return "warning"
    return "accepted" if warning.message in summary.accepted else "invalid"
