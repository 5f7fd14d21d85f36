"""A small round of `bench/fuzz.py`: the receiver survives what it is sent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).parent.parent / "bench" / "fuzz.py"


def test_two_thousand_damaged_bodies_and_a_bomb_are_answered_and_survived() -> None:
    command = [sys.executable, str(FUZZ), "--bodies", "2000", "--grpc", "200", "--gib", "1"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("holds: ") == 4
    assert "1 GiB of zeros: 413" in done.stdout
