"""The master of several load processes: `python -m harness.load.master`.

To its parent it is a load process: one JSON object on stdin (an Order and the Crew), JSON lines on stdout, "enough",
"stop" or the end of stdin ends the run. To its workers it is Locust's master: it deals out shares of the arrivals and
the files for them, has all begin at the same instant, and puts together what they say.
Exit codes: 0 ran, 2 the scenario cannot be run, 3 the workers did not come, 1 a bug.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import traceback
from dataclasses import replace
from pathlib import Path

from harness.errors import ExitCode, HarnessError
from harness.load import order as orders
from harness.load.order import Crew, Order

Children = list[subprocess.Popen[bytes]]


def _start(order: Order, crew: Crew) -> Children:
    """The workers on this machine, in the process group of the master; each ends when its stdin does."""
    return [
        _started(Path(order.run_dir) / f"load-{name}.log") for name in range(0 if crew.expected else crew.processes)
    ]


def _started(path: Path) -> subprocess.Popen[bytes]:
    with path.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "harness.load.worker", "--connect", "stdin"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )


def _lead(order: Order, crew: Crew, children: Children, rest: bytes, out: int) -> int:
    # isort: off
    import locust  # noqa: F401 - late: the workers import it meanwhile; and first: it patches the standard library

    # isort: on
    import gevent

    from harness.load.gathering import Gathering
    from harness.load.lines import Lines, watch

    lines = Lines(out)
    try:
        gathering = Gathering(order, crew, children, lines)
        gevent.signal_handler(signal.SIGTERM, gathering.stop)
        gevent.spawn(watch, 0, rest, gathering.stop, gathering.enough)
        end = gathering.run()
    except HarnessError as error:
        lines.emit({"kind": "failed", "message": error.message, "hint": error.hint})
        return error.exit_code
    except BaseException as bug:
        traceback.print_exc()
        lines.emit({"kind": "failed", "message": f"the master failed: {type(bug).__name__}: {bug}", "hint": None})
        return 1
    lines.emit(end)
    return ExitCode.PASSED


def main() -> None:
    """Run, and leave at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent decides
    out = os.dup(1)
    os.dup2(2, 1)
    line, rest = orders.first_line(0)
    if not line.strip():  # the parent died at once
        os._exit(ExitCode.USAGE)
    told = json.loads(line)
    order, crew = orders.loaded(told["order"]), orders.loaded_crew(told["crew"])
    if not crew.expected:
        crew = replace(crew, host="127.0.0.1", port=0, token=secrets.token_hex(16))
    code = _lead(order, crew, _start(order, crew), rest, out)
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
