"""What the processes around the load take from the machine: CPU of the span receiver and of the command line."""

from __future__ import annotations

import os
import time
from typing import Any

import psutil

_About = tuple[str, float | None, str, str]

_RECEIVER: _About = (
    "receiver_cpu", 0.9, "share of one core the span receiver used",
    "spans may be lost: have the service sample, or send its spans elsewhere",
)  # fmt: skip
_CLI: _About = ("cli_cpu", None, "share of one core the command line used", "")


class Cost:
    """Counts from the first line of progress, when the load begins, to `readings`. `receiver_pid` if there is one."""

    def __init__(self, receiver_pid: int | None) -> None:
        self._pids: dict[_About, int] = {_CLI: os.getpid()} | (
            {} if receiver_pid is None else {_RECEIVER: receiver_pid}
        )
        self.begin()

    def begin(self) -> None:
        """Forget what was used so far."""
        self._at = time.monotonic()
        self._before = {about: _cpu_s(pid) for about, pid in self._pids.items()}

    def readings(self) -> list[dict[str, Any]]:
        """One per process, as the load process reports its own; without a value when the process is gone."""
        wall_s = time.monotonic() - self._at
        return [self._reading(about, _cpu_s(pid), wall_s) for about, pid in self._pids.items()]

    def _reading(self, about: _About, now_s: float | None, wall_s: float) -> dict[str, Any]:
        name, suspect, meaning, advice = about
        before_s = self._before[about]
        value = None if now_s is None or before_s is None or wall_s <= 0 else (now_s - before_s) / wall_s
        absent = "it is gone" if value is None else ""
        limits = {"suspect": suspect, "invalid": None, "meaning": meaning, "advice": advice}
        return {"name": name, "value": value, "unit": "ratio", **limits, "worker": "", "absent": absent}


def _cpu_s(pid: int) -> float | None:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)
