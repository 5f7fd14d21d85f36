"""The parent's side of the looks at a run: starts the judge, asks it when a look is due, says when it is enough."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.deciding.cohort import ended_s
from harness.deciding.looks import Asked, Until
from harness.findings import ABORTED, Verdict
from harness.load.drive import Loaded
from harness.model import Phase, RunWarning
from harness.units import format_duration

OnEvent = Callable[[Mapping[str, object]], None]

SETTLE_S = 1.5
"""After the end of what is looked at: load processes write their samples once a second."""
SPANS_WITHIN_S = 7.5
"""Plain OpenTelemetry exports spans every five seconds: a stage that cannot be judged at first is judged again then."""
_GOODBYE_S = 5.0
_LOG = "deciding.log"
_DECIDED = (Verdict.PASSED, Verdict.FAILED)


class Watch:
    """Called with each line of progress, as the `decide` of harness.load.drive. Never waits for the judge."""

    def __init__(
        self, until: Until, judge: subprocess.Popen[bytes], on_event: OnEvent, accept_suspect: bool = False
    ) -> None:
        self._until = until
        self._judge = judge
        self._on_event = on_event
        self._accept_suspect = accept_suspect
        self._rest = b""  # of an answer that has come in part
        self.waiting = False  # for an answer
        self._second = False  # the look is judged once more, with more spans
        self._look = 0  # position of the next look
        self._due_s = until.looks_s[0] + SETTLE_S
        self._invalid: set[str] = set()  # SLOs at the look before
        self.looked: list[dict[str, object]] = []
        self.total_cpu_s = 0.0  # of the judge: its start and all looks
        self._cpu_s = 0.0  # of this look
        self.failed: str | None = None

    def __call__(self, progress: Mapping[str, Any], invalid: bool) -> float | None:
        """Seconds from the start of the load at which the measured part may end; None: not yet."""
        if "elapsed_s" not in progress or progress["phase"] == Phase.DRAIN.value:
            return None
        at_s = self._until.looks_s[self._look]
        if any([self._enough(answer) for answer in self._answers()]):
            return at_s
        self._skip_to(progress["elapsed_s"])
        if self.waiting or self.failed or self._is_last or progress["elapsed_s"] < self._due_s:
            return None
        if invalid and not self._accept_suspect:
            self._said("the measurement is invalid, which more requests cannot change")
            return at_s
        self._ask(progress["started_ns"])
        return None

    def written(self, loaded: Loaded) -> dict[str, object]:
        """What run.json says of the looks, when the load is over: its end is the last one."""
        stopped = loaded.interrupted or any(warning.code == ABORTED for warning in loaded.warnings)
        finished = loaded.end and not stopped and not loaded.end.get("interrupted")
        look = self._look + 1 if ended_s(loaded) is not None else len(self._until.looks_s) if finished else None
        return {**self._until.written(look), "cpu_s": round(self.total_cpu_s, 3), "looked": self.looked}

    def warnings(self) -> list[RunWarning]:
        """What is to be said when the run could not be looked at."""
        if self.failed is None:
            return []
        message = f"the run went on to its end, for nobody could look at it meanwhile: {self.failed}"
        return [RunWarning("deciding", message, f"see {_LOG} in the run folder")]

    # --- one look ------------------------------------------------------------------------------------------

    @property
    def _is_last(self) -> bool:
        """The last look is the end of the run."""
        return self._look == len(self._until.looks_s) - 1

    def _skip_to(self, elapsed_s: float) -> None:
        """A look that the next one has overtaken is not worth its CPU."""
        while not self.waiting and not self._is_last and elapsed_s >= self._until.looks_s[self._look + 1] + SETTLE_S:
            self._next()

    def _next(self) -> None:
        self._look += 1
        self._second = False
        self._due_s = self._until.looks_s[self._look] + SETTLE_S

    def _ask(self, started_ns: int) -> None:
        until = self._until
        asked = Asked(self._look + 1, until.looks_s[self._look], started_ns, until.confidence, until.stages)
        assert self._judge.stdin is not None  # noqa: S101 - started with pipes
        with contextlib.suppress(OSError):  # it is gone: its answers end, too
            self._judge.stdin.write(json.dumps(asdict(asked)).encode() + b"\n")
            self._judge.stdin.flush()
        self.waiting = True

    def _answers(self) -> list[dict[str, Any]]:
        assert self._judge.stdout is not None  # noqa: S101 - started with pipes
        try:
            chunk = os.read(self._judge.stdout.fileno(), 1 << 16)
        except BlockingIOError:
            return []
        if not chunk and self.failed is None:
            self.failed, self.waiting = f"the judge ended with exit code {self._judge.wait(_GOODBYE_S)}", False
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def _enough(self, answer: Mapping[str, Any]) -> bool:
        """Whether an answer ends the run; otherwise it goes on to the next look."""
        self.waiting = False
        self.total_cpu_s = answer["total_cpu_s"]
        self._cpu_s += answer["cpu_s"]
        if "failed" in answer:
            self.failed = answer["failed"]
            return False
        verdicts = {expression: Verdict(verdict) for expression, verdict, _ in answer["slos"]}
        reasons = {expression: reason for expression, _, reason in answer["slos"]}
        invalid = {expression for expression, verdict in verdicts.items() if verdict is Verdict.INVALID}
        failed = [expression for expression, verdict in verdicts.items() if verdict is Verdict.FAILED]
        left = [expression for expression, verdict in verdicts.items() if verdict not in _DECIDED]
        if failed or not left:
            self._said(f"decided: {failed[0]} has failed" if failed else "decided: every SLO has passed")
            return True
        if (invalid or self._until.stages) and not self._second:
            self._second = True
            self._due_s = self._until.looks_s[self._look] + SPANS_WITHIN_S
            return False
        more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
        self._said(f"{left[0]}: {reasons[left[0]]}{more}")
        if invalid & self._invalid:  # as before: nothing that comes will heal it
            return True
        self._invalid = invalid
        self._next()
        return False

    def _said(self, found: str) -> None:
        look, at_s = self._look + 1, self._until.looks_s[self._look]
        self.looked.append({"look": look, "at_s": at_s, "cpu_s": round(self._cpu_s, 3), "found": found})
        self._cpu_s = 0.0
        self._on_event({"look": f"look {look} of {len(self._until.looks_s)}, {format_duration(at_s)}: {found}"})


@contextmanager
def watching(
    until: Until | None, folder: Path, on_event: OnEvent, accept_suspect: bool = False
) -> Iterator[Watch | None]:
    """A judge for the length of a `with`; None when there is nothing to be decided on the way."""
    if until is None:
        yield None
        return
    with (folder / _LOG).open("wb") as log:
        judge = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "harness.deciding.judging", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the run
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
    os.setpriority(os.PRIO_PROCESS, judge.pid, 19)
    assert judge.stdin is not None  # noqa: S101 - started with pipes
    assert judge.stdout is not None  # noqa: S101
    os.set_blocking(judge.stdout.fileno(), False)
    try:
        yield Watch(until, judge, on_event, accept_suspect)
    finally:
        judge.kill()  # it holds nothing: a look that is not over is of no use any more
        judge.wait(_GOODBYE_S)
        with contextlib.suppress(OSError):
            judge.stdin.close()
        judge.stdout.close()
        with contextlib.suppress(OSError):
            if not (folder / _LOG).stat().st_size:
                (folder / _LOG).unlink()
