"""What build servers are told: every finding as a list of cases, each with its verdict, what was seen, and why.

Written once, so that JUnit, annotations and the job summary agree.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.comparison import AbFindings, BaselineFindings, CalibrationFindings
from harness.findings import Summary, Verdict
from harness.report.cases.others import EARLIER, of_baseline, of_calibration
from harness.report.cases.pairs import of_pairs
from harness.report.cases.run import of_run
from harness.report.cases.words import Case as Case
from harness.report.cases.words import Told as Told
from harness.report.text import visible

Findings = Summary | AbFindings | BaselineFindings | CalibrationFindings


def told(found: Findings) -> Told:
    """The findings, of whatever kind."""
    if isinstance(found, Summary):
        return of_run(found)
    if isinstance(found, AbFindings):
        return of_pairs(found)
    return of_baseline(found) if isinstance(found, BaselineFindings) else of_calibration(found)


def refused(scenario: str, case: Case, at_ns: int) -> Told:
    """In place of findings, when there are none."""
    return Told(
        scenario=scenario, kind="error", verdict=Verdict.INVALID, tone=Verdict.INVALID, headline="not measured",
        reasons=(), cases=(case,), properties=(), at_most="", sentences=(), accepted=(), notes=(), started_ns=at_ns,
        duration_s=0.0,
    )  # fmt: skip


def told_together(found: Sequence[Findings]) -> list[Told]:
    """The findings of one measurement, the run first: what earlier runs say is held against it, and has its name."""
    first = told(found[0])
    return [first, *(of_baseline(f, first) if isinstance(f, BaselineFindings) else told(f) for f in found[1:])]


def one_line(found: Findings, baseline: BaselineFindings | None = None) -> str:
    """`read-receipts: failed: p95(latency) < 1s: 20 of 240 above the limit`: all that a quiet command prints."""
    each = told(found)
    said = each.reasons or each.sentences if each.kind == "calibration" else (*each.reasons, each.at_most)
    earlier = "" if baseline is None else of_baseline(baseline, each).headline
    if any(reason.startswith(EARLIER) for reason in each.reasons):  # they decided
        earlier = ""
    parts = (each.scenario, each.headline, "; ".join(filter(None, (*said, earlier))))
    return ": ".join(visible(part, 500) for part in parts if part)
