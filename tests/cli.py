"""The command as a user runs it: a child process, its output and its exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HARNESS = [sys.executable, "-m", "harness"]


@dataclass(frozen=True)
class Ended:
    code: int
    stdout: str
    stderr: str


def begin(*arguments: str | Path, cwd: Path, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*HARNESS, *(str(a) for a in arguments)],
        cwd=cwd, env={**os.environ, **(env or {})}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def end(child: subprocess.Popen[str], within_s: float = 90) -> Ended:
    stdout, stderr = child.communicate(timeout=within_s)
    return Ended(child.returncode, stdout, stderr)


def harness(*arguments: str | Path, cwd: Path, env: dict[str, str] | None = None) -> Ended:
    return end(begin(*arguments, cwd=cwd, env=env))
