"""`harness gate`: a stored run judged anew, from the flags to the exit code. The run stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import RunFolderError
from harness.run_folder import RunFolder
from harness.slo import SloError
from tests.gate_calls import INVALID, SUSPECT, gate, refused, summary
from tests.stored_runs import a_scenario, copied, some_runs, some_samples, store


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


@pytest.mark.parametrize("argument", ["name=rea", "step=4"])
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
