"""The master's talk with its workers: takes them in, gives orders and files, keeps what they report."""

from __future__ import annotations

import os
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.arrivals import Share, schedule
from harness.load import stack, testimony
from harness.load.admission import Admission, Hello
from harness.load.members import GONE, Member, State, lost_warning
from harness.load.merged import merged_end, merged_progress
from harness.load.order import Crew, Order, dumped
from harness.load.port import Fields, Master
from harness.load.remote_chunks import ChunkFile
from harness.load.shipping import PIECE_BYTES, Shipped
from harness.model import Arrivals

START_IN_S = 0.3
SILENT_S = 6.0
"""A worker that says nothing for so long in the middle of the run is lost."""
SILENT_WHILE_PREPARING_S = 60.0
"""Importing a large library keeps a worker from answering."""
LEFT_SILENT_S = 2.0
"""A worker that left still hands over what was in flight; when it is silent for so long, it has gone."""
_DEAF_S = 2.0
_BLOCKED_S = 20.0
"""A worker started here is known to live: it may be silent for longer, until it is asked to stop."""
_MOST_WARNINGS = 100


class Roster:
    """The admitted workers. `said` collects lines for the parent, to be taken from its left end."""

    def __init__(
        self,
        master: Master,
        order: Order,
        crew: Crew,
        files: Sequence[Shipped],
        children: Sequence[subprocess.Popen[bytes]],
    ) -> None:
        self.members: dict[str, Member] = {}
        self.said: deque[dict[str, Any]] = deque()
        self.began_at: float | None = None
        self._go_at_ns = 0
        self._stop_asked = False
        self._looked_at = time.monotonic()
        self._master = master
        self._order = order
        self._crew = crew
        self._files = {file.path: file for file in files}
        self._children = children
        self._local_only = bool(children)
        self.admission = Admission(master, crew.token, self._welcome)
        for kind, listener in (
            ("ml_ping", self._ping),
            ("ml_fetch", self._fetch),
            ("ml_ready", self._ready),
            ("ml_line", self._line),
            ("ml_samples", self._samples),
            ("ml_over", self._over),
            ("ml_failed", self._failed),
            ("ml_leaving", self._leaving),
        ):
            master.listen(kind, listener)

    # --- in ----------------------------------------------------------------------------------------------

    def _welcome(self, client_id: str, hello: Hello) -> str | None:
        taken = {member.index: member for member in self.members.values()}
        child = next((c for c in self._children if c.pid == hello.pid), None)
        if self._local_only and child is None:
            return "this run has its own workers"
        free = [i for i in range(self._crew.size) if i not in taken]
        if self.began_at is not None or not free:
            return f"the run has its {self._crew.size} workers already"
        index = free[0] if child is None else self._children.index(child)
        chunks = ChunkFile(Path(self._order.run_dir) / f"samples-{index}.arrows") if child is None else None
        member = Member(client_id, index, hello.host, hello.pid, hello.cpus, child, chunks)
        self.members[client_id] = member
        own = replace(
            self._order, worker=member.name, share=Share(index, self._crew.size), max_sessions=self._sessions()
        )
        files = [] if child else [[file.path, file.size, file.sha256] for file in self._files.values()]
        self._master.tell(client_id, "ml_order", order=dumped(own), files=files, local=child is not None)
        return None

    def _sessions(self) -> int | None:
        limit = self._order.max_sessions
        return None if limit is None else max(1, limit // self._crew.size)

    def _ping(self, client_id: str, fields: Fields) -> None:
        self._master.tell(client_id, "ml_pong", at=fields.get("at"), master_ns=time.time_ns())

    def _fetch(self, client_id: str, fields: Fields) -> None:
        file, offset = self._files.get(str(fields.get("path"))), fields.get("offset")
        if file is None or not isinstance(offset, int) or not 0 <= offset <= file.size:
            return
        try:
            with open(file.path, "rb") as source:
                piece = os.pread(source.fileno(), PIECE_BYTES, offset)
        except OSError as error:
            self.admission.refuse(client_id, f"the master cannot read {file.path}: {error.strerror}", None)
            return
        self._master.tell(client_id, "ml_piece", path=file.path, offset=offset, piece=piece)

    def _ready(self, client_id: str, fields: Fields) -> None:
        member = self.members.get(client_id)
        if member is not None and member.state is State.PREPARING:
            try:
                member.offset_s, member.bound_s = testimony.clock(fields.get("offset_s"), fields.get("bound_s"))
            except testimony.Unusable as why:
                self.admission.refuse(client_id, str(why), None)
                self.lose(member)
                return
            member.state = State.READY

    def _failed(self, client_id: str, fields: Fields) -> None:
        member = self.members.get(client_id)
        if member is None:
            return
        hint = fields.get("hint")
        member.refusal = (testimony.sentence(fields.get("message")), testimony.sentence(hint) if hint else None)
        if member.state is State.RUNNING:  # it broke on the way: that is one worker less
            self.lose(member)

    # --- the run -----------------------------------------------------------------------------------------

    def go(self) -> None:
        """Have all workers begin at the same instant."""
        self._go_at_ns = at_ns = time.time_ns() + round(START_IN_S * 1e9)
        self.began_at = time.monotonic() + START_IN_S
        for member in self.members.values():
            member.state = State.RUNNING
            self._master.tell(member.client_id, "ml_go", at_ns=at_ns)

    def ask_to_stop(self) -> None:
        """Have all workers end early."""
        self._stop_asked = True
        for member in self.members.values():
            self._master.tell(member.client_id, "ml_stop")

    def ask_to_end(self, until_s: float) -> None:
        """Have all workers end as planned, but now; see Engine.enough."""
        for member in self.members.values():
            self._master.tell(member.client_id, "ml_enough", until_s=until_s)

    def dismiss(self) -> None:
        """Let all workers go."""
        for member in self.members.values():
            if member.chunks is not None:
                member.chunks.close()
            self._master.tell(member.client_id, "ml_leave")

    def _line(self, client_id: str, fields: Fields) -> None:
        member, line = self.members.get(client_id), fields.get("line")
        if member is None or not isinstance(line, dict) or member.state in GONE:
            return
        if line.get("kind") == "warning":
            self._warn(member, line)
            if line.get("code") == "aborted":  # what is too much for the share of one is too much
                self.ask_to_stop()
        elif line.get("kind") == "progress" and "elapsed_s" in line:
            try:
                member.progress = testimony.progress(line)
            except testimony.Unusable as why:
                self._break(member, str(why))

    def _warn(self, member: Member, line: Mapping[str, Any]) -> None:
        member.warnings += 1
        if member.warnings <= _MOST_WARNINGS:
            self.said.append(testimony.warning(line, f"worker {member.name}"))

    def _break(self, member: Member, why: str) -> None:  # what it says is of no use: it is out, and says no more
        if member.state is State.RUNNING:
            member.refusal = (why, None)
            self.lose(member)

    def _samples(self, client_id: str, fields: Fields) -> None:
        member = self.members.get(client_id)
        if member is None or member.chunks is None or member.state is State.LOST:
            return
        failed_before = member.chunks.failure
        number = fields.get("number")
        below = member.chunks.take(number, fields.get("piece"))
        kind = "ml_again" if isinstance(number, int) and number > below else "ml_taken"
        self._master.tell(client_id, kind, below=below)
        if member.chunks.failure and not failed_before:
            message = f"samples cannot be written ({member.chunks.failure}): the last ones are lost"
            hint = "free some disk space, or choose another place with --out"
            warning = {"code": "recorder", "message": message, "hint": hint, "invalidates": True}
            self._warn(member, warning)
            self.ask_to_stop()

    def _over(self, client_id: str, fields: Fields) -> None:
        member, line = self.members.get(client_id), fields.get("line")
        if member is None or not isinstance(line, dict) or member.state not in (State.RUNNING, State.LEFT):
            return
        clock_ns = round(member.clock_s * 1e9)
        try:
            line = testimony.end(line, self._go_at_ns + clock_ns, time.time_ns() + clock_ns)
        except testimony.Unusable as why:
            self._break(member, str(why))
            return
        line |= {name: at_ns - clock_ns for name, at_ns in line.items() if name.endswith("_ns")}
        if member.state is State.RUNNING:
            member.state = State.FINISHED
            member.end = line
        else:  # it stopped early, the run did not
            member.end = {**line, "interrupted": False}
        self._master.tell(client_id, "ml_leave")

    def _leaving(self, client_id: str, fields: Fields) -> None:
        del fields
        member = self.members.get(client_id)
        if member is not None and member.state not in (State.FINISHED, *GONE):
            self.lose(member, State.LEFT)

    def lose(self, member: Member, how: State = State.LOST) -> None:
        """A worker is gone. Before the start another one may take its place."""
        running, member.state = member.state is State.RUNNING, how
        if running and self.began_at is not None:
            last_at = time.monotonic() if how is State.LEFT else self._master.heard_at[member.client_id]
            elapsed_s = last_at - self.began_at
            self.said.append(lost_warning(member, elapsed_s, self._unsent(member, elapsed_s)))
            if member.progress is not None:
                member.progress = {**member.progress, "in_flight": 0, "backlog": 0, "rate_per_s": 0.0}
        elif member.child is None and member.refusal is None:
            del self.members[member.client_id]
        if how is State.LOST:
            self._master.tell(member.client_id, "ml_leave")

    def _unsent(self, member: Member, elapsed_s: float) -> int | None:
        """Arrivals of its share after an instant of the run; None where that is not planned."""
        load = self._order.scenario.load
        if load.arrivals not in (Arrivals.POISSON, Arrivals.CONSTANT):
            return None
        at_s = schedule(load, Share(member.index, self._crew.size)).at_s
        return len(at_s) - int(at_s.searchsorted(max(0.0, elapsed_s)))

    def find_lost(self) -> None:
        """Notice who ended or fell silent. Time in which we could not listen ourselves counts against nobody."""
        now = time.monotonic()
        if now - self._looked_at > _DEAF_S:
            for client_id in self._master.heard_at:
                self._master.heard_at[client_id] = now
        self._looked_at = now
        for member in list(self.members.values()):
            if member.state in (State.FINISHED, *GONE):
                continue
            if member.child is not None:
                gone = member.child.poll() is not None or self._blocked(member)
            else:
                limit_s = SILENT_S if member.state is State.RUNNING else SILENT_WHILE_PREPARING_S
                gone = self._silent_s(member) > limit_s
            if gone:
                self.lose(member)

    def _blocked(self, member: Member) -> bool:
        """Whether a worker started here hangs. It is ended then: nothing else would end it."""
        limit_s = SILENT_S if self._stop_asked else _BLOCKED_S
        if member.child is None or member.state is not State.RUNNING or self._silent_s(member) <= limit_s:
            return False
        log = Path(self._order.run_dir) / f"load-{member.name}.log"
        member.refusal = (stack.blocked_sentence(stack.of_blocked(member.child.pid, log)), None)
        member.child.kill()
        return True

    def working(self) -> bool:
        """Whether somebody runs, or drains after having left."""
        drains = (m for m in self.members.values() if m.state is State.LEFT and m.end is None)
        return self.count(State.RUNNING) > 0 or any(self._silent_s(m) < LEFT_SILENT_S for m in drains)

    def _silent_s(self, member: Member) -> float:
        return time.monotonic() - self._master.heard_at[member.client_id]

    # --- together ----------------------------------------------------------------------------------------

    def count(self, *states: State) -> int:
        """Members in one of these states."""
        return sum(member.state in states for member in self.members.values())

    def progress(self) -> dict[str, Any] | None:
        """The newest progress of all workers as one line."""
        newest = [member.progress for member in self.members.values() if member.progress is not None]
        return merged_progress(newest) if newest else None

    def end(self) -> dict[str, Any] | None:
        """The end line of the run; None when no worker came to an end."""
        members = sorted(self.members.values(), key=lambda member: member.index)
        ends: dict[str, Mapping[str, Any]] = {member.name: member.end for member in members if member.end is not None}
        if not ends:
            return None
        return {**merged_end(ends), "kind": "end", "workers": [member.row() for member in members]}
