"""`harness gate --baseline`: a stored run against the ones before, from the flags to the files."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.errors import UsageError
from harness.run_folder import RunFolder
from tests.gate_calls import INVALID, SUSPECT, gate, refused, summary
from tests.stored_runs import copied, some_runs, some_samples, store


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """200 requests of 50 to 99 ms: p50 74 ms, p95 97 ms; its own SLO is p90(latency) < 1s."""
    return store(tmp_path_factory.mktemp("original") / "original", some_samples())


@pytest.fixture(scope="module")
def earlier(original: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten runs that came before."""
    parent = tmp_path_factory.mktemp("earlier")
    some_runs(original, parent, 10)
    return parent


def test_a_run_like_the_earlier_ones_is_passed(original: RunFolder, earlier: Path) -> None:
    code, output = gate(original.path, "--baseline", earlier)

    assert code == 0
    assert "Against earlier runs: passed" in output
    assert "10 comparable runs" in output


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Every request takes 30 ms longer: p50 104 ms, p95 127 ms, and its own SLO is met."""
    samples = some_samples(longer_ms=30.0)
    return store(tmp_path_factory.mktemp("slow") / "slow", samples, started_ns=1)


def test_a_run_that_is_slower_than_the_earlier_ones_has_failed(slow: RunFolder, earlier: Path) -> None:
    code, output = gate(slow.path, "--baseline", earlier)
    found = summary(slow.path, "--baseline", earlier)

    assert code == 1
    assert found["verdict"] == "failed"
    assert found["reasons"][0].startswith("against earlier runs: p50 +40.")  # 104 / 74 = 1.405
    assert found["baseline"]["verdict"] == "failed"
    assert "worse" in output
    assert gate(slow.path)[0] == 0


def test_what_is_allowed_can_be_said(slow: RunFolder, earlier: Path) -> None:
    assert gate(slow.path, "--baseline", earlier, "--allowed", "45%")[0] == 0


@pytest.mark.parametrize("allowed", ["5", "-5%", "much", "500%"])
def test_a_share_that_cannot_be_read_is_refused(original: RunFolder, allowed: str) -> None:
    error = refused(original.path, "--allowed", allowed)

    assert isinstance(error, UsageError)
    assert error.message.startswith("--allowed: ")


def test_a_slow_down_is_allowed_against_a_baseline_only(original: RunFolder) -> None:
    assert refused(original.path, "--allowed", "5%").message == "--allowed says nothing without a baseline"


def test_too_few_earlier_runs_are_not_enough(original: RunFolder, earlier: Path) -> None:
    found = summary(original.path, "--baseline", earlier / "run-001", "--baseline", earlier / "run-002")

    assert found["verdict"] == "not_enough_data"
    assert found["reasons"] == [
        "against earlier runs: needs 8 comparable baseline runs, has 2: needs 6 more runs",
    ]


def test_runs_can_be_named_one_by_one(original: RunFolder, earlier: Path) -> None:
    named = [part for path in sorted(earlier.iterdir()) for part in ("--baseline", path)]

    assert gate(original.path, *named)[0] == 0


def test_the_judged_run_is_no_baseline_of_itself(original: RunFolder, tmp_path: Path) -> None:
    runs = some_runs(original, tmp_path, 9)

    found = summary(runs[-1].path, "--baseline", tmp_path)["baseline"]

    assert len(found["runs"]) == 8
    assert found["left_out"] == {}


def test_runs_of_other_scenarios_in_the_folder_are_not_spoken_of(original: RunFolder, tmp_path: Path) -> None:
    some_runs(original, tmp_path, 8)
    other = copied(original, tmp_path / "other", 30, scenario="write")

    assert summary(original.path, "--baseline", tmp_path)["baseline"]["left_out"] == {}
    named = summary(original.path, "--baseline", other.path)["baseline"]["left_out"]
    assert named == {"other": "it is of another scenario (write)"}


def test_a_run_that_cannot_be_read_is_named(original: RunFolder, tmp_path: Path) -> None:
    some_runs(original, tmp_path, 8)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")

    assert "broken" in summary(original.path, "--baseline", tmp_path)["baseline"]["left_out"]


def test_an_empty_folder_is_not_enough_data_and_a_missing_one_a_mistake(original: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert gate(original.path, "--baseline", tmp_path)[0] == 3
    assert "does not exist" in refused(original.path, "--baseline", tmp_path / "missing").message
    assert "is not a folder" in refused(original.path, "--baseline", tmp_path / "file").message


def test_an_slo_that_failed_is_not_healed_by_a_baseline(original: RunFolder, earlier: Path, tmp_path: Path) -> None:
    slo = ("--slo", "p50(latency) < 60ms")

    assert gate(original.path, *slo, "--baseline", earlier)[0] == 1
    assert gate(original.path, *slo, "--baseline", tmp_path)[0] == 1


def test_an_invalid_run_is_not_failed_by_a_baseline(earlier: Path, tmp_path: Path) -> None:
    folder = store(tmp_path / "invalid", some_samples(longer_ms=30.0), started_ns=1, **INVALID)

    found = summary(folder.path, "--baseline", earlier)

    assert (found["verdict"], found["baseline"]["verdict"]) == ("invalid", "invalid")
    assert summary(folder.path, "--baseline", earlier, "--accept-suspect")["verdict"] == "failed"


def test_a_run_with_an_slo_that_cannot_be_judged_is_held_against_the_earlier_ones(
    original: RunFolder, slow: RunFolder, earlier: Path
) -> None:
    slo = ("--slo", "peak(rss) < 2GiB")
    alike, worse = (summary(run.path, *slo, "--baseline", earlier) for run in (original, slow))

    assert (alike["verdict"], alike["baseline"]["verdict"]) == ("invalid", "passed")
    assert (worse["verdict"], worse["baseline"]["verdict"]) == ("failed", "failed")


def test_a_suspect_run_is_not_failed_by_a_baseline_where_that_is_not_good_enough(earlier: Path, tmp_path: Path) -> None:
    folder = store(tmp_path / "suspect", some_samples(longer_ms=30.0), started_ns=1, **SUSPECT)

    found = summary(folder.path, "--baseline", earlier, "--strict")

    assert (found["verdict"], found["baseline"]["verdict"]) == ("invalid", "invalid")


def test_a_baseline_alone_can_be_judged(slow: RunFolder, earlier: Path) -> None:
    found = summary(slow.path, "--only-these", "--baseline", earlier)

    assert (found["slo"], found["verdict"]) == ([], "failed")


# --- where the verdict goes ------------------------------------------------------------------------------------


def test_the_verdict_goes_to_junit_and_markdown(slow: RunFolder, earlier: Path, tmp_path: Path) -> None:
    junit, page = tmp_path / "gate.xml", tmp_path / "gate.md"

    gate(slow.path, "--baseline", earlier, "--junit", junit, "--markdown", page)

    cases = ElementTree.parse(junit).iter("testcase")  # noqa: S314
    failed = [str(case.get("name")) for case in cases if case.find("failure") is not None]
    assert any("p50" in name for name in failed)
    assert "p50" in page.read_text()


def test_quiet_is_a_line_with_the_run_and_its_baseline(original: RunFolder, earlier: Path) -> None:
    assert gate(original.path, "-q")[1] == "read: passed\n"
    assert gate(original.path, "-q", "--baseline", earlier)[1] == "read: passed: against earlier runs: passed\n"


def test_a_refusal_is_told_to_the_build_server_too(tmp_path: Path) -> None:
    junit = tmp_path / "gate.xml"

    refused(tmp_path / "missing", "--junit", junit)

    assert "does not exist" in junit.read_text()
