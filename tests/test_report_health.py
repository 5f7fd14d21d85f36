"""How reports show the generator's health, and what broke or ended a run: the same in every format."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET

import pytest
from report_builders import a_health, a_summary

from harness.findings import Health, HealthState, Reading, Summary, Verdict
from harness.gate import judge_run
from harness.model import RunWarning
from harness.report import console, health_text, html, junit, lights, markdown

LOST = RunWarning("lost_worker", "worker 2 was lost after 8 s", "see its machine", invalidates=True)
ABORTED = RunWarning("aborted", "stopped after 12 s: 60 of 100 requests failed", "look at the service")
DOUBT = RunWarning("resent", "3 requests were sent twice", "look at the proxy")


def texts(summary: Summary) -> dict[str, str]:
    """The summary in each format that people read, without markup."""
    page = html.render(summary, None).partition("</nav>")[2]  # the style, and links that name the sections
    page = re.sub(r"<[^>]+>", "", re.sub(r"(</t[hd]>)", r"\1 ", page))
    return {
        "console": console.render(summary, width=120, colour=False),
        "html": re.sub(r"\s+", " ", page),
        "markdown": markdown.render(summary),
    }


def with_readings(*readings: Reading, **changes: object) -> Summary:
    return a_summary(health=a_health(readings=readings, **changes))


def lateness(value: float | None, **fields: str) -> Reading:
    return Reading("lateness_p99", value, "s", 0.005, 0.05, "how late", "use --processes 2", **fields)


def judged(*warnings: RunWarning) -> Summary:
    """A run with these warnings and no SLO, as the gate judges it."""
    judged = judge_run([], a_health(), warnings, 240)
    return a_summary(warnings=warnings, slo=(), verdict=judged.verdict, reasons=judged.reasons)


def test_every_report_says_how_late_the_generator_was_and_what_it_used() -> None:
    for name, text in texts(a_summary()).items():
        assert "lateness p99 2.10 ms, worst 34.2 ms; CPU 31% of a core" in text, name


def test_in_a_closed_loop_lateness_does_not_apply_and_is_no_doubt() -> None:
    summary = with_readings(lateness(None, absent="does not apply: a closed loop has no schedule"))

    for name, text in texts(summary).items():
        assert "lateness does not apply: a closed loop has no schedule" in text, name
        assert "healthy" in text
    assert health_text.generator_line(a_health(readings=(lateness(None),))) == "lateness not known"
    assert health_text.generator_line(Health(HealthState.SUSPECT, (), ())) == ""


@pytest.mark.parametrize(
    ("stamped", "sentence"),
    [
        (None, ""),
        (1.0, ""),
        (0.0, "The kernel stamped the end of no answer: all were stamped when the generator read them."),
        (0.9, "The kernel stamped the end of 90% of the answers, the generator that of the others when it read them."),
    ],
)
def test_answers_that_the_kernel_did_not_stamp_are_mentioned(stamped: float | None, sentence: str) -> None:
    summary = with_readings(Reading("kernel_stamped", stamped, "ratio", None, None, ""))

    assert health_text.stamps_line(summary.health) == sentence
    for name, text in texts(summary).items():
        assert sentence in text, name


def test_the_worker_of_a_reading_is_named_where_there_are_several() -> None:
    several = texts(with_readings(lateness(0.03, worker="machine-b")))

    assert all("lateness p99 30.0 ms (worker machine-b)" in text for text in several.values())
    assert "Of each reading the worst of all load processes" in several["html"]
    assert "the worst of all load processes" not in texts(a_summary())["html"]


def test_reasons_of_a_doubtful_generator_are_in_every_report() -> None:
    reason = "cpu is 85%, beyond 80% (share of one core): use a larger machine"
    summary = a_summary(health=a_health(state=HealthState.SUSPECT, reasons=(reason,)))

    for name, text in texts(summary).items():
        assert reason in text, name
        assert "suspect" in text, name


def test_the_page_advises_on_readings_beyond_a_limit_and_on_no_other() -> None:
    assert "how late. use --processes 2" in texts(with_readings(lateness(0.03)))["html"]
    assert "--processes" not in texts(with_readings(lateness(0.001)))["html"]


def test_service_time_stands_beside_latency() -> None:
    shown = texts(a_summary())

    for name in ("console", "markdown"):
        assert "from the scheduled instant" in shown[name]
        assert "from the real start" in shown[name]
        assert re.search(r"p50\W+170\.2 \(.*169\.3 \(", shown[name]), name
    assert re.search(r"p50 170\.2.*? 169\.3", shown["html"])


def test_a_lost_worker_is_the_first_thing_said_everywhere() -> None:
    summary = judged(DOUBT, LOST)

    assert summary.verdict is Verdict.INVALID
    shown = texts(summary)
    assert "INVALID MEASUREMENT (NO SLO TO JUDGE)" not in shown["console"]
    for name, text in shown.items():
        first = text.index(LOST.message)
        assert first < text.index("Latency"), name
        assert text.index("sent twice") > text.rindex(LOST.message), name  # and first among the warnings
    assert shown["console"].count("invalid worker 2 was lost") == 1
    assert "**invalidates the run:** worker 2 was lost" in shown["markdown"]
    (generator, *_) = lights.lights(summary)
    assert (generator.state, generator.phrase) == (lights.LightState.BAD, "not to be trusted, for the reasons above")


def outcomes(summary: Summary) -> dict[str, str]:
    suite = ET.fromstring(junit.render(summary))  # noqa: S314 - our own text
    found = {}
    for case in suite.iter("testcase"):
        failed = [child for child in case if child.tag in ("failure", "error")]
        passed = "ok" if case.find("skipped") is None else "skipped"
        found[case.get("name", "")] = f"{failed[0].tag}: {failed[0].get('message')}" if failed else passed
    return found


def test_a_lost_worker_is_an_error_in_junit_and_an_aborted_run_a_failure() -> None:
    assert outcomes(judged(DOUBT, LOST)) == {"measurement is valid": f"error: {LOST.message}"}
    assert outcomes(judged(ABORTED)) == {
        "measurement is valid": "ok",
        "run was not aborted": f"failure: {ABORTED.message}",
    }
    assert outcomes(judged(ABORTED, LOST)) == {"measurement is valid": f"error: {LOST.message}"}
    assert outcomes(judged(DOUBT)) == {"measurement is valid": "ok", "SLOs are met": "skipped"}


def test_an_aborted_run_says_failed_and_why() -> None:
    summary = judged(DOUBT, ABORTED)

    shown = texts(summary)
    assert "FAILED" in shown["console"]
    assert "❌" in shown["markdown"]
    for name, text in shown.items():
        assert text.index(ABORTED.message.split(":")[0]) < text.index("Latency"), name
    assert "**failed the run:** stopped after 12 s" in shown["markdown"]
    assert "Failed the run: stopped after 12 s" in shown["html"]


def test_a_doubtful_clock_dims_its_own_light_only() -> None:
    stepped = dataclasses.replace(LOST, code="clock_step", message="the clock was set back")

    shining = {light.name: light.state for light in lights.lights(a_summary(warnings=(stepped,)))}

    assert (shining["Load generator"], shining["Clocks"]) == (lights.LightState.GOOD, lights.LightState.BAD)
