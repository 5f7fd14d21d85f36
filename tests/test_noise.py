"""A/A pairs: how much runs vary, what a comparison finds on this machine, and whether it is known again."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from pair_builders import JITTER, bench, broken, pairs, scenario

from harness.analysis.comparing.paired import Rule
from harness.commands.outputs import exit_code_of
from harness.comparison import CalibrationFindings
from harness.errors import ExitCode
from harness.findings import Verdict
from harness.model import Step
from harness.noise import CALIBRATION_FILE, findings, latest
from harness.report import calibration_text
from harness.report.json_findings import parse_findings, render_findings


def calibrated(tmp_path: Path, count: int = 9) -> CalibrationFindings:
    return findings(bench(tmp_path), pairs(count), Rule(), 0, interrupted=False)


def stored(tmp_path: Path, found: CalibrationFindings, name: str = "20261122T000000Z-identify-calibration") -> Path:
    (tmp_path / name).mkdir()
    (tmp_path / name / CALIBRATION_FILE).write_text(render_findings(found))
    return tmp_path / name / CALIBRATION_FILE


def test_the_noise_of_a_metric_is_the_deviation_of_its_log_ratios(tmp_path: Path) -> None:
    logs = [math.log(jitter) for jitter in JITTER]
    mean = sum(logs) / 9
    by_hand = math.sqrt(sum((each - mean) ** 2 for each in logs) / 8)

    noise = {each.metric: each for each in calibrated(tmp_path).noise}

    assert noise["p50"].deviation.value == pytest.approx(by_hand)
    assert noise["p50"].deviation.n == 9
    assert noise["p50"].deviation.low < by_hand < noise["p50"].deviation.high  # type: ignore[operator]


def test_more_pairs_find_smaller_changes(tmp_path: Path) -> None:
    p95 = next(each for each in calibrated(tmp_path).noise if each.metric == "p95")
    sizes = [ratio for _, ratio in p95.detectable]

    assert [pairs for pairs, _ in p95.detectable] == [5, 7, 9]
    assert sizes == sorted(sizes, reverse=True)
    assert all(size > 1.05 for size in sizes)


def test_what_it_says_is_about_this_machine_and_its_false_alarms(tmp_path: Path) -> None:
    found = calibrated(tmp_path)

    assert found.verdict is Verdict.PASSED
    assert found.sentences[0].startswith("p50 varies by 1.2% between two runs of the same thing")
    assert "in 0.0% of the replays" in found.sentences[-1]


def test_four_pairs_are_no_calibration(tmp_path: Path) -> None:
    found = calibrated(tmp_path, 4)

    assert found.verdict is Verdict.NOT_ENOUGH_DATA
    assert "5 are the least" in found.reasons[0]


def test_no_pair_at_all_is_said_and_nothing_is_divided_by_zero(tmp_path: Path) -> None:
    found = calibrated(tmp_path, 0)

    assert found.verdict is Verdict.NOT_ENOUGH_DATA
    assert "NOT ENOUGH DATA" in calibration_text.render(found)


def test_invalid_runs_make_no_calibration(tmp_path: Path) -> None:
    found = findings(bench(tmp_path), [*pairs(6), broken(7), broken(8), broken(9)], Rule(), 0, interrupted=False)

    assert found.verdict is Verdict.INVALID


def test_a_calibration_comes_back_as_it_was_written(tmp_path: Path) -> None:
    found = calibrated(tmp_path)

    assert parse_findings(CalibrationFindings, render_findings(found)) == found


def test_the_newest_calibration_of_this_scenario_on_this_machine_is_known_again(tmp_path: Path) -> None:
    old, new = calibrated(tmp_path, 7), calibrated(tmp_path, 9)
    stored(tmp_path, new, "20261122T000000Z-identify-calibration")
    stored(tmp_path, old, "20261121T000000Z-identify-calibration")

    assert latest(tmp_path, scenario()) == new


def test_a_calibration_of_another_load_machine_or_scenario_says_nothing_here(tmp_path: Path) -> None:
    found = calibrated(tmp_path)
    other_cpu = tuple((name, "other" if name == "cpu" else text) for name, text in found.environment)
    stored(tmp_path, replace(found, environment=other_cpu))
    faster = replace(scenario(), load=replace(scenario().load, steps=(Step(20.0, 20.0),)))

    assert latest(tmp_path, scenario()) is None
    stored(tmp_path, found, "20261123T000000Z-identify-calibration")
    assert latest(tmp_path, scenario()) == found
    assert latest(tmp_path, faster) is None
    assert latest(tmp_path, replace(scenario(), name="other")) is None


def test_a_damaged_calibration_is_passed_over(tmp_path: Path) -> None:
    stored(tmp_path, calibrated(tmp_path)).write_text("{")

    assert latest(tmp_path, scenario()) is None


def test_the_text_has_a_line_for_each_metric_and_a_column_for_each_number_of_pairs(tmp_path: Path) -> None:
    text = calibration_text.render(calibrated(tmp_path))

    assert text.startswith("CALIBRATED")
    assert "finds: 5 pairs" in text
    assert [line.split()[0] for line in text.splitlines() if line.startswith(("p50", "p95", "p99"))] == [
        "p50", "p95", "p99",
    ]  # fmt: skip
    assert "\x1b" not in text


def test_a_calibration_of_another_version_is_passed_over(tmp_path: Path) -> None:
    stored(tmp_path, replace(calibrated(tmp_path), schema_version=2))

    assert latest(tmp_path, scenario()) is None


def test_a_calibration_that_was_interrupted_says_so_to_the_shell(tmp_path: Path) -> None:
    found = findings(bench(tmp_path), pairs(6), Rule(), 0, interrupted=True)

    assert found.interrupted
    assert exit_code_of(found) == ExitCode.INTERRUPTED
