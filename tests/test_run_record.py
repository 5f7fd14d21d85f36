"""What run.json says from the first second on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from harness.run.written import first_record
from harness.run_folder import RunFolder
from harness.scenario import load_scenario

TEXT = """
target: http://127.0.0.1:8000
requests:
  - {name: all, http: GET /a, expect: {json: {n: 1}}}
  - {name: some, http: GET /b, expect: {json: {n: 1}, sample: 10%}}
load: {rate: 4/s}
"""


def test_checks_on_a_sample_of_the_answers_are_said(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(TEXT)
    scenario = load_scenario(tmp_path / "s.yaml", environ={})
    folder = RunFolder.create(tmp_path, "s")

    record = first_record(scenario, folder, datetime.now(UTC), [])

    (warning,) = record["warnings"]
    assert warning["code"] == "sampled_checks"
    assert warning["message"].startswith("the bodies of 10% of the answers to some are checked")
    assert not warning["invalidates"]
