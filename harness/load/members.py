"""The workers of a master, and what is said about them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from harness.load.remote_chunks import ChunkFile


class State(StrEnum):
    """How far a worker has come."""

    PREPARING = "preparing"
    READY = "ready"
    RUNNING = "running"
    FINISHED = "finished"
    LEFT = "left"  # its own user stopped it
    LOST = "lost"


GONE = (State.LEFT, State.LOST)


@dataclass(slots=True, eq=False)
class Member:
    """One admitted worker. `offset_s`: its clock less the master's, known to within `bound_s`."""

    client_id: str
    index: int
    host: str
    pid: int
    cpus: int
    child: subprocess.Popen[bytes] | None  # when the master started it
    chunks: ChunkFile | None  # when its samples arrive as messages
    state: State = State.PREPARING
    offset_s: float | None = None
    bound_s: float | None = None
    progress: Mapping[str, Any] | None = None
    end: Mapping[str, Any] | None = None
    refusal: tuple[str, str | None] | None = None  # why it cannot run the order, or go on
    warnings: int = 0

    @property
    def name(self) -> str:
        """As in the samples' `worker` column."""
        return str(self.index)

    @property
    def clock_s(self) -> float:
        """Its clock less the master's, as far as that is certain: what is within its bound may be nothing at all."""
        if self.offset_s is None or self.bound_s is None or abs(self.offset_s) <= self.bound_s:
            return 0.0
        return self.offset_s

    @property
    def where(self) -> str:
        """Which process it is."""
        return f"pid {self.pid} on {self.host}"

    def row(self) -> dict[str, Any]:
        """What run.json keeps of it."""
        return {
            "worker": self.name,
            "host": self.host,
            "pid": self.pid,
            "cpus": self.cpus,
            "clock_offset_s": self.offset_s,
            "clock_bound_s": self.bound_s,
            "state": self.state.value,
        }


def lost_warning(member: Member, elapsed_s: float, unsent: int | None) -> dict[str, Any]:
    """The warning of a worker that is gone before the end of the run. `unsent`: how many arrivals it still had."""
    broke = f"broke ({member.refusal[0]})" if member.refusal else "was lost"
    how = "was stopped where it runs" if member.state is State.LEFT else broke
    message = f"worker {member.name} ({member.where}) {how} {max(0.0, elapsed_s):.1f} s into the run: "
    message += f"its {'' if unsent is None else f'{unsent:,} '}arrivals from then on were not sent"
    if member.state is State.LOST:
        message += ", and its last second of samples may be missing"
    hint = f"the other workers went on; see load-{member.name}.log" if member.child else "the other workers went on"
    return {"kind": "warning", "code": "lost_worker", "message": message, "hint": hint, "invalidates": True}
