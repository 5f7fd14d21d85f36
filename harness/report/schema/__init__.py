"""The committed JSON schemas, and how they are made: `UPDATE_GOLDEN=1 pytest tests/test_json_findings.py`."""

from __future__ import annotations

import json
from pathlib import Path

from harness.comparison import AbFindings, BaselineFindings, CalibrationFindings, CompareFindings, Histories
from harness.report import json_report
from harness.report.json_findings import schema_of_findings

TITLES = {
    "summary": "summary.json of a harness run",
    "ab": "ab.json: interleaved pairs of two targets, judged",
    "compare": "two stored runs side by side: harness compare --json",
    "calibration": "calibration.json: the noise between two runs of the same thing",
    "baseline": "a new run against earlier ones: harness gate --baseline",
    "history": "runs over time, a history for each scenario: harness history --json",
}
_FOUND = {
    "ab": AbFindings, "compare": CompareFindings, "calibration": CalibrationFindings, "baseline": BaselineFindings,
    "history": Histories,
}  # fmt: skip


def schema_file(name: str) -> Path:
    """Where the committed schema is."""
    return Path(__file__).parent / f"{name}.schema.json"


def schemas() -> dict[str, str]:
    """Each schema by its name, as the text of its file."""
    made = {"summary": json_report.schema()}
    made |= {name: schema_of_findings(cls, TITLES[name]) for name, cls in _FOUND.items()}
    return {name: json.dumps(schema, indent=2) + "\n" for name, schema in made.items()}
