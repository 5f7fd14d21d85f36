"""A scenario that can be run, in a folder of its own, for tests to break."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.model import Scenario
from harness.scenario import Overrides, load_scenario

GOOD = """\
scenario: x
target: http://127.0.0.1:8000
requests:
  - name: receipt
    http: POST /v1/read
    files: {image: payloads/*.jpg}
load:
  rate: 4/s
slo:
  - p95(latency) < 1s
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s" / "payloads").mkdir(parents=True)
    (tmp_path / "s" / "payloads" / "a.jpg").write_bytes(b"x")
    (tmp_path / "s" / "flow.py").write_text("class A(HarnessUser): pass\nclass B(A): pass\nclass C: pass\n")
    (tmp_path / "s" / "broken.py").write_text("x = 1\nclass A(:\n")
    return tmp_path


def attempt(text: str | bytes, overrides: Overrides | None = None) -> Scenario | ScenarioError:
    Path("s/x.yaml").write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    try:
        return load_scenario("s/x.yaml", overrides, {})
    except ScenarioError as error:
        return error
