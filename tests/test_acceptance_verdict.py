"""The whole way from a real service under load to a named cause: two situations of `bench/verdict.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent / "bench" / "verdict.py"


@pytest.fixture(scope="module")
def told() -> str:
    command = [sys.executable, str(BENCH), "--situations", "lock,nothing", "--seeds", "1", "--seconds", "5"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode in (0, 1), ended.stderr
    return ended.stdout


def line_of(told: str, situation: str) -> str:
    (line,) = (line for line in told.splitlines() if line.startswith(("right", "WRONG")) and f"  {situation} " in line)
    return line


@pytest.mark.slow
def test_a_lock_is_named_as_the_cause(told: str) -> None:
    line = line_of(told, "lock")

    assert line.startswith("right"), line
    assert "lock(queue.magika)" in line


@pytest.mark.slow
def test_where_nothing_is_wrong_nothing_is_named(told: str) -> None:
    line = line_of(told, "nothing")

    assert line.startswith("right"), line


@pytest.mark.slow
def test_the_table_counts_what_was_named(told: str) -> None:
    head, *rows = [line.split() for line in told.splitlines()[-4:-1]]

    assert head == ["situation", "lock", "-", "right"]
    assert rows == [["lock", "1", ".", "1", "of", "1"], ["nothing", ".", "1", "1", "of", "1"]]
