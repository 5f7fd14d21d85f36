"""The pytest plugin in whole sessions of pytest, with real load runs in them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.sample_server import ROOT

CHILD = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
SESSION = [sys.executable, "-m", "pytest", "-p", "harness.pytest_plugin", "-p", "no:cacheprovider"]

PROJECT = {
    "pytest.ini": """
        [pytest]
        addopts = --strict-markers
        filterwarnings = error
    """,
    "page.txt": "page",
    "scenarios/page.yaml": """
        scenario: page
        target: http://127.0.0.1:9
        requests: [{name: page, http: GET /page.txt}]
        load: {rate: 100/s, warmup: 0s, duration: 1s, drain: 1s}
        spans: {source: none}
    """,
    "dying.py": """
        import os, sys
        from http.server import BaseHTTPRequestHandler, HTTPServer

        class Dying(BaseHTTPRequestHandler):
            def do_GET(self):
                print("out of memory", flush=True)
                os._exit(3)

        HTTPServer(("127.0.0.1", int(sys.argv[1])), Dying).serve_forever()
    """,
    "test_page.py": """
        import sys
        import pytest
        from harness.services import Start

        SERVICE = Start(f"{sys.executable} -m http.server {{port}} --bind 127.0.0.1", ready="/page.txt")

        def measured(harness_run, **wanted):
            return harness_run("scenarios/page.yaml", service=SERVICE, accept_suspect=True, **wanted)

        @pytest.fixture(scope="module")
        def page(harness_run):
            return measured(harness_run)

        def test_fast_enough(page):
            assert page.p95("latency") < 10
            assert page.error_rate < 0.05

        def test_too_slow(harness_run):
            assert measured(harness_run).p95("latency") < 0.00001

        def test_undecided(page):
            assert not page.percentile(99.9) > 10
    """,
    "test_mistakes.py": """
        import sys

        def test_dies(harness_run):
            harness_run("scenarios/page.yaml", service=f"{sys.executable} dying.py {{port}}", duration=0.5)

        def test_nothing_there(harness_run):
            harness_run("scenarios/page.yaml", target="http://127.0.0.1:9")

        def test_no_such_scenario(harness_run):
            harness_run("scenarios/pgae.yaml", rate=20)

        def test_two_targets(harness_run):
            harness_run("scenarios/page.yaml", target="http://127.0.0.1:9", service="serve {port}")

        def test_no_port(harness_run):
            harness_run("scenarios/page.yaml", service="serve")

        def test_no_load():
            pass
    """,
}


def a_project(folder: Path) -> Path:
    for name, text in PROJECT.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text).lstrip())
    return folder


def session(folder: Path, *arguments: str) -> str:
    """What pytest prints."""
    command = [*SESSION, f"--basetemp={folder / 'temporary'}", *arguments]
    return subprocess.run(command, cwd=folder, env=CHILD, capture_output=True, text=True, timeout=120).stdout


def failure_of(output: str, test: str) -> str:
    """The part of the output about one test."""
    return re.split(r"\n_{3,} |\n={3,} ", output.partition(f" {test} ___")[2])[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A session with load runs: its output and its folder."""
    folder = a_project(tmp_path_factory.mktemp("whole"))
    return session(folder, "-rA", "--harness-out=runs", "--junitxml=junit.xml"), folder


def test_equal_calls_share_one_run_and_its_folder_is_kept(whole: tuple[str, Path]) -> None:
    output, folder = whole

    assert "PASSED test_page.py::test_fast_enough" in output, output
    lines = re.findall(r"^measured: page, poisson 100/s, .*; p50 .*, p95 .*, n = [0-9]+; (.*)$", output, re.MULTILINE)
    assert len(lines) == 1, output
    assert Path(lines[0]) in folder.glob("runs/*-page/report.html")


def test_a_missed_limit_fails_with_the_verdict_and_the_summary(whole: tuple[str, Path]) -> None:
    shown = failure_of(whole[0], "test_too_slow")

    assert re.search(r"E +assert p95\(latency\) < 0.00001s: failed\nE +[0-9.]+ ms; n = [0-9]+: ", shown), whole[0]
    assert "Captured harness call" in shown
    assert "The mean request took" in shown


def test_an_undecided_limit_fails_even_when_it_is_denied(whole: tuple[str, Path]) -> None:
    shown = failure_of(whole[0], "test_undecided")

    assert "Failed: p99.9(latency) <= 10s: not enough data" in shown, whole[0]
    assert ">       assert not page.percentile(99.9) > 10" in shown


@pytest.mark.parametrize(
    ("test", "says"),
    [
        ("test_dies", "the service ended with exit code 3 during the run: out of memory"),
        ("test_nothing_there", "nothing answers at http://127.0.0.1:9"),
        ("test_no_such_scenario", "page.yaml"),
        ("test_two_targets", "target and service do not go together"),
        ("test_no_port", "the command 'serve' does not say where the port goes"),
    ],
)
def test_a_run_that_does_not_take_place_fails_the_test(whole: tuple[str, Path], test: str, says: str) -> None:
    shown = failure_of(whole[0], test)

    (failed,) = re.findall(r"^E +Failed: (.*)$", shown, re.MULTILINE)
    assert says in shown, shown
    assert "hint: " in shown
    assert failed
    assert "Error:" not in shown  # of ours: nothing but the line of the test


def test_junit_names_the_run(whole: tuple[str, Path]) -> None:
    cases = ET.parse(whole[1] / "junit.xml").getroot().iter("testcase")  # noqa: S314 - written by pytest just now

    named = {case.get("name"): [p.get("value") for p in case.iter("property")] for case in cases}
    assert str(whole[1] / "runs") in str(named["test_fast_enough"])
    assert named["test_no_load"] == []


def test_load_tests_are_left_out_by_their_marker_or_skipped_by_a_flag(tmp_path: Path) -> None:
    a_project(tmp_path)

    assert "1 passed, 8 deselected" in session(tmp_path, "-m", "not harness")
    assert "1 passed, 8 skipped" in session(tmp_path, "--harness-skip")


def test_the_plugin_imports_nothing_heavy_until_it_is_used() -> None:
    heavy = "{'pandas', 'numpy', 'pyarrow', 'pydantic', 'gevent', 'locust', 'opentelemetry', 'harness.errors'}"
    code = f"import sys, harness.pytest_plugin; print(sorted({heavy} & set(sys.modules)))"

    child = subprocess.run([sys.executable, "-c", code], env=CHILD, capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"


STORED = """
import os
from pathlib import Path
from harness.pytest_plugin import runs
from harness.report import json_report
from harness.run_folder import RunFolder

def executed(wanted):
    with open("measured.txt", "a") as file:
        print(wanted.scenario.name, file=file)
    folder = RunFolder.open(Path(os.environ["STORED"]))
    return runs.Outcome(folder, json_report.parse(folder.summary_json.read_text()), None)

runs._executed = executed  # instead of a load run: what one measured
"""


def test_processes_of_xdist_measure_once_and_say_that_they_disturb(
    whole: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = sorted((whole[1] / "runs").glob("*-page"))[-1]
    monkeypatch.setitem(CHILD, "STORED", str(newest))
    a_project(tmp_path)
    (tmp_path / "conftest.py").write_text(STORED)
    both = ["test_page.py::test_fast_enough", "test_page.py::test_too_slow"]

    output = session(tmp_path, "-p", "xdist.plugin", "-n2", "-W", "default", *both)
    assert "1 failed, 1 passed" in output, output
    assert (tmp_path / "measured.txt").read_text() == "page\n"
    assert "ParallelLoadWarning: load tests that run beside other tests measure those, too" in output
