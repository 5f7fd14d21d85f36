"""Every error a user can cause, on one screen.

HarnessError                  what happened; `hint` says what to do; `exit_code` is what the command returns
├── UsageError                a flag or an argument is off                                    exit 2
├── ScenarioError             the scenario file cannot be run as written; knows file and line  exit 2
├── RunFolderError            the stored run is missing or cannot be read                      exit 2
├── NothingMeasured           the run ended without one usable answer                          exit 3
└── Interrupted               the user stopped the run; what was measured is kept              exit 4

Anything else that escapes is a bug in the harness and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """What `harness` returns to the shell; documented in the README."""

    PASSED = 0
    GATE_FAILED = 1
    USAGE = 2
    NOT_MEASURED = 3
    INTERRUPTED = 4


class HarnessError(Exception):
    """A mistake or condition the user can act on: one sentence, one hint, one exit code."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(HarnessError):
    """A flag or an argument is off."""


class ScenarioError(HarnessError):
    """The scenario cannot be run as written. `where` is `file:line`, shown before the message."""

    def __init__(self, message: str, hint: str | None = None, where: str | None = None) -> None:
        super().__init__(f"{where}: {message}" if where else message, hint)


class RunFolderError(HarnessError):
    """The stored run is missing or cannot be read."""


class NothingMeasured(HarnessError):  # noqa: N818 - reads as the condition it reports
    """The run ended without one usable answer."""

    exit_code = ExitCode.NOT_MEASURED


class Interrupted(HarnessError):  # noqa: N818 - reads as the condition it reports
    """The user stopped the run; what was measured is kept."""

    exit_code = ExitCode.INTERRUPTED


def nearest(word: str, valid: Iterable[str]) -> str:
    """A hint for a misspelt word: the closest valid name, else all of them."""
    names = sorted(valid)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else "valid names: " + ", ".join(names)
