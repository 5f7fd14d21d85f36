"""What a load process is told to do, as it travels to it: one JSON object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from harness.arrivals import ALL, Share
from harness.model import Scenario


@dataclass(frozen=True, slots=True)
class Order:
    """One load process's part of a run. `worker` names it in samples and files; `max_sessions` caps its pool."""

    scenario: Scenario
    run_dir: str
    run_id: str
    worker: str = "0"
    share: Share = ALL
    max_sessions: int | None = None


_ORDER = TypeAdapter(Order)


def dumped(order: Order) -> dict[str, Any]:
    """The order as a JSON object."""
    content: dict[str, Any] = _ORDER.dump_python(order, mode="json")
    return content


def loaded(content: object) -> Order:
    """The order again. Raises pydantic.ValidationError."""
    return _ORDER.validate_python(content)
