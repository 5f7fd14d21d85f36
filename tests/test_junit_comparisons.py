"""JUnit XML of comparisons, earlier runs and refusals."""

from __future__ import annotations

import dataclasses

from ci_builders import a_baseline, a_calibration, a_metric, a_passed_ab, an_ab
from junit_reading import outcomes, output, properties, read, said
from report_builders import STARTED_NS, a_summary

from harness.commands.outputs import exit_code_of
from harness.comparison import Change
from harness.errors import ExitCode, NothingMeasured
from harness.findings import Estimate, Verdict
from harness.report import job_summary, junit


def test_each_metric_that_decides_is_a_case() -> None:
    assert outcomes(junit.render_ab(an_ab())) == {
        "measurement is valid": "passed",
        "p50: worse by no more than +5.0%": "passed",
        "p95: worse by no more than +5.0%": "failure",
    }


def test_a_slow_down_names_the_stage_and_how_large_it_is_at_most() -> None:
    text = said(junit.render_ab(an_ab()), "p95: worse by no more than +5.0%")

    assert "A 200 ms, B 224 ms: +12.0% (+9.0% … +15.0%, n = 5)" in text
    assert "p95: at most +14.5% worse (such pairs find +7.0% and more)" in text
    assert "blamed stage: inference, model text-recognition" in text
    assert text.count("Inference takes 21.5 ms longer") == 1


def test_a_slow_down_that_no_stage_explains_says_so() -> None:
    text = said(junit.render_ab(an_ab(blame=None, sentences=())), "p95: worse by no more than +5.0%")

    assert text.endswith("\nblamed stage: not known")


def test_rates_and_shares_are_written_as_such() -> None:
    shares = a_metric("error_rate", Change.WORSE, unit="ratio", a=0.0, b=0.031, ratio=Estimate(None, None, None, 5))
    rates = a_metric("throughput", Change.WITHIN, unit="1/s", a=58.3, b=58.1)
    text = junit.render_ab(an_ab(metrics=(shares, rates)))

    assert "A 0%, B 3.1%: not known" in said(text, "error_rate: no more than before")
    assert "throughput: worse by no more than +5.0%" in outcomes(text)
    assert "| throughput | 58.3/s | 58.1/s |" in job_summary.render(an_ab(metrics=(rates,)))


def test_a_pass_says_how_much_slower_it_may_be_at_most() -> None:
    text = junit.render_ab(a_passed_ab())

    assert set(outcomes(text).values()) == {"passed"}
    assert "p95: at most +3.5% worse" in output(text, "system-out")


def test_what_is_not_decided_is_an_error_where_that_is_not_good_enough() -> None:
    undecided = an_ab(
        strict=True, verdict=Verdict.NOT_ENOUGH_DATA, blame=None, metrics=(a_metric("p95", Change.NOT_FOUND),)
    )

    assert outcomes(junit.render_ab(undecided))["p95: worse by no more than +5.0%"] == "error"


def test_nothing_of_invalid_pairs_is_passed_or_failed() -> None:
    found = outcomes(junit.render_ab(an_ab(verdict=Verdict.INVALID, reasons=("B died",))))

    assert found.pop("measurement is valid") == "error"
    assert set(found.values()) == {"skipped"}


def test_a_pair_that_does_not_count_is_said_with_its_reason() -> None:
    usual = an_ab()
    broken = dataclasses.replace(usual.pairs[0], counted=False, reason="B answered nothing")
    text = junit.render_ab(dataclasses.replace(usual, pairs=(broken, *usual.pairs[1:])))

    assert "pair 1 does not count: B answered nothing" in output(text, "system-err")
    assert properties(text)["pairs"] == "4 of 5 count"
    assert properties(text)["n"] == "4800"


def test_an_interrupted_calibration_is_not_all_green() -> None:
    cut_off = a_calibration(interrupted=True)

    assert outcomes(junit.render(cut_off)) == {"measurement is valid": "passed", "run was not interrupted": "error"}
    assert job_summary.render(cut_off).startswith("### ❔ <code>read-receipts</code>: calibrated (interrupted")
    assert exit_code_of(cut_off) == ExitCode.INTERRUPTED


def test_earlier_runs_are_a_suite_of_their_own_beside_the_slos() -> None:
    text = junit.render(a_summary(), a_baseline())

    assert [suite.name for suite in read(text)] == ["read-receipts.run", "read-receipts.baseline"]
    assert outcomes(text)["p95: as earlier runs predict"] == "failure"
    assert outcomes(junit.render_baseline(a_baseline()))["p50: as earlier runs predict"] == "passed"


def test_an_error_before_the_first_request_is_an_error_of_the_suite() -> None:
    text = junit.render_refusal(
        NothingMeasured("nothing answers", "start the service"), "read-receipts.yaml", STARTED_NS
    )

    assert outcomes(text) == {"measurement could be made": "error"}
    assert "nothing answers\nhint: start the service" in said(text, "measurement could be made")
