"""live.jsonl: what a run says of itself while it is on, a JSON object a line.

The first line says which process it is; others are its progress and its phases, each with `at_ns`; the last one has
one of ENDED as its phase. A run whose process has gone without that line was killed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from harness.instrument.host import host_key

FILE = "live.jsonl"
ENDED = ("finished", "interrupted", "broken")
STARTING = "starting"
_SAME_BIRTH_S = 3.0  # the instant a process began is worked out from the boot time, which a clock step moves
_NAMESPACE = Path("/proc/self/ns/pid")


def first_line(run_id: str, at_ns: int) -> dict[str, object]:
    """What identifies this process to readers, also in another container."""
    own = psutil.Process()
    return {
        "at_ns": at_ns,
        "phase": STARTING,
        "run_id": run_id,
        "pid": own.pid,
        "born_s": own.create_time(),
        "where": _where(),
    }


def lives(first: Mapping[str, Any]) -> bool | None:
    """Whether the process of a first line is there; None when that cannot be seen from here."""
    pid, born_s = first.get("pid"), first.get("born_s")
    if first.get("where") != _where():
        return None
    if not isinstance(pid, int) or not isinstance(born_s, int | float) or not 0 < pid < 1 << 31:
        return False
    try:
        there = psutil.Process(pid)
        is_same = abs(there.create_time() - born_s) < _SAME_BIRTH_S
        return bool(is_same and there.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def parsed(line: bytes) -> dict[str, Any] | None:
    """One line of the file; None for one that is no JSON object."""
    with suppress(ValueError, RecursionError):
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    return None


def _where() -> str:
    """Equal texts: process ids mean the same."""
    try:
        return f"{host_key()} {os.readlink(_NAMESPACE)}"
    except OSError:
        return host_key()
