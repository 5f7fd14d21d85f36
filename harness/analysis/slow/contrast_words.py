"""Attributes of requests as people read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from harness.analysis.slow.association import Counts
from harness.analysis.slow.attributes import FIRST_REQUESTS
from harness.units import format_bytes, format_count, format_duration


@dataclass(frozen=True, slots=True)
class Cut:
    """All numbers from this one on, upwards or downwards."""

    number: float
    or_more: bool


@dataclass(frozen=True, slots=True)
class Kind:
    """One value of a few."""

    value: object


Value: TypeAlias = Cut | Kind

SYMPTOMS = {
    "in_flight": "more requests were in flight, as they are when a queue forms: a sign of it, not what made it",
    "since_start_s": "when a request was sent is no cause: look at what changed in the service with time",
    "loop_lag_s": "the event loop was late in the same second, for everybody: look at what held it",
}
"""What goes with slow requests without having made them slow, and the words that say so."""
FIXED = ("bytes_sent", "bytes_received", "step")
"""Numbers that are kinds when there are few of them, as payloads read from files are."""

_NUMBERS: dict[str, Callable[[float], str]] = {
    "bytes_sent": format_bytes,
    "bytes_received": format_bytes,
    "step": lambda step: f"{step + 1:.0f}",  # people count from 1
    "since_start_s": format_duration,
    "loop_lag_s": format_duration,
    "gc_pause_s": format_duration,
}
_DID = {
    "bytes_sent": "sent {}",
    "bytes_received": "got an answer of {}",
    "name": "were of the kind {}",
    "step": "were sent in load step {}",
    "worker": "were sent by load process {}",
    "process": "were served by {}",
    "in_flight": "met {} others in flight",
    "batch_size": "were in a batch of {}",
    "model_calls": "called models {} times",
    "models": "called {}",
    "since_start_s": "were sent {} after the first",
    "loop_lag_s": "met an event loop {} late",
    "gc_pause_s": "were served in a second with {} of garbage collection",
}
_FLAGS = {
    "new_connection": ("opened a connection", "used an open connection"),
    "resent": ("were sent twice", "were sent once"),
    "first_of_process": (
        f"were among the first {FIRST_REQUESTS} that their service process served",
        "were not among the first that their service process served",
    ),
}


def value_text(attribute: str, value: Value) -> str:
    """E.g. "1.2 MiB or more", "large", "yes"."""
    if isinstance(value, Cut):
        return f"{_number(attribute, value.number)} or {'more' if value.or_more else 'less'}"
    if isinstance(value.value, bool | np.bool_):
        return "yes" if value.value else "no"
    if isinstance(value.value, int | float):
        return _number(attribute, float(value.value))
    return str(value.value)


def _number(attribute: str, number: float) -> str:
    write = _NUMBERS.get(attribute)
    if write is not None:
        return write(number)
    return format_count(int(number)) if number == int(number) else f"{number:.3g}"


def sentence(attribute: str, value: Value, counts: Counts, with_s: float, without_s: float | None) -> str:
    """The contrast in words, with its counts and what it goes with in the mean latency."""
    slow, slow_of, typical, typical_of = map(format_count, counts)
    told = (
        f"{slow} of {slow_of} slow requests {_did(attribute, value)}, of the typical ones {typical} of {typical_of}; "
        f"with it {format_duration(with_s)} on average"
    )
    if without_s is not None:
        told += f", without {format_duration(without_s)}"
    note = SYMPTOMS.get(attribute)
    return f"{told} ({note})." if note else f"{told}."


def _did(attribute: str, value: Value) -> str:
    if attribute in _FLAGS and isinstance(value, Kind):
        return _FLAGS[attribute][0 if value.value else 1]
    return _DID.get(attribute, f"had {attribute} {{}}").format(value_text(attribute, value))
