"""The master of several load processes: `python -m harness.load.master`.

To its parent it is a load process: one JSON object on stdin (an Order and the Crew), JSON lines on stdout, "stop" or
the end of stdin ends the run. To its workers it is Locust's master: it deals out shares of the arrivals and the files
for them, has all begin at the same instant, and puts together what they say.
Exit codes: 0 ran, 2 the scenario cannot be run, 3 the workers did not come, 1 a bug.
"""

from __future__ import annotations

# isort: off
import locust  # noqa: F401 - patches the standard library, so it comes before whatever uses that

# isort: on
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from locust.env import Environment

from harness.errors import ExitCode, HarnessError, Interrupted, NothingMeasured
from harness.load import order as orders
from harness.load.lines import Lines, first_line, leave, watch
from harness.load.members import State
from harness.load.order import Crew, Order
from harness.load.port import Master
from harness.load.roster import Roster
from harness.load.shipping import ship_list

PROGRESS_S = 0.5
_TURN_S = 0.1
_CHILDREN_S = 120.0  # for processes started here to come up
_GOODBYE_S = 5.0

Children = list[subprocess.Popen[bytes]]


class Gathering:
    """One run of a master, from the first worker to the last word."""

    def __init__(self, order: Order, crew: Crew, lines: Lines) -> None:
        """Raises UsageError when the address is taken or the files are too many."""
        self._crew = crew = crew if crew.expected else replace(crew, port=0, token=secrets.token_hex(16))
        self._order = order
        self._lines = lines
        self._stopped = Event()
        self._asked = False
        files = gevent.get_hub().threadpool.apply(ship_list, (order.scenario,)) if crew.expected else []
        self._master = Master(Environment(), crew.host, crew.port)
        self._children: Children = []
        if not crew.expected:
            self._children = [_start(name, self._master.server.port, order, crew) for name in range(crew.processes)]
        self._roster = Roster(self._master, order, crew, files, self._children)

    def stop(self) -> None:
        """End the run early."""
        self._stopped.set()

    def run(self) -> dict[str, Any]:
        """The end line. Raises HarnessError when the run cannot begin or no worker came to an end."""
        try:
            self._gather()
            self._roster.go()
            self._follow()
            end = self._roster.end()
            if end is None:
                raise NothingMeasured("no worker came to the end of the run", "see load-*.log in the run folder")
            return end
        finally:
            self._roster.dismiss()
            self._say()
            gevent.sleep(0.05)
            _end(self._children)
            self._master.server.close()  # what is queued for workers far away goes out meanwhile

    def _gather(self) -> None:
        """Until every worker is ready."""
        wait_s = self._crew.max_wait_s if self._crew.expected else _CHILDREN_S
        deadline = time.monotonic() + wait_s
        shown = ""
        while self._roster.count(State.READY) < self._crew.size:
            self._turn()
            if self._stopped.is_set():
                raise Interrupted("interrupted before all workers were there")
            self._refuse_failures()
            here = len(self._roster.members)
            if here < self._crew.size and time.monotonic() > deadline:
                raise self._too_few(here, wait_s)
            text = self._waiting(here)
            if text != shown:
                shown = text
                said = {"message": text} if self._crew.expected else {}
                self._lines.emit({"kind": "progress", "phase": "waiting", **said})

    def _refuse_failures(self) -> None:
        for member in self._roster.members.values():
            if member.refusal is not None:
                message, hint = member.refusal
                who = "" if member.child else f"worker {member.name} ({member.where}): "
                raise HarnessError(who + message, hint)
        for name, child in enumerate(self._children):
            if child.poll() is not None:
                raise NothingMeasured(
                    f"worker {name} (pid {child.pid}) ended with exit code {child.returncode} before the run began",
                    f"see load-{name}.log in the run folder",
                )

    def _waiting(self, here: int) -> str:
        refused = self._roster.admission
        text = f"waiting for workers {here}/{self._crew.size}"
        if here == self._crew.size:
            return f"{text}: they prepare"
        if self._crew.expected:
            host = f"[{self._crew.host}]" if ":" in self._crew.host else self._crew.host
            text += f" on {host}:{self._master.server.port}"
        return f"{text} ({refused.refused} refused: {refused.last_refusal})" if refused.refused else text

    def _too_few(self, here: int, wait_s: float) -> NothingMeasured:
        admission = self._roster.admission
        message = f"{here} of {self._crew.size} workers came within {wait_s:g} s"
        if admission.refused:
            message += f", {admission.refused} were refused: {admission.last_refusal}"
        hint = f"start each with `harness worker --master HOST:{self._master.server.port}`"
        return NothingMeasured(message, f"{hint}, or wait longer with --expect-workers-max-wait")

    def _follow(self) -> None:
        """Until no worker runs any more."""
        shown_at = 0.0
        while self._roster.working():
            self._turn()
            if self._stopped.is_set() and not self._asked:
                self._asked = True
                self._roster.ask_to_stop()
            if time.monotonic() - shown_at >= PROGRESS_S:
                shown_at = time.monotonic()
                progress = self._roster.progress()
                if progress is not None:
                    self._lines.emit(progress)

    def _turn(self) -> None:
        gevent.sleep(_TURN_S)
        self._roster.find_lost()
        self._say()

    def _say(self) -> None:
        while self._roster.said:
            self._lines.emit(self._roster.said.popleft())


def _start(name: int, port: int, order: Order, crew: Crew) -> subprocess.Popen[bytes]:
    """A worker on this machine, in the process group of the master; it ends when its stdin does."""
    with (Path(order.run_dir) / f"load-{name}.log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "harness.load.worker", "--connect", f"127.0.0.1:{port}", "--local"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, "MLHARNESS_TOKEN": crew.token},
        )


def _end(children: Children) -> None:
    deadline = time.monotonic() + _GOODBYE_S
    for child in children:
        if child.stdin is not None:
            child.stdin.close()
    for child in children:
        try:
            child.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _run(lines: Lines) -> int:
    line, rest = first_line(0)
    if not line.strip():
        lines.emit({"kind": "failed", "message": "the master was started without a scenario", "hint": None})
        return ExitCode.USAGE
    told = json.loads(line)
    try:
        gathering = Gathering(orders.loaded(told["order"]), orders.loaded_crew(told["crew"]), lines)
        gevent.signal_handler(signal.SIGTERM, gathering.stop)
        gevent.spawn(watch, 0, rest, gathering.stop)
        end = gathering.run()
    except HarnessError as error:
        lines.emit({"kind": "failed", "message": error.message, "hint": error.hint})
        return error.exit_code
    lines.emit(end)
    return ExitCode.PASSED


def main() -> None:
    """Run, and leave at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent decides
    lines = Lines(os.dup(1))
    os.dup2(2, 1)
    try:
        code = _run(lines)
    except BaseException as bug:
        traceback.print_exc()
        lines.emit({"kind": "failed", "message": f"the master failed: {type(bug).__name__}: {bug}", "hint": None})
        code = 1
    leave(code)


if __name__ == "__main__":
    main()
