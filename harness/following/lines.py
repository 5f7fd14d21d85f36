"""live.jsonl: what a run says of itself while it is on, a JSON object a line.

The first line says which process it is; others are its progress and its phases, each with `at_ns`; the last one has
one of ENDED as its phase. A run whose process has gone without that line was killed.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import psutil

from harness.instrument.host import host_key

FILE = "live.jsonl"
ENDED = ("finished", "interrupted", "broken")
STARTING = "starting"
_SAME_BIRTH_S = 3.0  # the instant a process began is worked out from the boot time, which a clock step moves
_QUIET_S = 120.0
"""A run that cannot be seen from here, in another container, counts as on until its file was left alone for so long."""
_LONGEST_LINE = 1 << 17
_READ_BYTES = 1 << 18
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
    if not isinstance(first.get("where"), str):
        return False
    if first["where"] != _where():
        return None
    if not isinstance(pid, int) or not isinstance(born_s, int | float) or not 0 < pid < 1 << 31:
        return False
    try:
        there = psutil.Process(pid)
        is_same = abs(there.create_time() - born_s) < _SAME_BIRTH_S
        return bool(is_same and there.status() != psutil.STATUS_ZOMBIE)
    except (psutil.Error, OverflowError):  # an instant of hundreds of digits
        return False


def first_of(folder: Path) -> tuple[Mapping[str, Any], float]:
    """The first line of a run, and when its file was touched last (epoch); nothing of one that has none."""
    with suppress(OSError), _opened(folder / FILE) as file:
        return parsed(file.readline(_LONGEST_LINE)) or {}, os.fstat(file.fileno()).st_mtime
    return {}, 0.0


def may_be_on(folder: Path) -> bool:
    """False for most of the runs that are not on, by a look at their first line alone."""
    first, touched_s = first_of(folder)
    there = lives(first) if first else False
    return time.time() - touched_s < _QUIET_S if there is None else there


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """A regular file; whatever else stands there raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(f"{path} is no file")
        yield file


class Lines:
    """The file of a run folder, read as it grows. After `poll` the fields hold what the lines so far have said."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._at = 0
        self._rest = b""
        self._touched_s = 0.0  # epoch
        self.first: Mapping[str, Any] = {}
        self.progress: Mapping[str, Any] = {}  # the newest line with figures
        self.phase: str | None = None  # of the newest line

    @property
    def ended(self) -> bool:
        """Whether the last line is there."""
        return self.phase in ENDED

    @property
    def on(self) -> bool:
        """Whether the run has not ended, and its process is there."""
        if self.ended or self.phase is None:
            return False
        there = lives(self.first)
        return time.time() - self._touched_s < _QUIET_S if there is None else there

    def poll(self) -> None:
        """Read what is new."""
        with suppress(OSError), _opened(self._path) as file:
            about = os.fstat(file.fileno())
            self._touched_s = about.st_mtime
            if about.st_size < self._at:  # not the file that it was
                self._at, self._rest = 0, b""
            self._read(file, about.st_size)

    def _read(self, file: IO[bytes], size: int) -> None:
        if self._at == 0:
            self._take(file.readline(_LONGEST_LINE))
            self._at = max(file.tell(), size - _READ_BYTES)
            self.phase = self.phase or (STARTING if size else None)
        file.seek(self._at)
        while chunk := file.read(_READ_BYTES):
            self._at += len(chunk)
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                self._take(line)
            self._rest = self._rest[-_LONGEST_LINE:]

    def _take(self, line: bytes) -> None:
        found = parsed(line)
        if found is None:
            return
        if "pid" in found and not self.first:
            self.first = found
        if isinstance(found.get("phase"), str):
            self.phase = found["phase"]
        if "elapsed_s" in found:
            self.progress = found


def parsed(line: bytes) -> dict[str, Any] | None:
    """One line; None for one that is no JSON object: torn, or cut off where the reading began."""
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
