"""Runs that a page starts: one `harness run` at a time as a child, stopped as with Ctrl-C."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import IO

from harness.dashboard.library import run_names
from harness.dashboard.settings import Settings
from harness.dashboard.starting import Ready, Wanted, of_the_form, ready
from harness.errors import HarnessError, UsageError
from harness.following import process_of

_BEGINS_WITHIN_S = 30.0
_ENDINGS = ((signal.SIGINT, 60.0), (signal.SIGINT, 10.0), (signal.SIGKILL, 5.0))
"""How the run is ended with the dashboard, and how many seconds each is given: as asked, which makes its report (of a
million requests in half a minute), at once, by force."""
_LAST_WORDS_S = 5.0
_LOOKED_AT = 20  # newest runs
_TAIL_BYTES = 4000
_DISTURB = "two at a time would disturb each other: wait for its end, or stop it first"


@dataclass(slots=True)
class _Own:
    """The child, and what it prints."""

    child: subprocess.Popen[bytes]
    printed: IO[bytes]
    scenario: str
    run_id: str | None = None
    presses: int = 0

    @property
    def on(self) -> bool:
        return self.child.poll() is None


class Control:
    """The run that was started here last. Its methods may be called from any thread; `start` waits for the run."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._starting = threading.Lock()
        self._own: _Own | None = None
        self._closed = False

    @property
    def run_id(self) -> str | None:
        """The run that was started here and is on now."""
        own = self._own
        return own.run_id if own is not None and own.on else None

    @property
    def starting(self) -> bool:
        """Whether one is being started that has no folder yet."""
        return self._starting.locked()

    def start(self, wanted: Wanted, confirmed: bool) -> str:
        """Start a run; its id, when its folder is there. Raises HarnessError: a mistake in the form, nothing answers at
        the target, another run is on; Unconfirmed before a host that is not this one."""
        found = ready(self._settings.scenarios, wanted)
        if found.elsewhere is not None and not confirmed:
            raise Unconfirmed(found)
        if not self._starting.acquire(blocking=False):
            raise UsageError("another run is being started", _DISTURB)
        try:
            own = self._own
            if own is not None and own.on:
                raise UsageError(f"the run {own.run_id or own.scenario} that was started here is still on", _DISTURB)
            if self._closed:
                raise UsageError("the dashboard is being closed")
            self._forget()
            self._own = own = self._begun(found, wanted)
            return self._await(own)
        finally:
            self._starting.release()

    def stop(self, run_id: str) -> int:
        """End the run early, what was measured is kept; a second time at once. How often it was asked.

        Raises UsageError for a run that was not started here, or has ended.
        """
        own = self._own
        if own is None or own.run_id != run_id:
            raise UsageError("this run was not started here", "stop it with Ctrl-C in its terminal")
        if not own.on:
            raise UsageError("this run has ended already", "reload the page")
        own.child.send_signal(signal.SIGINT)
        own.presses += 1
        return own.presses

    def said(self, run_id: str) -> str | None:
        """The end of what a run of ours has printed, once it has ended; it may be about to."""
        own = self._own
        if own is None or own.run_id != run_id:
            return None
        _wait(own.child, _LAST_WORDS_S)
        return _tail(own.printed)

    def close(self) -> None:
        """End the run that is on, and keep what was measured."""
        self._closed = True
        own = self._own
        if own is not None:
            if own.on:
                logging.getLogger(__name__).warning("ending the run %s first; its report is made", own.run_id)
            for number, wait_s in _ENDINGS:
                if own.on:
                    own.child.send_signal(number)
                    _wait(own.child, wait_s)
        self._forget()

    def _forget(self) -> None:
        if self._own is not None:
            self._own.printed.close()
        self._own = None

    def _begun(self, found: Ready, wanted: Wanted) -> _Own:
        flags = [f"--{name}={text}" for name, text in wanted.overrides.items()]
        runs = self._settings.runs
        runs.mkdir(parents=True, exist_ok=True)
        printed = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the child is remembered
        child = subprocess.Popen(  # noqa: S603 - our own interpreter and module, fields that were checked
            [sys.executable, "-m", "harness", "run", f"--out={runs.resolve()}", *flags, "--", str(found.path)],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            env={**os.environ, "NO_COLOR": "1"},
            start_new_session=True,  # Ctrl-C is for the dashboard, which passes it on
        )
        return _Own(child, printed, wanted.scenario)

    def _await(self, own: _Own) -> str:
        """The run's id as soon as its folder is there. Raises HarnessError with what it said when it ended before."""
        give_up = time.monotonic() + _BEGINS_WITHIN_S
        while time.monotonic() < give_up:
            over = not own.on
            own.run_id = self._folder_of(own.child.pid)
            if own.run_id is not None:
                return own.run_id
            if over:
                raise _refusal(_tail(own.printed), own.child.returncode)
            time.sleep(0.1)
        own.child.kill()
        raise UsageError("the run did not begin in time", "try `harness run` in a terminal")

    def _folder_of(self, pid: int) -> str | None:
        runs = self._settings.runs
        names = run_names(runs)[:_LOOKED_AT]
        return next((name for name in names if process_of(runs / name) == pid), None)


class Unconfirmed(HarnessError):  # noqa: N818 - reads as the condition it reports
    """The target is another host: the plan has to be confirmed by who asked for it."""

    def __init__(self, found: Ready) -> None:
        super().__init__(f"this sends its load to another host: {found.elsewhere}", "confirm the plan, or change it")
        self.plan = found


def _refusal(printed: str, code: int) -> UsageError:
    """The child's `error:` and `hint:` lines as an error of ours."""
    told = dict(line.split(": ", 1) for line in printed.splitlines() if line.startswith(("error: ", "hint: ")))
    message = told.get("error", f"the run ended with exit code {code} before it began")
    hint = told.get("hint")
    return UsageError(of_the_form(message), hint and of_the_form(hint))


def _tail(printed: IO[bytes]) -> str:
    size = os.fstat(printed.fileno()).st_size
    return os.pread(printed.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES)).decode("utf-8", "replace").strip()


def _wait(child: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return
