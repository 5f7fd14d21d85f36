"""The load process: `python -m harness.load.worker`.

stdin: one JSON object (an Order), later maybe a line "enough SECONDS" (of what was planned) or "stop"; the end of stdin
means the parent is gone and stops the run too. stdout: JSON lines of kind progress, warning, failed, end, no others.
Exit codes: 0 ran, 2 the scenario cannot be run (said in a "failed" line), 1 a bug (traceback on stderr).

With `--connect HOST:PORT` it is one of the workers of a master instead: see harness.load.recruit.
"""

from __future__ import annotations

# isort: off
import locust  # noqa: F401 - patches the standard library, so it comes before whatever uses that

# isort: on
import json
import os
import signal
import sys
import traceback

import gevent

from harness.errors import HarnessError
from harness.load import order
from harness.load.engine import Engine
from harness.load.lines import Lines, leave, watch


def _run(lines: Lines) -> int:
    line, rest = order.first_line(0)
    if not line.strip():
        lines.emit({"kind": "failed", "message": "the load process was started without a scenario", "hint": None})
        return 2
    try:
        engine = Engine(order.loaded(json.loads(line)), lines.emit)
        gevent.signal_handler(signal.SIGTERM, engine.stop)
        gevent.spawn(watch, 0, rest, engine.stop, engine.enough)
        end = engine.run()
    except HarnessError as error:
        lines.emit({"kind": "failed", "message": str(error), "hint": error.hint})
        return 2
    lines.emit(end)
    return 0


def main() -> None:
    """Run, and leave at once: a thread or greenlet of user code that hangs must not keep the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent decides
    lines = Lines(os.dup(1))
    os.dup2(2, 1)  # whatever user code prints goes to the log
    try:
        code = _run(lines)
    except BaseException as bug:
        traceback.print_exc()
        lines.emit({"kind": "failed", "message": f"the load process failed: {type(bug).__name__}: {bug}", "hint": None})
        code = 1
    leave(code)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--connect"]:
        from harness.load.recruit import serve

        leave(serve(sys.argv[2]))
    main()
