"""The pytest plugin: which runs are shared, and how a call is read. No load is sent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.model import RunWarning
from harness.pytest_plugin import runs
from harness.pytest_plugin.measured import Measured
from harness.run import Outcome
from harness.run_folder import RunFolder
from tests.measured_runs import measured

Failed = pytest.fail.Exception

SCENARIO = """
scenario: page
target: http://127.0.0.1:9
requests: [{name: page, http: GET /page.txt}]
load: {rate: 100/s, warmup: 0s, duration: 1s, drain: 1s}
spans: {source: none}
"""


@pytest.fixture(scope="module")
def sixty(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return measured(tmp_path_factory.mktemp("sixty"), 60)


class Stub:
    """Instead of a load run: counts, and hands out a stored one."""

    def __init__(self, run: Measured) -> None:
        self.run = run
        self.asked: list[Any] = []

    def __call__(self, wanted: Any) -> Outcome:
        self.asked.append(wanted)
        return Outcome(RunFolder(self.run.folder), self.run.summary, pd.DataFrame())


@pytest.fixture
def stub(sixty: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stub:
    (tmp_path / "page.yaml").write_text(SCENARIO)
    made = Stub(sixty)
    monkeypatch.setattr(runs, "_executed", made)
    return made


def test_equal_calls_are_measured_once_and_others_anew(
    stub: Stub, tmp_path: Path, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, page = runs.HarnessRun(pytestconfig, tmp_path, parallel=False), tmp_path / "page.yaml"

    assert run(page, rate=20) is run(page, rate="20/s")
    run(page, rate=21)
    run(page, rate=20, service="serve {port}")
    run(page, rate=20, fresh=True)
    assert [wanted.scenario.load.steps[0].level for wanted in stub.asked] == [20, 21, 20, 20]


def test_another_process_of_the_session_takes_what_was_measured(
    stub: Stub, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    page, one_process = tmp_path / "page.yaml", runs.HarnessRun(pytestconfig, tmp_path, parallel=True)
    with pytest.warns(runs.ParallelLoadWarning, match="measure those, too"):
        first = one_process(page)
    other_process = runs.HarnessRun(pytestconfig, tmp_path, parallel=False)

    assert other_process(page).folder == first.folder
    assert other_process(page).p95() < 0.2
    assert len(stub.asked) == 1


def test_an_invalid_measurement_fails_the_call_unless_it_is_accepted(
    stub: Stub, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    lost = RunWarning("lost", "a load process died", "", invalidates=True)
    stub.run = Measured(stub.run.folder, replace(stub.run.summary, warnings=(lost,)), lambda: None)
    run, page = runs.HarnessRun(pytestconfig, tmp_path, parallel=False), tmp_path / "page.yaml"

    with pytest.raises(
        Failed, match=r"says nothing about the service:\na load process died\nhint: accept_suspect=True"
    ):
        run(page)
    assert run(page, accept_suspect=True).p95() < 0.2
    assert [wanted.accept_suspect for wanted in stub.asked] == [False, True]


def test_a_call_is_read_like_the_flags_of_the_command(stub: Stub, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    run, page = runs.HarnessRun(pytestconfig, tmp_path, parallel=False), tmp_path / "page.yaml"
    run(page, target="http://127.0.0.1:81", users=3, duration=30, warmup="2s", seed=9, slo="p95(latency) < 1s")

    (wanted,), load = stub.asked, stub.asked[0].scenario.load
    assert (load.steps[0].level, load.steps[0].duration_s, load.warmup_s, load.seed) == (3, 30, 2, 9)
    assert (wanted.scenario.target, wanted.scenario.slo) == ("http://127.0.0.1:81", ("p95(latency) < 1s",))
    with pytest.raises(Failed, match="go together"):
        run(page, rate=1, users=3)
