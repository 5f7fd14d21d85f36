"""The verdict as JUnit XML, which build servers show as test outcomes.

A suite per set of findings, in it a case per SLO or gating metric and one for the measurement itself. It keeps to
what the schema of Ant and that of Jenkins both allow: no attributes on `testsuites`, a suite's properties first and
its two outputs last, at most one outcome in a case and nothing else, an instant without a time zone (it is UTC).
"""

from __future__ import annotations

import datetime as dt
import math
import xml.etree.ElementTree as ET  # only writes here; nothing is parsed
from collections.abc import Iterable

from harness.comparison import AbFindings, BaselineFindings
from harness.errors import HarnessError
from harness.findings import Verdict
from harness.report.cases import Case, Findings, Told, refused, told_together
from harness.report.text import visible

_LATEST_S = 253_402_300_799  # the end of the year 9999


def render(*found: Findings) -> str:
    """An XML document, a suite for each. A broken limit is a failure; what cannot be judged is an error."""
    return _document(told_together(found))


def render_ab(found: AbFindings) -> str:
    """Interleaved pairs: a case for each metric that decides."""
    return render(found)


def render_baseline(found: BaselineFindings) -> str:
    """A new run against earlier ones: a case for each metric."""
    return render(found)


def render_refusal(error: HarnessError, name: str, at_ns: int) -> str:
    """Nothing was found: the error in place of the verdict, so that no build server takes silence for a pass."""
    hint = (f"hint: {error.hint}",) if error.hint else ()
    case = Case("measurement could be made", Verdict.INVALID, error.message, hint)
    return _document([refused(name, case, at_ns)])


def _document(all_told: Iterable[Told]) -> str:
    suites = ET.Element("testsuites")
    for number, each in enumerate(all_told):
        _suite(suites, number, each)
    ET.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def _suite(suites: ET.Element, number: int, each: Told) -> None:
    name = f"{_name(each.scenario)}.{each.kind}"  # unlike in each file of a job, or a reader would take them for one
    suite = ET.SubElement(suites, "testsuite", package="harness", id=str(number), name=name, hostname="localhost")
    suite.set("timestamp", _timestamp(each.started_ns))
    properties = ET.SubElement(suite, "properties")
    for key, value in each.properties:
        ET.SubElement(properties, "property", name=key, value=visible(value, 1000))
    for case in each.cases:
        _case(suite, f"harness.{name}", case)
    ET.SubElement(suite, "system-out").text = "\n".join(visible(text, 1000) for text in _outputs(each))
    ET.SubElement(suite, "system-err").text = "\n".join(visible(note, 1000) for note in each.notes)
    counted = {"tests": "testcase", "failures": "testcase/failure", "errors": "testcase/error",
               "skipped": "testcase/skipped"}  # fmt: skip
    for attribute, path in counted.items():
        suite.set(attribute, str(len(suite.findall(path))))
    suite.set("time", f"{each.duration_s if math.isfinite(each.duration_s) else 0.0:.3f}")


def _outputs(each: Told) -> list[str]:
    return [part for part in (each.headline, *each.reasons, each.at_most, *each.sentences) if part]


def _case(suite: ET.Element, classname: str, case: Case) -> None:
    element = ET.SubElement(suite, "testcase", classname=classname, name=_name(case.name), time="0.000")
    if case.verdict is None:
        ET.SubElement(element, "skipped", message=visible(case.said, 1000))
    elif case.verdict is not Verdict.PASSED:
        tag = "failure" if case.verdict is Verdict.FAILED else "error"
        outcome = ET.SubElement(element, tag, type=case.verdict.value, message=visible(case.said, 1000))
        outcome.text = "\n".join(visible(text, 1000) for text in (case.said, *case.why))


def _name(text: str) -> str:
    """Both schemas want a name; spaces at its ends would be dropped by the one that reads it as a token."""
    return " ".join(visible(text).split()) or "unnamed"


def _timestamp(started_ns: int) -> str:
    seconds = min(max(started_ns // 1_000_000_000, 0), _LATEST_S)
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
