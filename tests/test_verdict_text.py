"""One wording of the verdict in every report: nothing that was not judged is called passed or failed."""

from __future__ import annotations

import re

import pytest
from report_builders import a_summary, some_slos

from harness.findings import SloFindings, Summary, Verdict
from harness.model import RunWarning
from harness.report import annotations, console, html, job_summary, json_report, junit, markdown
from harness.report.cases import one_line
from harness.report.verdict_text import slo_verdict, tone_of, verdict_line

LATE = RunWarning("late", "sends left 80 ms late", "use a larger machine", True)


def every_text(summary: Summary) -> dict[str, str]:
    page = re.sub(
        r"<style>.*?</style>|<[^>]*>", " ", html.render(summary, None).partition('id="words"')[0], flags=re.DOTALL
    )
    return {
        "console": console.render(summary, width=100, colour=False),
        "markdown": markdown.render(summary),
        "html": page,
        "job summary": job_summary.render(summary),
        "junit": junit.render(summary),
        "annotations": "\n".join(annotations.lines(summary)),
        "quiet": one_line(summary),
    }


def test_no_report_of_an_invalid_run_calls_a_limit_passed_or_failed() -> None:
    two = some_slos()[:2]  # one that is met, one that is not
    invalid = a_summary(verdict=Verdict.INVALID, reasons=(LATE.message,), slo=two, warnings=(LATE,))

    for name, text in every_text(invalid).items():
        assert "✅" not in text, name
        assert "❌" not in text, name
        assert not re.search(r"passed|< 100ms\W+failed|failed, observed", text), name
        assert "invalid" in text.lower(), name
    assert [slo_verdict(invalid, slo) for slo in two] == [None, None]
    assert [slo["verdict"] for slo in json_report.as_object(invalid)["slo"]] == ["invalid", "invalid"]


def test_every_report_of_a_run_without_an_slo_says_that_nothing_was_judged() -> None:
    for name, text in every_text(a_summary(verdict=Verdict.PASSED, reasons=(), slo=())).items():
        assert "nothing judged" in text.lower(), name
        assert not re.search(r"passed|✅", text, re.IGNORECASE), name


def test_every_report_of_an_accepted_measurement_says_so_and_none_that_it_invalidates() -> None:
    accepted = a_summary(
        verdict=Verdict.PASSED, reasons=(), slo=some_slos()[:1], accepted=(LATE.message,), warnings=(LATE,)
    )

    for name, text in every_text(accepted).items():
        assert "an invalid measurement" in text.lower(), name
        assert "invalidates" not in text.lower(), name
        assert "accepted as it is" in text.lower(), name


@pytest.mark.parametrize(
    ("changes", "line", "tone"),
    [
        ({}, "passed", Verdict.PASSED),
        ({"interrupted": True}, "passed (interrupted: judged on what was measured)", Verdict.NOT_ENOUGH_DATA),
        ({"slo": ()}, "nothing judged: no SLO (4 of 244 requests failed)", None),
        ({"verdict": Verdict.INVALID, "interrupted": True}, "invalid measurement (interrupted)", Verdict.INVALID),
        ({"verdict": Verdict.FAILED, "interrupted": True}, "failed (interrupted: judged on what was measured)",
         Verdict.FAILED),
    ],
)  # fmt: skip
def test_the_verdict_and_its_colour(changes: dict[str, object], line: str, tone: Verdict | None) -> None:
    summary = a_summary(**{"verdict": Verdict.PASSED, **changes})

    assert (verdict_line(summary), tone_of(summary)) == (line, tone)


def test_rates_have_their_unit_everywhere() -> None:
    slow = SloFindings("throughput > 20/s", Verdict.FAILED, 18.03, 20.0, "1/s", 244, "too slow")

    for name, text in every_text(a_summary(slo=(slow,), reasons=("throughput > 20/s: too slow",))).items():
        assert "1/s" not in text, name
