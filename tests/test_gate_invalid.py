"""An invalid measurement is never passed or failed, whatever is asked of `harness gate` and wherever it is read."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from harness.run_folder import RunFolder
from tests.gate_calls import INVALID, SUSPECT, gate
from tests.stored_runs import some_runs, some_samples, store

STEPPED = {"code": "clock_step", "message": "the clock was stepped by 3 s", "hint": "", "invalidates": True}
LOST = {"code": "recorder", "message": "the disk was full", "hint": "free some", "invalidates": True}
ABORTED = {"code": "aborted", "message": "80% of the requests failed", "hint": "", "invalidates": False}
DOUBTS: dict[str, dict[str, Any]] = {
    "an overloaded generator": INVALID,
    "a warning": {"warnings": [STEPPED]},
    "an aborted run": {"warnings": [ABORTED, STEPPED]},
    "an interrupted run": {"warnings": [STEPPED], "status": "interrupted"},
    "samples that were lost": {**SUSPECT, "warnings": [LOST, STEPPED]},
    "a killed run": {"status": "running"},
}
FINAL = ("samples that were lost", "a killed run")
"""Nobody can accept these."""
SLOS = ("p90(latency) < 1s", "p50(latency) < 1ms and p99.9(latency) < 1s and p95(inference) < 1s")
"""One that is met; one that is broken, one that is undecided and one that cannot be judged."""


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight sound runs, each faster by 30 ms: what is held against them is worse."""
    parent = tmp_path_factory.mktemp("earlier")
    some_runs(store(parent / "run-000", some_samples()), parent, 8)
    return parent


def in_doubt(path: Path, doubt: str) -> RunFolder:
    return store(path / "run", some_samples(longer_ms=30.0)[:60], **{"started_ns": 1, **DOUBTS[doubt]})


def flags() -> list[tuple[str, ...]]:
    """Every combination; a baseline, which takes longer, in every fifth."""
    choices = [[(), ("--strict",)], [(), ("--accept-suspect",)], [(), ("--only-these",)], [("--slo", s) for s in SLOS]]
    baselines = itertools.cycle([(), (), ("--baseline",), (), ()])
    return [(*itertools.chain(*parts), *next(baselines)) for parts in itertools.product(*choices)]


def outcomes(junit: Path) -> set[str]:
    """How the cases of all suites ended."""
    cases = ElementTree.parse(junit).iter("testcase")  # noqa: S314
    return {case[0].tag if len(case) else "passed" for case in cases}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_no_flag_makes_a_pass_or_a_failure_of_it(tmp_path: Path, earlier: Path, doubt: str) -> None:
    folder, junit, page = in_doubt(tmp_path, doubt), tmp_path / "junit.xml", tmp_path / "gate.md"
    for chosen in flags():
        against = [earlier] if "--baseline" in chosen else []
        code, output = gate(folder.path, *chosen, *against, "--json", "--junit", junit, "--markdown", page)
        found, markdown = json.loads(output), page.read_text()
        if "--accept-suspect" in chosen and doubt not in FINAL:
            assert found["accepted"], chosen
            assert found["accepted"][0] in junit.read_text()
            assert "accepted" in markdown
            continue
        assert (found["verdict"], found["accepted"]) == ("invalid", []), chosen
        assert found["reasons"]
        assert {slo["verdict"] for slo in found["slo"]} <= {"invalid"}, chosen
        assert found.get("baseline", {"verdict": "invalid"})["verdict"] == "invalid"
        assert code == (4 if doubt == "an interrupted run" else 3)
        assert outcomes(junit) <= {"error", "skipped"}, chosen
        assert "error" in outcomes(junit)
        assert not {"✅", "❌"} & set(markdown), chosen


@pytest.mark.parametrize("doubt", DOUBTS)
def test_it_is_neither_on_a_terminal(tmp_path: Path, doubt: str) -> None:
    folder = in_doubt(tmp_path, doubt)

    for slo in SLOS:
        line = gate(folder.path, "--slo", slo, "-q")[1]
        assert line.startswith("read: invalid")
        shown = gate(folder.path, "--slo", slo)[1]
        assert "Verdict: passed" not in shown
        assert "Verdict: failed" not in shown


@pytest.mark.parametrize("strict", [[], ["--strict"]])
def test_what_the_run_itself_had_accepted_is_said_whenever_it_is_judged(tmp_path: Path, strict: list[str]) -> None:
    folder = store(tmp_path / "run", some_samples()[:60], accept_suspect=True, warnings=[STEPPED])

    found = json.loads(gate(folder.path, *strict, "--json")[1])

    assert (found["verdict"], found["accepted"]) == ("passed", [STEPPED["message"]])
    assert STEPPED["message"] in gate(folder.path, *strict)[1]
    assert STEPPED["message"] in gate(folder.path, *strict, "-q")[1]
