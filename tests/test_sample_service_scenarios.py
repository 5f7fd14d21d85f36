"""The scenarios that come with the sample service: each can be run as it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pictures import SCENARIOS

from harness.model import Arrivals
from harness.scenario import Overrides, load_scenario
from harness.slo import parse_slo, requests_needed

YAML = sorted(SCENARIOS.glob("*.yaml"))


def test_the_six_scenarios_are_there() -> None:
    assert [path.stem for path in YAML] == ["closed-loop", "demo", "flow", "identify", "read-receipts", "spike"]


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.stem)
def test_a_scenario_loads_and_aims_at_the_sample_service(path: Path) -> None:
    scenario = load_scenario(path, environ={})

    assert scenario.name == path.stem
    assert scenario.target == "http://127.0.0.1:8000"
    assert load_scenario(path, environ={"TARGET": "http://reader:9000"}).target == "http://reader:9000"


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.stem)
def test_every_limit_can_be_decided_in_the_time_planned(path: Path) -> None:
    scenario = load_scenario(path, environ={})
    planned = sum(step.expected for step in scenario.load.steps)
    if scenario.load.arrivals is Arrivals.USERS:  # user seconds: a round takes the think time and up to 0.2 s
        planned /= sum(scenario.load.think_s) / 2 + 0.2

    # A fifth more than needed: arrivals are random, and requests that follow each other are alike.
    assert all(planned >= 1.2 * (requests_needed(parse_slo(line)) or 0) for line in scenario.slo)


def test_the_demo_takes_less_than_a_minute() -> None:
    load = load_scenario(SCENARIOS / "demo.yaml", environ={}).load

    assert load.end_s <= 42
    assert load.end_s + load.drain_s < 60


def test_the_flow_in_python_has_two_weighted_tasks() -> None:
    script = (
        "import runpy; user = runpy.run_path('flow.py')['ReceiptUser']; "
        "print(sorted(task.__name__ for task in user.tasks))"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=SCENARIOS, capture_output=True, text=True, timeout=60)

    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == str(["photograph"] * 3 + ["some_file"])


def test_the_plain_locustfile_imports_nothing_of_harness() -> None:
    source = (SCENARIOS / "locustfile.py").read_text()

    assert "import harness" not in source
    assert "from harness" not in source
    assert (
        load_scenario(SCENARIOS / "locustfile.py", Overrides(target="http://reader:9000", users="4")).users is not None
    )
