"""Runs that were killed before they could report, concluded by a child: `harness report`, as in a terminal."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError

LONGEST_S = 900.0
_HINT = "try `harness report RUN` in a terminal"


@dataclass(frozen=True, slots=True)
class Conclusion:
    """Of one run: `state` is running | done | failed."""

    state: str
    error: str | None = None
    hint: str | None = None


class Concluding:
    """One at a time: it may take half a minute and two gigabytes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: dict[str, Conclusion] = {}
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = False

    def start(self, path: Path) -> Conclusion:
        """Begin with a run, or say how far it is. Raises UsageError while another one is concluded."""
        with self._lock:
            known = self._of.get(path.name)
            if known is not None and known.state == "running":
                return known
            if self._closed or any(each.state == "running" for each in self._of.values()):
                raise UsageError("another run is being concluded", "wait until it is done")
            begun = self._of[path.name] = Conclusion("running")
        threading.Thread(target=self._conclude, args=(path,), daemon=True, name="harness-conclude").start()
        return begun

    def of(self, run_id: str) -> Conclusion | None:
        with self._lock:
            return self._of.get(run_id)

    def close(self) -> None:
        """End what is going on."""
        with self._lock:
            self._closed = True
            child = self._child
        if child is not None:
            child.kill()

    def _conclude(self, path: Path) -> None:
        command = [sys.executable, "-m", "harness", "report", str(path), "--format", "json,html"]
        with self._lock:
            if self._closed:
                return
            child = self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
        try:
            _, said = child.communicate(timeout=LONGEST_S)
            ended = _ended(child.returncode, said.decode("utf-8", "replace"))
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            ended = Conclusion("failed", f"it took longer than {LONGEST_S:g} s", _HINT)
        with self._lock:
            self._child = None
            self._of[path.name] = ended


def _ended(code: int, said: str) -> Conclusion:
    if code == 0:
        return Conclusion("done")
    told = dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)
    return Conclusion("failed", told.get("error", f"`harness report` ended with code {code}"), told.get("hint", _HINT))
