"""Annotations of GitHub Actions: lines in its workflow-command format, which it shows beside the changed code.

What cannot be judged is an error as well: the job fails either way, and a warning would be looked for in vain.
"""

from __future__ import annotations

from harness.errors import HarnessError
from harness.findings import Verdict
from harness.report.cases import Case, Findings, Told, told_together
from harness.report.text import visible
from harness.report.verdict_text import slo_word

MOST = 10
"""Annotations of one kind that a step may have; more would not be shown."""


def lines(*found: Findings) -> list[str]:
    """One error for each case that did not pass; a notice when all did; a warning for what was accepted."""
    all_told = told_together(found)
    bad = [(each, case) for each in all_told for case in each.cases if case.verdict not in (Verdict.PASSED, None)]
    shown = bad if len(bad) <= MOST else bad[: MOST - 1]
    made = [_line("error", _title(each, case), [case.said, *case.why]) for each, case in shown]
    if len(bad) > len(shown):
        more = [case.name for _, case in bad[len(shown) :]]
        made.append(_line("error", f"{all_told[0].scenario}: {len(more)} more", more))
    for each in all_told:
        if each.accepted:
            made.append(
                _line("warning", f"{each.scenario}: an invalid measurement, accepted as it is", list(each.accepted))
            )
        if not bad:
            made.append(_line("notice", f"{each.scenario}: {each.headline}", [each.at_most, *each.sentences[:1]]))
    return made


def refusal(error: HarnessError, name: str) -> list[str]:
    """Nothing was found: the error itself."""
    return [_line("error", f"{name}: not measured", [error.message, f"hint: {error.hint}" if error.hint else ""])]


def _title(each: Told, case: Case) -> str:
    return f"{each.scenario}: {case.name}: {slo_word(case.verdict)}"


def _line(level: str, title: str, texts: list[str]) -> str:
    message = "\n".join(visible(text, 1000) for text in texts if text) or title
    return f"::{level} title={_property(visible(title))}::{_message(message)}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
