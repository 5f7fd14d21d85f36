"""Annotations and the job summary: what GitHub Actions is told, and that no name can say anything else to it."""

from __future__ import annotations

import dataclasses
import re

import pytest
from ci_builders import a_baseline, a_calibration, a_hostile_ab, a_metric, a_passed_ab, an_ab, every_judged
from hypothesis import given, settings
from hypothesis import strategies as st
from report_builders import a_summary, an_empty_summary, some_slos
from report_diagnosed import a_diagnosed_summary
from report_hostile import ALL, a_hostile_summary
from test_report_formats import structure

from harness.comparison import Change
from harness.errors import NothingMeasured
from harness.findings import Verdict
from harness.report import annotations, job_summary, junit
from harness.report.cases import Findings, one_line

COMMAND = re.compile(r"::(error|warning|notice) title=([^:,\r\n]*)::([^\r\n]+)")


def levels(found: Findings) -> list[str]:
    return [line.split()[0].strip(":") for line in annotations.lines(found)]


# --- annotations -----------------------------------------------------------------------------------------------


def test_each_case_that_did_not_pass_is_an_error_with_its_figures() -> None:
    failed, undecided = annotations.lines(a_summary())

    assert failed.startswith("::error title=read-receipts%3A p90(inference) < 100ms%3A failed::")
    assert "139 of 240 above the limit%0Ablamed stage: inference" in failed
    assert "not enough data::" in undecided
    assert "needs 299 requests, has 244" in undecided


def test_a_pass_is_a_notice_that_says_how_much_slower_it_may_be() -> None:
    (line,) = annotations.lines(a_passed_ab())

    assert line.startswith("::notice title=read-receipts%3A passed::")
    assert "p95: at most +3.5%25 worse (such pairs find +7.0%25 and more)" in line


@pytest.mark.parametrize("verdict", [Verdict.NOT_ENOUGH_DATA, Verdict.INVALID])
def test_what_cannot_be_judged_is_an_error_as_the_exit_code_is(verdict: Verdict) -> None:
    assert levels(a_summary(verdict=verdict, reasons=("why",), slo=())) == ["error"]
    assert "error" in levels(an_ab(verdict=verdict, reasons=("why",)))


def test_nothing_of_an_invalid_measurement_is_annotated_as_passed_or_failed() -> None:
    (line,) = annotations.lines(an_ab(verdict=Verdict.INVALID, reasons=("B died",)))

    assert "measurement is valid%3A invalid::B died" in line


def test_what_was_accepted_is_a_warning_beside_the_notice() -> None:
    passed = a_summary(verdict=Verdict.PASSED, reasons=(), slo=some_slos()[:1], accepted=("sends left 80 ms late",))

    assert levels(passed) == ["warning", "notice"]
    assert "accepted as it is::sends left 80 ms late" in annotations.lines(passed)[0]


def test_no_step_gets_more_annotations_than_are_shown() -> None:
    many = tuple(dataclasses.replace(some_slos()[1], expression=f"p90(inference) < {i}ms") for i in range(30))
    lines = annotations.lines(a_summary(slo=many))

    assert len(lines) == 10
    assert lines[-1].startswith("::error title=read-receipts%3A 21 more::p90(inference) < 9ms%0A")


def test_a_run_and_its_earlier_runs_share_what_a_step_may_annotate() -> None:
    many = tuple(dataclasses.replace(some_slos()[1], expression=f"p90(inference) < {i}ms") for i in range(9))

    assert len(annotations.lines(a_summary(slo=many), a_baseline())) == 10
    assert len(annotations.lines(a_summary(slo=many[:8]), a_baseline())) == 9


def test_an_error_before_the_first_request_is_annotated() -> None:
    (line,) = annotations.refusal(NothingMeasured("nothing answers", "start it"), "read-receipts.yaml")

    assert line == "::error title=read-receipts.yaml%3A not measured::nothing answers%0Ahint: start it"


@pytest.mark.parametrize("text", [*ALL, "::error::x", "a%0A::set-output name=x::y", "title=a,file=b::c"], ids=ascii)
def test_hostile_names_stay_inside_their_annotation(text: str) -> None:
    for found in (a_hostile_summary(text), a_hostile_ab(text)):
        for line in annotations.lines(found):
            assert COMMAND.fullmatch(line), line


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_stays_on_its_line(text: str) -> None:
    for line in annotations.lines(a_summary(scenario=text, reasons=(text,), verdict=Verdict.INVALID)):
        assert COMMAND.fullmatch(line)
        assert len(line.splitlines()) == 1


def test_a_percent_sign_survives_the_way_there_and_back() -> None:
    (line,) = annotations.lines(a_summary(verdict=Verdict.INVALID, reasons=("100%0A sure, a: b",), slo=()))

    message = COMMAND.fullmatch(line)
    assert message is not None
    assert message[3].replace("%0A", "\n").replace("%25", "%").startswith("100%0A sure, a: b")


# --- the job summary -------------------------------------------------------------------------------------------


def test_the_summary_of_a_run_begins_with_the_verdict_and_shows_its_slos() -> None:
    text = job_summary.render(a_diagnosed_summary())

    assert text.startswith("### ❌ <code>read-receipts</code>: failed\n")
    assert "| ❌ <code>p90(inference) &#60; 100ms</code> | 163 ms | 240 | 139 of 240 above the limit |" in text
    assert "run <code>20260102T030405Z-read-receipts</code>" in text


def test_the_summary_of_pairs_says_what_changed_and_how_much_at_most() -> None:
    text = job_summary.render_ab(an_ab())

    assert "| p95 | 200 ms | 224 ms | +12.0% (+9.0% … +15.0%, n = 5) | +14.5% | +7.0% | ❌ worse |" in text
    assert "**p50: at most +3.5% worse (such pairs find +7.0% and more); p95: at most +14.5% worse" in text
    assert text.count("Inference takes 21.5 ms longer") == 1
    assert "**What changed:** Inference takes 21.5 ms longer" in job_summary.render_ab(an_ab(sentences=()))
    assert "| inference | 80.0 ms | 102 ms | +21.5 ms (18.1 ms … 24.9 ms) | 96.0% |  |" in text


def test_the_summary_of_earlier_runs_follows_that_of_the_run() -> None:
    text = job_summary.render(a_summary(), a_baseline())

    assert text.count("### ❌") == 2
    assert "| ❌ worse | p95 | 251 ms | 200 ms | 218 ms | 9 | 251 ms is above 218 ms |" in text


def test_the_summary_of_a_calibration_says_what_can_be_seen() -> None:
    assert "| p95 | 200 ms | 3.0% | 10 | 5 pairs: +9.0%; 9 pairs: +6.0% |" in job_summary.render(a_calibration())


def test_no_figure_of_an_invalid_measurement_is_marked_as_passed_or_failed() -> None:
    for found in (
        a_summary(verdict=Verdict.INVALID),
        an_ab(verdict=Verdict.INVALID),
        a_baseline(verdict=Verdict.INVALID),
    ):
        text = job_summary.render(found)

        assert "✅" not in text
        assert "❌" not in text
        assert "ℹ️ not judged" in text


def test_a_run_without_an_slo_is_told_to_have_judged_nothing() -> None:
    done = a_summary(verdict=Verdict.PASSED, reasons=(), slo=())

    assert job_summary.render(done).startswith("### ℹ️ <code>read-receipts</code>: nothing judged: no SLO")
    assert annotations.lines(done)[0].startswith("::notice title=read-receipts%3A nothing judged%3A no SLO")
    assert 'name="verdict" value="nothing judged: no SLO (4 of 244 requests failed)"' in junit.render(done)


def test_an_interrupted_pass_has_no_green_mark_and_what_is_undecided_none_where_that_is_not_enough() -> None:
    interrupted = a_summary(verdict=Verdict.PASSED, reasons=(), slo=some_slos()[:1], interrupted=True)
    undecided = an_ab(
        strict=True, verdict=Verdict.NOT_ENOUGH_DATA, blame=None, metrics=(a_metric("p95", Change.NOT_FOUND),)
    )

    assert job_summary.render(interrupted).startswith("### ❔ <code>read-receipts</code>: passed (interrupted")
    assert job_summary.render(a_passed_ab(interrupted=True)).startswith("### ❔ ")
    assert "❔ not found" in job_summary.render(undecided)
    assert "✅ not found" in job_summary.render(a_passed_ab())


def test_earlier_runs_are_told_apart_from_the_run_also_when_there_are_none() -> None:
    nothing = a_baseline(verdict=Verdict.NOT_ENOUGH_DATA, reasons=("needs 8 runs, has 0",), runs=(), metrics=())

    assert one_line(a_baseline()).startswith("read-receipts: against earlier runs: failed: ")
    assert "### ❔ <code>read-receipts</code>: against earlier runs: not enough data" in job_summary.render(
        a_summary(), nothing
    )
    assert annotations.lines(a_summary(), nothing)[-1].startswith("::error title=read-receipts%3A ")


def test_a_calibration_is_not_called_passed() -> None:
    assert one_line(a_calibration()) == "read-receipts: calibrated: Five pairs find +9 % here."
    assert "passed" not in job_summary.render(a_calibration())
    assert annotations.lines(a_calibration())[0].startswith("::notice title=read-receipts%3A calibrated::")


def test_what_was_accepted_stands_below_the_verdict() -> None:
    text = job_summary.render(a_summary(verdict=Verdict.PASSED, slo=some_slos()[:1], accepted=("sends left late",)))

    assert "passed (an invalid measurement, accepted as it is)" in text.splitlines()[0]
    assert "- accepted as it is: sends left late" in text
    assert "- accepted as it is: B was late" in job_summary.render(a_passed_ab(accepted=("B was late",)))
    assert "; accepted as it is: B was late" in one_line(an_ab(accepted=("B was late",)))


@pytest.mark.parametrize("found", [*every_judged(), a_summary(), a_diagnosed_summary(), an_empty_summary()])
def test_a_summary_is_short_and_one_comment_is_enough(found: Findings) -> None:
    assert len(job_summary.render(found).splitlines()) <= 60


@pytest.mark.parametrize("text", ALL, ids=lambda t: ascii(t[:12]))
def test_no_name_changes_the_structure_of_the_summary(text: str) -> None:
    for hostile in (a_hostile_summary, a_hostile_ab):
        assert structure(job_summary.render(hostile(text))) == structure(job_summary.render(hostile("name")))
        assert len(job_summary.render(hostile(text))) < 60_000


# --- one line --------------------------------------------------------------------------------------------------


def test_the_verdict_fits_one_line_whatever_is_in_it() -> None:
    assert one_line(a_passed_ab()).startswith("read-receipts: passed: p50: at most +3.5% worse")
    assert one_line(a_summary()) == "read-receipts: failed: p90(inference) < 100ms: 139 of 240 above the limit"
    for text in ALL:
        assert len(one_line(a_hostile_summary(text)).splitlines()) == 1
