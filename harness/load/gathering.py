"""One run of a master: from the first worker to the last word."""

from __future__ import annotations

import contextlib
import subprocess
import time
from typing import Any

import gevent
from gevent.event import Event
from locust.env import Environment

from harness.errors import HarnessError, Interrupted, NothingMeasured
from harness.load.lines import Lines
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
    """The master of `crew`; `children` are the workers it has started itself, waiting for its address on stdin."""

    def __init__(self, order: Order, crew: Crew, children: Children, lines: Lines) -> None:
        """Raises UsageError when the address is taken or the files are too many."""
        self._crew = crew
        self._children = children
        self._lines = lines
        self._stopped = Event()
        self._asked = False
        files = gevent.get_hub().threadpool.apply(ship_list, (order.scenario,)) if crew.expected else []
        self._master = Master(Environment(), crew.host, crew.port)
        for child in children:
            _told(child, f"127.0.0.1:{self._master.server.port} {crew.token}")
        self._roster = Roster(self._master, order, crew, files, self._children)

    def stop(self) -> None:
        """End the run early."""
        self._stopped.set()

    def enough(self, until_s: float) -> None:
        """Have all workers end as planned, but now."""
        self._roster.ask_to_end(until_s)

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
            here = len(self._roster.members)
            text = self._waiting(here)
            if text != shown:
                shown = text
                said = {"message": text} if self._crew.expected else {}
                self._lines.emit({"kind": "progress", "phase": "waiting", **said})
            if here < self._crew.size and time.monotonic() > deadline:
                raise self._too_few(here, wait_s)
            self._turn()
            if self._stopped.is_set():
                raise Interrupted("interrupted before all workers were there")
            self._refuse_failures()

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


def _told(child: subprocess.Popen[bytes], line: str) -> None:
    if child.stdin is not None:
        with contextlib.suppress(OSError):  # it died already: that is noticed where all are looked after
            child.stdin.write(line.encode() + b"\n")
            child.stdin.flush()
