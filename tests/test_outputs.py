"""The flags for JSON, JUnit, Markdown, annotations and quiet, and the exit code that goes with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from ci_builders import a_baseline, a_calibration, a_passed_ab, an_ab
from click.testing import CliRunner, Result
from junitparser import JUnitXml
from report_builders import a_summary, some_slos

from harness.commands.outputs import exit_code_of, output_options, outputs_of, publish, reporting
from harness.comparison import BaselineFindings
from harness.errors import HarnessError, NothingMeasured, UsageError
from harness.findings import Verdict
from harness.report.cases import Findings
from harness.report.schema import schema_file


@pytest.fixture(autouse=True)
def _not_in_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")


def text(*, width: int, colour: bool) -> str:
    return f"text for {width} columns, colour {colour}"


def run(found: Findings | HarnessError, *flags: str, baseline: BaselineFindings | None = None, **more: Any) -> Result:
    """A command with these flags that finds this."""

    @click.command()
    @output_options
    @click.pass_context
    def command(context: click.Context, **options: Any) -> None:
        outputs = outputs_of(options)
        assert options == {}
        with reporting(outputs, "read-receipts.yaml"):
            if isinstance(found, HarnessError):
                raise found
        context.exit(publish(found, outputs, text, baseline=baseline, notes=["report.html  runs/x"], **more))

    return CliRunner().invoke(command, flags)


def test_without_flags_the_text_is_printed_and_nothing_else_is_said() -> None:
    done = run(a_passed_ab())

    assert done.stdout == "text for 100 columns, colour False\nreport.html  runs/x\n"
    assert (done.stderr, done.exit_code) == ("", 0)


def test_json_prints_only_json() -> None:
    done = run(an_ab(), "--json")

    jsonschema.validate(json.loads(done.stdout), json.loads(schema_file("ab").read_text()))
    assert (done.stderr, done.exit_code) == ("", 1)


def test_json_of_a_run_holds_what_earlier_runs_say() -> None:
    made = json.loads(run(a_summary(), "--json", baseline=a_baseline()).stdout)

    jsonschema.validate(made, json.loads(schema_file("summary").read_text()))
    jsonschema.validate(made["baseline"], json.loads(schema_file("baseline").read_text()))
    assert "baseline" not in json.loads(run(a_summary(), "--json").stdout)


def test_quiet_prints_the_verdict_on_one_line() -> None:
    assert run(a_passed_ab(), "--quiet").stdout.startswith("read-receipts: passed: p50: at most +3.5% worse")
    assert run(an_ab(), "-q").stdout.startswith("read-receipts: failed: p95 is 12 % worse")


def test_quiet_is_one_line_also_with_earlier_runs() -> None:
    passed, failed = a_summary(verdict=Verdict.PASSED, reasons=(), slo=some_slos()[:1]), a_baseline()
    fine = a_baseline(verdict=Verdict.PASSED, reasons=(), metrics=())
    merged = a_summary(reasons=("against earlier runs: p95 is above what 9 runs predict",))

    assert run(passed, "-q", baseline=fine).stdout == "read-receipts: passed: against earlier runs: passed\n"
    assert run(merged, "-q", baseline=failed).stdout == f"read-receipts: failed: {merged.reasons[0]}\n"


def test_files_are_written_beside_the_text_also_into_new_folders(tmp_path: Path) -> None:
    junit, markdown = tmp_path / "new" / "junit.xml", tmp_path / "comment.md"
    done = run(an_ab(), "--junit", str(junit), "--markdown", str(markdown))

    assert "text for 100 columns" in done.stdout
    assert len([case for suite in JUnitXml.fromfile(str(junit)) for case in suite]) == 3
    assert markdown.read_text().startswith("### ❌ <code>read-receipts</code>: failed")


@pytest.mark.parametrize(("flag", "first"), [("--markdown", "### ❌"), ("--junit", "<?xml")])
def test_a_dash_is_stdout_and_has_it_alone(flag: str, first: str) -> None:
    done = run(an_ab(), flag, "-")

    assert done.stdout.startswith(first)
    assert "text for 100 columns" not in done.stdout


@pytest.mark.parametrize(
    "flags", [("--json", "--markdown", "-"), ("--junit", "-", "--markdown", "-"), ("--json", "--junit", "-")]
)
def test_two_outputs_on_stdout_are_refused(flags: tuple[str, ...]) -> None:
    refused = run(an_ab(), *flags).exception

    assert isinstance(refused, UsageError)
    assert "both want stdout" in refused.message


def test_a_folder_and_one_file_for_two_are_refused_before_the_measurement(tmp_path: Path) -> None:
    for flags in (("--junit", str(tmp_path)), ("--junit", "x", "--markdown", "x")):
        assert isinstance(run(an_ab(), *flags).exception, UsageError)


def test_a_place_where_no_file_can_be_is_refused_before_the_measurement(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    refused = run(an_ab(), "--junit", str(tmp_path / "file" / "new" / "junit.xml")).exception

    assert isinstance(refused, UsageError)
    assert refused.message.endswith("/file' is no folder")
    assert "file name too long" in run(an_ab(), "--junit", "x" * 300).stderr


@pytest.mark.parametrize(("found", "code"), [(a_passed_ab(), 2), (an_ab(), 1)])
def test_a_file_that_cannot_be_written_is_said_and_is_no_pass(found: Findings, code: int) -> None:
    done = run(found, "--junit", "/dev/full")

    assert "error: /dev/full cannot be written: no space left on device" in done.stderr
    assert "text for 100 columns" in done.stdout
    assert done.exit_code == code


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (a_passed_ab(), 0),
        (a_passed_ab(interrupted=True), 4),
        (an_ab(), 1),
        (an_ab(verdict=Verdict.INVALID), 3),
        (a_summary(verdict=Verdict.NOT_ENOUGH_DATA), 3),
        (a_calibration(), 0),
        (a_baseline(), 1),
    ],
)
def test_the_exit_code_is_that_of_the_verdict(found: Findings, code: int) -> None:
    assert exit_code_of(found) == code


def test_a_command_that_knows_better_sets_the_exit_code() -> None:
    assert run(a_passed_ab(interrupted=True), code=3).exit_code == 3


# --- inside a job ----------------------------------------------------------------------------------------------


def test_annotations_go_to_stderr_where_github_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "::error" not in run(an_ab()).stderr
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    done = run(an_ab(), "--json")
    assert done.stderr.startswith("::error title=read-receipts%3A p95")
    assert "::error" not in done.stdout
    assert "::error" not in run(an_ab(), "--annotations", "off").stderr


def test_annotations_can_be_asked_for_anywhere() -> None:
    assert "::notice" in run(a_passed_ab(), "--annotations", "on").stderr


def test_the_job_summary_is_appended_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    summary = tmp_path / "summary"
    summary.write_text("what another step wrote\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    run(an_ab())
    run(a_summary(verdict=Verdict.PASSED, slo=some_slos()[:1]))

    assert summary.read_text().startswith("what another step wrote\n### ❌")
    assert summary.read_text().count("\n### ") == 2
    run(an_ab(), "--annotations", "off")
    assert summary.read_text().count("\n### ") == 2


def test_a_job_summary_that_cannot_be_written_costs_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "summary", Path("/dev/full")):
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
        done = run(a_passed_ab())

        assert done.stderr.startswith("warning: the job summary cannot be written: ")
        assert done.exit_code == 0


def test_an_error_before_the_first_request_replaces_the_files_of_an_earlier_run(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    run(a_passed_ab(), "--junit", str(junit))
    done = run(NothingMeasured("nothing answers", "start it"), "--junit", str(junit), "--annotations", "on")

    document = JUnitXml.fromfile(str(junit))
    document.update_statistics()
    assert (document.tests, document.errors) == (1, 1)
    assert "::error title=read-receipts.yaml%3A not measured::nothing answers" in done.stderr
    assert isinstance(done.exception, NothingMeasured)
