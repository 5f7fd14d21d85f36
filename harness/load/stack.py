"""Where a load process hangs that answers no more: it prints its stack on a signal, which needs no help of Python."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import re
import signal
import sysconfig
import time
from pathlib import Path

_SIGNAL = signal.SIGUSR1
_WITHIN_S = 1.0
_TAIL_BYTES = 20_000
_FRAME = re.compile(r'^  File "([^"\n]{1,300})", line (\d{1,7}) in (\S{1,100})$', re.MULTILINE)
_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_OURS = str(Path(__file__).parent.parent)
_BLOCKED = "the generator is blocked: code in a check or a task does not return"


def say_when_asked() -> None:
    """Have this process print its stack on stderr when somebody wants to know."""
    faulthandler.register(_SIGNAL, file=2, all_threads=False)


def of_blocked(pid: int, log: Path) -> str | None:
    """Where the load process `pid`, whose stderr is `log`, is now; None when it does not say.

    To be asked only of a process that is going to be killed: one that has not come far ends by it.
    """
    try:
        size = log.stat().st_size
        os.kill(pid, _SIGNAL)
    except OSError:
        return None
    deadline = time.monotonic() + _WITHIN_S
    text = ""
    while time.monotonic() < deadline and "\n  File " not in text:
        time.sleep(0.05)
        with contextlib.suppress(OSError), log.open("rb") as said:
            said.seek(size)
            text = said.read(_TAIL_BYTES).decode("utf-8", "replace")
    return _place(text)


def _place(text: str) -> str | None:
    """The innermost frame in code of the user, else the innermost of all."""
    frames = _FRAME.findall(text)
    own = [frame for frame in frames if not frame[0].startswith((*_LIBRARIES, _OURS, "<"))]
    for path, line, function in (own or frames)[:1]:
        return f"{function} in {Path(path).name}, line {line}"
    return None


def blocked_sentence(place: str | None) -> str:
    """What is wrong with a load process that hangs at `place`."""
    return f"{_BLOCKED} ({place})" if place else _BLOCKED
