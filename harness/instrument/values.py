"""Whatever a service gives as a value -> something small that a span can carry.

It happens while the service waits, so its cost must not grow with the value.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterable
from numbers import Integral

INT64 = range(-(2**63), 2**63)
LONGEST_NAME = 255  # characters
LONGEST = 4_096
"""Characters of a value, where OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT does not say less."""
MOST_ITEMS = 100
"""Of a collection that is written out; of a larger one the size is told."""
UNPRINTABLE = "<unprintable>"

Value = str | bool | int | float


def text(value: str) -> str:
    """A string protobuf accepts: one lone surrogate would lose the whole batch."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def longest() -> int:
    """Characters that are kept of a value."""
    told = os.environ.get("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "").strip()
    return min(int(told), LONGEST) if told.isdecimal() and len(told) < 10 else LONGEST


_longest = longest()


def name(value: object) -> str:
    """A span's name."""
    return text(value[:LONGEST_NAME]) if isinstance(value, str) else text(_printed(value)[:LONGEST_NAME])


def are_small(values: Iterable[object]) -> bool:
    """Whether all can be kept as they are, which most can; long text too, since it is cut where it is sent."""
    for value in values:
        kind = type(value)
        if kind is int:
            if value not in INT64:
                return False
        elif kind is not str and kind is not float and kind is not bool:
            return False
    return True


def small(value: object) -> Value:
    """Text and numbers stay what they are; text is cut, and everything else becomes text."""
    if isinstance(value, str):
        return text(value[:_longest])
    if isinstance(value, bool | float):
        return value
    try:
        if isinstance(value, Integral) and int(value) in INT64:
            return int(value)
    except Exception:
        return UNPRINTABLE
    return text(_printed(value)[:_longest])


def _printed(value: object) -> str:
    try:
        if isinstance(value, int) and value.bit_length() > LONGEST:
            return f"<int of {value.bit_length()} bits>"  # the interpreter refuses to write more than 4,300 digits
        if hasattr(type(value), "__len__"):
            return _short.repr(value) if type(value) in _CONTAINERS else _sized(value) or str(value)
        return str(value)
    except Exception:  # it is the service's code
        return UNPRINTABLE


class _Short(reprlib.Repr):
    """Without the sorting of sets and dictionaries, and with the size of what is large, at every depth."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxtuple = self.maxlist = self.maxdict = self.maxset = self.maxfrozenset = self.maxdeque = 20
        self.maxstring = self.maxother = 100

    def repr1(self, x: object, level: int) -> str:
        if type(x) is not str and hasattr(type(x), "__len__"):
            told = _sized(x)
            if told is not None:
                return told
        return super().repr1(x, level)


def _sized(value: object) -> str | None:
    """The size of a large collection; None for a small one."""
    length = len(value)  # type: ignore[arg-type]
    return f"<{type(value).__name__} of {length}>" if length > MOST_ITEMS else None


_CONTAINERS = frozenset({list, tuple, dict, set, frozenset})
_short = _Short()
