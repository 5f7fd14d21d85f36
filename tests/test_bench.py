"""The benches start, measure with tiny lengths and print their table. What they find is not judged here."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent / "bench"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


def bench(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH / f"{name}.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, "PATH": PATH})


@pytest.fixture
def nginx() -> None:
    if shutil.which("nginx", path=PATH) is None:
        pytest.skip("nginx is not installed")


@pytest.mark.parametrize("script", sorted(BENCH.glob("*.py")), ids=lambda script: script.stem)
def test_a_bench_says_what_it_measures_and_how_it_is_started(script: Path) -> None:
    said = ast.get_docstring(ast.parse(script.read_text())) or ""

    assert f"python bench/{script.name}" in said


def test_every_bench_has_its_place_in_the_list_of_figures() -> None:
    listed = (BENCH / "RESULTS.md").read_text()

    for script in BENCH.glob("*.py"):
        assert f"`bench/{script.name}`" in listed


@pytest.mark.usefixtures("nginx")
def test_saturation_shows_the_kernel_and_the_user_beside_each_other() -> None:
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")
    ended = bench("saturation", "--rounds", "1", "--seconds", "0.3")

    assert ended.returncode in (0, 1), ended.stderr
    assert "wrk, 1 user" in ended.stdout
    assert "harness, 16 users, kernel-stamped" in ended.stdout
    assert ended.stdout.splitlines()[-1].startswith(("holds: ", "DOES NOT HOLD: "))
