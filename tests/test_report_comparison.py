"""`harness report` on the folder of a comparison or a calibration."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pair_builders import bench, pairs

from harness.ab import Ask
from harness.ab import findings as compared
from harness.analysis.comparing.paired import Rule
from harness.commands.report import command
from harness.errors import RunFolderError, UsageError
from harness.noise import findings as calibrated
from harness.report.json_findings import render_findings


def report(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [os.fspath(each) for each in arguments], catch_exceptions=True)


@pytest.fixture
def comparison(tmp_path: Path) -> Path:
    found = compared(bench(tmp_path), Ask(Rule()), pairs(5, slow_down=1.3), 0, interrupted=False)
    (tmp_path / "ab.json").write_text(render_findings(found))
    return tmp_path


def test_a_comparison_is_shown_as_it_was(comparison: Path) -> None:
    assert report(comparison).output.startswith("FAILED: B is slower than A")


def test_a_comparison_is_rendered_in_another_format(comparison: Path) -> None:
    written = report(comparison, "--format", "junit", "-o", comparison / "j.xml")

    assert written.exit_code == 0, written.output
    assert "<failure" in (comparison / "j.xml").read_text()
    assert report(comparison, "--format", "json", "-o", "-").output == (comparison / "ab.json").read_text()


def test_a_calibration_is_shown_as_it_was(tmp_path: Path) -> None:
    found = calibrated(bench(tmp_path), pairs(9), Rule(), 0, interrupted=False)
    (tmp_path / "calibration.json").write_text(render_findings(found))

    assert report(tmp_path).output.startswith("CALIBRATED")


def test_a_comparison_has_no_page(comparison: Path) -> None:
    refused = report(comparison, "--format", "html", "-o", comparison)

    assert isinstance(refused.exception, UsageError)
    assert "give one of md, junit, json" in str(refused.exception.hint)


def test_a_damaged_comparison_is_refused(comparison: Path) -> None:
    (comparison / "ab.json").write_text("{")

    assert isinstance(report(comparison).exception, RunFolderError)


def test_a_comparison_of_another_version_is_refused_by_name(comparison: Path) -> None:
    stored = comparison / "ab.json"
    stored.write_text(stored.read_text().replace('"schema_version": 1', '"schema_version": 9'))
    refused = report(comparison).exception

    assert isinstance(refused, RunFolderError)
    assert "has schema version 9" in refused.message
