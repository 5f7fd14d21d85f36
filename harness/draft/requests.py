"""A request as it is drafted: what will stand in the scenario, and why it may not be sent yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FILL_ME_IN = "FILL-ME-IN"


@dataclass(slots=True)
class Drafted:
    """One request. `fields` are its keys in the scenario; texts in them are escaped, except for `${VARIABLES}`."""

    http: str
    name: str
    notes: list[str] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    fill: list[str] = field(default_factory=list)  # what has to be filled in before it can be sent
    left_out: str | None = None  # why it is not sent although it could be


def literal(value: Any) -> Any:
    """The value such that the scenario's `${VARIABLES}` leave it alone: `$$` is a `$`. Keys are never expanded."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {key: literal(item) for key, item in value.items()}
    return [literal(item) for item in value] if isinstance(value, list) else value
