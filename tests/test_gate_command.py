"""`harness gate`: a stored run judged anew, from the flags to the exit code. The run stays as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from harness.commands.gate import command
from harness.errors import HarnessError, RunFolderError, UsageError
from harness.run_folder import RunFolder
from harness.slo import SloError
from tests.stored_runs import CPU, a_scenario, copied, some_runs, some_samples, store

SUSPECT = {"load": {"readings": [CPU | {"value": 0.9}]}}
INVALID = {"load": {"readings": [CPU | {"value": 0.99}]}}


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


@pytest.fixture(autouse=True)
def on_no_build_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


def gate(*arguments: Any) -> tuple[int, str]:
    """The exit code and what was printed."""
    result: Result = CliRunner().invoke(command, [str(argument) for argument in arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return int(result.return_value), result.output


def refused(*arguments: Any) -> HarnessError:
    with pytest.raises(HarnessError) as refusal:
        gate(*arguments)
    return refusal.value


def summary(*arguments: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(gate(*arguments, "--json")[1])
    return content


# --- SLOs ------------------------------------------------------------------------------------------------------


def test_a_run_is_judged_by_its_own_slos(original: RunFolder) -> None:
    code, output = gate(original.path)

    assert code == 0
    assert "p90(latency) < 1s" in output


def test_an_slo_that_is_added_counts(original: RunFolder) -> None:
    code, output = gate(original.path, "--slo", "p50(latency) < 60ms")

    assert code == 1
    assert "p50(latency) < 60ms: 160 of 200 requests are beyond 60.0 ms" in output  # 60 to 99 ms, four times


def test_an_slo_that_cannot_be_decided_is_not_passed(original: RunFolder) -> None:
    found = summary(original.path, "--slo", "p99.9(latency) < 1s")

    assert gate(original.path, "--slo", "p99.9(latency) < 1s")[0] == 3
    assert found["verdict"] == "not_enough_data"
    assert "more requests" in found["reasons"][0]


def test_only_the_slos_given_are_judged_when_asked_for(original: RunFolder) -> None:
    found = summary(original.path, "--only-these", "--slo", "p95(latency) < 1s and error_rate < 5%")

    assert [slo["expression"] for slo in found["slo"]] == ["p95(latency) < 1s", "error_rate < 5%"]


def test_an_slo_that_the_run_has_already_is_judged_once(original: RunFolder) -> None:
    found = summary(original.path, "--slo", "p90( latency )  <  1s", "--slo", "p90(latency) < 1s")

    assert [slo["expression"] for slo in found["slo"]] == ["p90(latency) < 1s"]


def test_only_these_without_any_is_refused(original: RunFolder) -> None:
    assert refused(original.path, "--only-these").message == "--only-these leaves nothing to judge"


@pytest.mark.parametrize(
    "expression", ["p95(latncy) < 1s", "p95(latency) > 1s", "", "p95(latency) < 1s and", "é" * 10_000]
)
def test_an_slo_that_cannot_be_read_is_refused_with_its_place(original: RunFolder, expression: str) -> None:
    error = refused(original.path, "--slo", expression)

    assert isinstance(error, SloError)
    assert error.exit_code == 2
    assert len(error.message) < 300


def test_a_misspelt_name_has_a_caret_below_it(original: RunFolder) -> None:
    hint = refused(original.path, "--slo", "p95(latncy) < 1s").hint or ""

    assert hint.splitlines() == ["did you mean 'latency'?", "  p95(latncy) < 1s", "      ^"]


@pytest.mark.parametrize("argument", ["name=raed", "step=4"])
def test_an_slo_on_requests_that_the_run_does_not_have_is_refused(original: RunFolder, argument: str) -> None:
    assert isinstance(refused(original.path, "--slo", f"p95(latency, {argument}) < 1s"), SloError)


# --- the stored run --------------------------------------------------------------------------------------------


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_run_stays_as_it_is_and_is_judged_the_same_twice(original: RunFolder, earlier: Path) -> None:
    arguments = (original.path, "--slo", "p95(latency) < 10ms", "--baseline", earlier, "--json", "--accept-suspect")
    before = content_of(original.path)

    once, twice = gate(*arguments), gate(*arguments)

    assert once == twice
    assert content_of(original.path) == before


def test_the_newest_run_of_a_folder_is_judged(original: RunFolder, tmp_path: Path) -> None:
    copied(original, tmp_path / "20260921T100000Z-read", 1)
    copied(original, tmp_path / "20260921T110000Z-read", 2)

    assert summary(tmp_path)["run_id"] == "20260921T110000Z-read"


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    assert isinstance(refused(tmp_path), RunFolderError)
    assert isinstance(refused(tmp_path / "missing"), RunFolderError)


def test_a_run_without_a_single_request_is_not_passed(tmp_path: Path) -> None:
    folder = store(tmp_path / "empty", [])

    assert gate(folder.path)[0] == 3
    assert gate(folder.path, "--accept-suspect")[0] == 3


def test_a_run_whose_requests_all_failed_has_failed(tmp_path: Path) -> None:
    folder = store(tmp_path / "failed", some_samples(failed=200))

    assert gate(folder.path)[0] == 1


def test_an_interrupted_run_says_so(tmp_path: Path) -> None:
    assert gate(store(tmp_path / "short", some_samples(), status="interrupted").path)[0] == 4


# --- doubts ----------------------------------------------------------------------------------------------------


def test_an_invalid_measurement_is_neither_passed_nor_failed(tmp_path: Path) -> None:
    folder = store(tmp_path / "invalid", some_samples(), **INVALID)

    for slo in ("p90(latency) < 1s", "p90(latency) < 1ms"):
        for flag in ("--strict", "--only-these"):
            found = summary(folder.path, "--slo", slo, flag)
            assert (found["verdict"], found["accepted"]) == ("invalid", [])
    assert gate(folder.path)[0] == 3


def test_accepting_a_suspect_measurement_is_said_in_the_verdict(tmp_path: Path) -> None:
    folder = store(tmp_path / "invalid", some_samples(), **INVALID)

    code, output = gate(folder.path, "--accept-suspect")
    found = summary(folder.path, "--accept-suspect")

    assert (code, found["verdict"]) == (0, "passed")
    assert "cpu is 99%" in found["accepted"][0]
    assert "cpu is 99%" in output


def test_strict_takes_no_suspect_generator(tmp_path: Path) -> None:
    folder = store(tmp_path / "suspect", some_samples(), **SUSPECT)

    assert gate(folder.path)[0] == 0
    assert gate(folder.path, "--strict")[0] == 3


def test_strict_wants_an_slo(tmp_path: Path) -> None:
    folder = store(tmp_path / "no-slo", some_samples(), a_scenario(slo=()))

    assert gate(folder.path)[0] == 0
    assert gate(folder.path, "--strict")[0] == 3
    assert gate(folder.path, "--strict", "--slo", "p90(latency) < 1s")[0] == 0


# --- against earlier runs --------------------------------------------------------------------------------------


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


def test_quiet_is_a_line_for_the_run_and_one_for_its_baseline(original: RunFolder, earlier: Path) -> None:
    assert len(gate(original.path, "-q")[1].splitlines()) == 1
    assert len(gate(original.path, "-q", "--baseline", earlier)[1].splitlines()) == 2


def test_a_refusal_is_told_to_the_build_server_too(tmp_path: Path) -> None:
    junit = tmp_path / "gate.xml"

    refused(tmp_path / "missing", "--junit", junit)

    assert "does not exist" in junit.read_text()
