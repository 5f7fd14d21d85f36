"""What a load process is told to do, as it travels to it: one JSON object."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from harness.arrivals import ALL, Share
from harness.model import Scenario

MASTER_PORT = 5557


@dataclass(frozen=True, slots=True)
class Order:
    """One load process's part of a run. `worker` names it in samples and files; `max_sessions` caps its pool."""

    scenario: Scenario
    run_dir: str
    run_id: str
    worker: str = "0"
    share: Share = ALL
    max_sessions: int | None = None


@dataclass(frozen=True, slots=True)
class Crew:
    """Who sends the load: `processes` on this machine, or, when `expected` is not 0, so many workers from anywhere.

    Expected workers are waited for `max_wait_s` at `host`:`port`, and have to know `token` when there is one.
    """

    processes: int = 1
    expected: int = 0
    max_wait_s: float = 60.0
    host: str = "127.0.0.1"
    port: int = MASTER_PORT
    token: str = field(default="", repr=False)

    @property
    def size(self) -> int:
        """Shares that the arrivals are dealt to."""
        return self.expected or self.processes


ALONE = Crew()
_ORDER = TypeAdapter(Order)
_CREW = TypeAdapter(Crew)


def dumped(order: Order) -> dict[str, Any]:
    """The order as a JSON object."""
    content: dict[str, Any] = _ORDER.dump_python(order, mode="json")
    return content


def loaded(content: object) -> Order:
    """The order again. Raises pydantic.ValidationError."""
    return _ORDER.validate_python(content)


def dumped_crew(crew: Crew) -> dict[str, Any]:
    """The crew as a JSON object."""
    content: dict[str, Any] = _CREW.dump_python(crew, mode="json")
    return content


def loaded_crew(content: object) -> Crew:
    """The crew again. Raises pydantic.ValidationError."""
    return _CREW.validate_python(content)


def first_line(fd: int) -> tuple[bytes, bytes]:
    """The first line of stdin and what came after it; blocks, before there is anything to hold up."""
    read = b""
    while b"\n" not in read:
        chunk = os.read(fd, 1 << 16)
        if not chunk:
            break
        read += chunk
    line, _, rest = read.partition(b"\n")
    return line, rest
