"""JUnit XML: what it says, whether the schema allows it, and what another program reads in it."""

from __future__ import annotations

import dataclasses

import pytest
from ci_builders import a_hostile_ab, a_passed_ab, an_ab, every_judged
from hypothesis import given, settings
from hypothesis import strategies as st
from junit_reading import SCHEMA, cases, outcomes, output, properties, read, said
from junitparser import JUnitXml
from report_builders import a_summary, an_empty_summary, some_slos
from report_diagnosed import a_diagnosed_summary
from report_hostile import ALL, a_hostile_summary

from harness import __version__
from harness.findings import SloFindings, Verdict
from harness.model import RunWarning
from harness.report import junit
from harness.report.cases import Findings

# --- runs ------------------------------------------------------------------------------------------------------


def test_each_slo_is_a_case_with_its_verdict() -> None:
    assert outcomes(junit.render(a_summary())) == {
        "measurement is valid": "passed",
        "p95(latency) < 1s": "passed",
        "p90(inference) < 100ms": "failure",
        "p99(latency) < 2s": "error",
        "error_rate < 2%": "passed",
    }


def test_the_counts_are_those_that_the_reader_finds() -> None:
    text = junit.render(a_summary())
    suite = next(iter(read(text)))

    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (5, 1, 1, 0)
    document = JUnitXml.fromstring(text.encode())
    document.update_statistics()
    assert (document.tests, document.failures, document.errors) == (5, 1, 1)


def test_a_failure_says_what_was_seen_who_is_to_blame_and_what_to_try() -> None:
    text = said(junit.render(a_diagnosed_summary()), "p90(inference) < 100ms")

    assert "observed 163 ms (n = 240); 139 of 240 above the limit" in text
    assert "blamed stage: queue, resource model_lock, 71.0% of what makes slow requests slow (58.0% … 83.0%)" in text
    assert "3,438 of 4,200 requests were answered as expected." in text
    assert "Try first: give each worker its own session" in text


def test_an_slo_without_enough_data_says_what_it_needs_and_what_to_do() -> None:
    text = said(junit.render(a_summary()), "p99(latency) < 2s")

    assert "needs 299 requests, has 244" in text
    assert "hint: let it run longer" in text


def test_nothing_of_an_invalid_run_is_passed_or_failed() -> None:
    late = RunWarning("late", "sends left 80 ms late", "use a larger machine", True)
    text = junit.render(a_summary(verdict=Verdict.INVALID, reasons=("sends left 80 ms late",), warnings=(late,)))

    found = outcomes(text)
    assert found.pop("measurement is valid") == "error"
    assert set(found.values()) == {"skipped"}
    assert "hint: use a larger machine" in said(text, "measurement is valid")


def test_no_word_of_an_invalid_run_says_that_a_limit_is_met_or_missed() -> None:
    text = junit.render(a_summary(verdict=Verdict.INVALID, reasons=("sends left 80 ms late",)))

    assert "passed" not in text
    assert "failed, observed" not in text
    assert said(text, "p95(latency) < 1s").startswith("not judged: observed 310 ms (n = 244)")


def test_a_run_without_an_slo_is_not_all_green() -> None:
    done = a_summary(verdict=Verdict.PASSED, reasons=(), slo=())
    strict = a_summary(verdict=Verdict.NOT_ENOUGH_DATA, reasons=("there is no SLO to judge",), slo=())

    unjudged = {"measurement is valid": "passed", "SLOs are met": "skipped"}
    assert outcomes(junit.render(done)) == unjudged
    assert outcomes(junit.render(strict)) == {**unjudged, "verdict": "error"}
    assert "there is no SLO to judge" in said(junit.render(strict), "verdict")


def test_a_measurement_that_was_accepted_is_not_called_valid() -> None:
    late = RunWarning("late", "sends left 80 ms late", "use a larger machine", True)
    done = a_summary(verdict=Verdict.PASSED, slo=some_slos()[:1], accepted=(late.message,), warnings=(late,))

    assert outcomes(junit.render(done))["measurement is valid"] == "skipped"
    assert outcomes(junit.render(a_passed_ab(accepted=("B was late",))))["measurement is valid"] == "skipped"
    assert output(junit.render(done), "system-err") == "accepted: sends left 80 ms late (hint: use a larger machine)"


def test_pairs_that_are_too_few_to_judge_fail_nothing() -> None:
    few = an_ab(verdict=Verdict.NOT_ENOUGH_DATA, reasons=("it was interrupted: 3 of 5 pairs",), interrupted=True)

    found = outcomes(junit.render(few))
    assert found["p95: worse by no more than +5.0%"] == "skipped"
    assert (found["verdict"], found["run was not interrupted"]) == ("error", "error")


def test_a_rate_is_written_as_one() -> None:
    slow = SloFindings("throughput > 20/s", Verdict.FAILED, 18.03, 20.0, "1/s", 244, "too slow")

    assert "observed 18/s (n = 244)" in junit.render(a_summary(slo=(slow,)))


def test_an_slo_that_nobody_can_judge_says_where_to_look() -> None:
    unknown = dataclasses.replace(some_slos()[1], verdict=Verdict.INVALID, observed=None, reason="no stage is known")
    text = said(junit.render(a_summary(verdict=Verdict.INVALID, slo=(unknown,))), "p90(inference) < 100ms")

    assert "no stage is known\nhint: `harness check SCENARIO --spans`" in text


def test_a_run_that_measured_nothing_is_an_error() -> None:
    assert outcomes(junit.render(an_empty_summary())) == {"measurement is valid": "error"}


def test_an_interrupted_run_is_never_all_green() -> None:
    text = junit.render(a_summary(verdict=Verdict.PASSED, interrupted=True, slo=some_slos()[:1]))

    assert outcomes(text)["run was not interrupted"] == "error"


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.NOT_ENOUGH_DATA])
def test_a_verdict_that_no_case_tells_gets_one(verdict: Verdict) -> None:
    text = junit.render(a_summary(verdict=verdict, reasons=("the baseline says so",), slo=some_slos()[:1]))

    assert outcomes(text)["verdict"] == ("failure" if verdict is Verdict.FAILED else "error")
    assert "the baseline says so" in said(text, "verdict")


def test_what_was_accepted_is_printed() -> None:
    text = junit.render(a_summary(verdict=Verdict.PASSED, slo=some_slos()[:1], accepted=("sends left 80 ms late",)))

    assert properties(text)["accepted"] == "sends left 80 ms late"
    assert "accepted as it is: sends left 80 ms late" in output(text, "system-out")


def test_the_properties_name_the_run_and_what_made_it() -> None:
    found = properties(junit.render(a_summary()))

    assert found == {
        "scenario": "read-receipts",
        "run": "20260102T030405Z-read-receipts",
        "n": "244",
        "target": "http://127.0.0.1:8000",
        "load": "poisson 4/s, 10 s warm-up, 60 s",
        "verdict": "failed",
        "harness": __version__,
    }


def test_a_run_judged_twice_gives_the_same_bytes() -> None:
    assert junit.render(a_diagnosed_summary()) == junit.render(a_diagnosed_summary())


# --- whatever is in it -----------------------------------------------------------------------------------------


def names(text: str) -> int:
    return len(cases(text))


@pytest.mark.parametrize("found", every_judged(), ids=lambda f: type(f).__name__)
def test_every_kind_of_findings_obeys_the_schema(found: Findings) -> None:
    read(junit.render(found))


@pytest.mark.parametrize("text", ALL, ids=lambda t: ascii(t[:12]))
def test_hostile_names_change_no_count(text: str) -> None:
    assert names(junit.render(a_hostile_summary(text))) == names(junit.render(a_hostile_summary("name")))
    assert names(junit.render_ab(a_hostile_ab(text))) == names(junit.render_ab(a_hostile_ab("name")))


def test_names_come_back_as_they_were() -> None:
    expression = "p95(latency, name=\"Straße 'x' & <y> 漢字\") < 1s"
    slo = dataclasses.replace(some_slos()[0], expression=expression)

    assert expression in outcomes(junit.render(a_summary(slo=(slo,))))


def test_control_characters_are_shown_and_not_sent() -> None:
    text = junit.render(a_summary(scenario="a\x00b\x1b[31m\r\n\x85c"))

    assert next(iter(read(text))).name == "a⟨NUL⟩b⟨ESC⟩[31m⟨CR⟩⟨LF⟩⟨U+0085⟩c.run"


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_obeys_the_schema(text: str) -> None:
    read(junit.render(a_summary(scenario=text, load=text, reasons=(text,), verdict=Verdict.INVALID)))


@pytest.mark.parametrize("text", ["<testsuites name='x'/>", "<testsuites><testsuite name='x'/></testsuites>"])
def test_the_schema_refuses_what_some_readers_would(text: str) -> None:
    assert not SCHEMA.is_valid(text)
