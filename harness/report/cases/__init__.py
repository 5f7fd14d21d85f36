"""What build servers are told: every finding as a list of cases, each with its verdict, what was seen, and why.

Written once, so that JUnit, annotations and the job summary agree.
"""

from __future__ import annotations

from harness.comparison import AbFindings, BaselineFindings, CalibrationFindings
from harness.findings import Summary
from harness.report.cases.others import of_baseline, of_calibration
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


def one_line(found: Findings) -> str:
    """`read-receipts: failed: p95(latency) < 1s: 20 of 240 above the limit`: all that a quiet command prints."""
    each = told(found)
    return ": ".join(visible(part, 500) for part in (each.scenario, each.headline, "; ".join(each.reasons)) if part)
