"""The verdict as JUnit XML, which build servers show as test outcomes: one case per SLO, one for the measurement."""

from __future__ import annotations

import datetime as dt
import xml.etree.ElementTree as ET  # only writes here; nothing is parsed

from harness.findings import ABORTED, SloFindings, Summary, Verdict
from harness.report.figures import observed
from harness.report.lines import VERDICT_WORDS, warning_lines
from harness.report.text import visible

VALIDITY_CASE = "measurement is valid"
ABORT_CASE = "run was not aborted"


def render(summary: Summary) -> str:
    """An XML document. A broken SLO is a failure; one that cannot be judged, or an invalid run, is an error."""
    suites = ET.Element("testsuites", name="harness")
    suite = ET.SubElement(suites, "testsuite", name=visible(summary.scenario))
    suite.set("timestamp", _timestamp(summary.started_ns))
    _properties(suite, summary)
    _validity(suite, summary)
    _abort(suite, summary)
    for slo in summary.slo:
        _slo(suite, summary, slo)
    counted = {
        "tests": len(suite.findall("testcase")),
        "failures": len(suite.findall("testcase/failure")),
        "errors": len(suite.findall("testcase/error")),
    }
    for name, count in counted.items():
        suites.set(name, str(count))
        suite.set(name, str(count))
    for element in (suites, suite):
        element.set("time", f"{summary.duration_s:.3f}")
    ET.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def _timestamp(started_ns: int) -> str:
    return dt.datetime.fromtimestamp(started_ns // 1_000_000_000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")


def _properties(suite: ET.Element, summary: Summary) -> None:
    properties = ET.SubElement(suite, "properties")
    rows = (("run", summary.run_id), ("target", summary.target), ("load", summary.load),
            ("verdict", VERDICT_WORDS[summary.verdict]))  # fmt: skip
    for name, text in rows:
        ET.SubElement(properties, "property", name=name, value=visible(text))


def _case(suite: ET.Element, summary: Summary, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=f"harness.{visible(summary.scenario)}", name=name)


def _validity(suite: ET.Element, summary: Summary) -> None:
    case = _case(suite, summary, VALIDITY_CASE)
    if summary.verdict is Verdict.INVALID:
        _outcome(case, "error", "invalid", "; ".join(summary.reasons) or VERDICT_WORDS[Verdict.INVALID])
    elif summary.verdict is Verdict.NOT_ENOUGH_DATA and not summary.slo:
        # Without an SLO nothing else in the file would say that nothing was measured.
        _outcome(case, "error", "not_enough_data", "; ".join(summary.reasons))
    doubts = [f"{word}: {w.message} (hint: {w.hint})" for word, w in warning_lines(summary)]
    if doubts:
        ET.SubElement(case, "system-out").text = "\n".join(visible(d, 1000) for d in doubts)


def _abort(suite: ET.Element, summary: Summary) -> None:
    """Without an SLO nothing else in the file would say that the run failed."""
    messages = [warning.message for warning in summary.warnings if warning.code == ABORTED]
    if messages and summary.verdict is Verdict.FAILED:
        _outcome(_case(suite, summary, ABORT_CASE), "failure", "aborted", "; ".join(messages))


def _slo(suite: ET.Element, summary: Summary, slo: SloFindings) -> None:
    case = _case(suite, summary, visible(slo.expression))
    text = f"{slo.expression}: {VERDICT_WORDS[slo.verdict]}, observed {observed(slo)} (n = {slo.n:,}); {slo.reason}"
    if slo.verdict is Verdict.FAILED:
        _outcome(case, "failure", "failed", text)
    elif slo.verdict is not Verdict.PASSED:
        _outcome(case, "error", slo.verdict.value, text)


def _outcome(case: ET.Element, tag: str, kind: str, text: str) -> None:
    shown = visible(text, 1000)
    ET.SubElement(case, tag, type=kind, message=shown).text = shown
