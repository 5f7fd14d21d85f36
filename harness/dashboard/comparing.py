"""Two runs compared in a child process, `harness compare --json`.

That concludes both again, which may take a minute and two gigabytes; the dashboard goes on, and keeps what came out.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from harness.comparison import CompareFindings
from harness.errors import HarnessError, RunFolderError
from harness.report.json_findings import parse_findings
from harness.stored_run import StoredRun

KEPT = 32
"""Comparisons that are remembered."""
LONGEST_S = 600.0
AGAIN_AFTER_S = 30.0
"""A comparison that failed is tried again when somebody asks so much later: memory may be free by then."""
_MOST_WAITING = 4
_HINT = "try `harness compare A B` in a terminal"


@dataclass(slots=True)
class _Job:
    """One comparison: on its way, done, or failed."""

    a: Path
    b: Path
    found: CompareFindings | None = None
    failed: RunFolderError | None = None
    failed_at: float = 0.0  # of time.monotonic()
    child: subprocess.Popen[bytes] | None = None

    @property
    def over(self) -> bool:
        return self.found is not None or self.failed is not None

    @property
    def stale(self) -> bool:
        return self.failed is not None and time.monotonic() - self.failed_at > AGAIN_AFTER_S


_Key = tuple[str, tuple[int, ...], str, tuple[int, ...]]


class Comparisons:
    """Comparisons by their two runs. One at a time is computed: each may need all the memory there is to spare."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[_Key, _Job] = OrderedDict()
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._closed = False

    def of(self, a: StoredRun, b: StoredRun) -> CompareFindings | None:
        """B against A; None while it is computed, which begins now. Raises RunFolderError where that failed."""
        key = (a.folder.run_id, a.stamp, b.folder.run_id, b.stamp)
        with self._lock:
            job = self._jobs.get(key)
            if job is None or job.stale:
                job = self._begin(key, a.folder.path, b.folder.path)
            self._jobs.move_to_end(key)
        if job.failed is not None:
            raise job.failed
        return job.found

    def close(self) -> None:
        """End what is being computed."""
        with self._lock:
            self._closed = True
            children = [job.child for job in self._jobs.values() if job.child is not None and not job.over]
        for child in children:
            child.kill()

    def _begin(self, key: _Key, a: Path, b: Path) -> _Job:
        if sum(not job.over for job in self._jobs.values()) >= _MOST_WAITING:
            raise RunFolderError("too many comparisons are being computed", "wait for them, then load the page again")
        job = self._jobs[key] = _Job(a, b)
        while len(self._jobs) > KEPT:
            oldest = next((k for k, each in self._jobs.items() if each.over), None)
            if oldest is None:
                break
            del self._jobs[oldest]
        threading.Thread(target=self._run, args=(job,), daemon=True, name="harness-compare").start()
        return job

    def _run(self, job: _Job) -> None:
        with self._turn:
            try:
                job.found = parse_findings(CompareFindings, self._computed(job))
            except HarnessError as error:
                job.failed_at, job.failed = time.monotonic(), RunFolderError(error.message, error.hint)
            except OSError as error:  # no process, or no memory for one
                reason = (error.strerror or str(error)).lower()
                job.failed_at, job.failed = time.monotonic(), RunFolderError(f"no comparison began: {reason}", _HINT)

    def _computed(self, job: _Job) -> str:
        """The JSON that the child prints. Raises RunFolderError with what it said otherwise."""
        command = [sys.executable, "-m", "harness", "compare", str(job.a), str(job.b), "--force", "--json"]
        with self._lock:
            if self._closed:
                raise RunFolderError("the dashboard is being closed", _HINT)
            child = job.child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        try:
            printed, said = child.communicate(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            raise RunFolderError(f"the comparison took longer than {LONGEST_S:g} s", _HINT) from None
        if not printed.strip():
            raise _said(said.decode("utf-8", "replace"), child.returncode)
        return printed.decode("utf-8", "replace")


def _said(text: str, code: int) -> RunFolderError:
    """The child's `error:` and `hint:` lines as an error of ours."""
    told = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    return RunFolderError(told.get("error", f"the comparison ended with exit code {code}"), told.get("hint", _HINT))
