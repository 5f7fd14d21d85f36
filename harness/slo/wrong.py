"""The refusal of an SLO: what is wrong, what to write, and a caret under the very character."""

from __future__ import annotations

import re
import unicodedata

from harness.slo.words import SloError
from harness.units import quoted

SHAPE = "an SLO reads like p95(latency) < 1s, share(transfer) < 25% or error_rate < 2%"
AND = re.compile(r"\s+and(?=\s|$)")
_BEFORE, _AFTER = 60, 40


def wrong(text: str, at: int, problem: str, hint: str, start: int = 0) -> SloError:
    """The hint carries the text around character `at`; the message quotes the clause that starts at `start`."""
    shown = "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text.rstrip())
    at = min(at, len(shown))
    cut = max(0, at - _BEFORE)
    joined = AND.search(text, max(at, start + 1))
    clause = quoted(shown[start : joined.start() if joined else None].strip())
    indent = " " * sum(_width(c) for c in shown[cut:at])
    return SloError(f"SLO {clause}: {problem}", f"{hint}\n  {shown[cut : at + _AFTER]}\n  {indent}^")


def next_at(text: str, at: int) -> int:
    """The first character at or after `at` that is not blank."""
    return at + len(text[at:]) - len(text[at:].lstrip())


def _width(c: str) -> int:
    """Columns of a terminal."""
    if unicodedata.combining(c):
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1
