"""What a value in `expect: json:` asks for: equality, "~ regex", "0.5 .. 0.9", ">= 0.5", or "= text" as it is."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache

from harness.errors import UsageError
from harness.units import quoted

Test = Callable[[object], bool]

_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_LIMIT = re.compile(rf"(<=|>=|<|>)\s*({_NUMBER})")
_RANGE = re.compile(rf"({_NUMBER})\s*\.\.\s*({_NUMBER})")
_NEARLY_LIMIT = re.compile(r"(<=|>=)\s*\S|[<>]\s+\S")
_NEARLY_RANGE = re.compile(rf"{_NUMBER}\s*\.\.\s|.*\s\.\.\s*{_NUMBER}$", re.S)


def wanted_test(wanted: object) -> Test:
    """The test that a value found in an answer has to pass. Raises UsageError for a text that cannot be read."""
    return _text_test(wanted) if isinstance(wanted, str) else lambda found: same(wanted, found)


@lru_cache(maxsize=1024)
def _text_test(wanted: str) -> Test:
    if wanted.startswith("~"):
        return _matches(wanted[1:].strip())
    if wanted.startswith("= "):
        literal = wanted[2:]
        return lambda found: found == literal
    if limit := _LIMIT.fullmatch(wanted.strip()):
        return _limit(limit[1], float(limit[2]))
    if both := _RANGE.fullmatch(wanted.strip()):
        return _range(wanted, float(both[1]), float(both[2]))
    if _NEARLY_LIMIT.match(wanted) or _NEARLY_RANGE.match(wanted):
        hint = f'write ">= 0.5" or "0.5 .. 0.9"; a text that only looks so: "= {wanted}"'
        raise UsageError(f"{quoted(wanted)} is no limit and no range of numbers", hint)
    return lambda found: found == wanted


def _limit(sign: str, limit: float) -> Test:
    compare: dict[str, Callable[[float], bool]] = {
        "<": lambda n: n < limit,
        "<=": lambda n: n <= limit,
        ">": lambda n: n > limit,
        ">=": lambda n: n >= limit,
    }
    holds = compare[sign]
    return lambda found: (number := _number(found)) is not None and holds(number)


def _range(wanted: str, low: float, high: float) -> Test:
    if low > high:
        raise UsageError(f"{quoted(wanted)} is an empty range", f'write "{high:g} .. {low:g}"')
    return lambda found: (number := _number(found)) is not None and low <= number <= high


def _number(found: object) -> float | None:
    """None for everything that is no number in JSON: true is none, nor is NaN."""
    if isinstance(found, bool) or not isinstance(found, int | float) or math.isnan(found):
        return None
    return found


def _matches(pattern: str) -> Test:
    try:
        with warnings.catch_warnings(action="ignore"):
            regex = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        problem = f"{quoted(pattern)} is not a regular expression: {error}"
        raise UsageError(problem, "what follows ~ is Python syntax: ( [ . * + ? need a \\ in front") from None

    def search(found: object) -> bool:
        if isinstance(found, bool):
            found = json.dumps(found)
        return isinstance(found, str | int | float) and regex.search(str(found)) is not None

    return search


def same(wanted: object, found: object) -> bool:
    """Equal as JSON values: 1 is 1.0, but true is not 1, at any depth."""
    if isinstance(wanted, Mapping):
        if not isinstance(found, Mapping) or wanted.keys() != found.keys():
            return False
        return all(same(value, found[key]) for key, value in wanted.items())
    if isinstance(wanted, list | tuple):
        if not isinstance(found, list | tuple) or len(wanted) != len(found):
            return False
        return all(same(ours, theirs) for ours, theirs in zip(wanted, found, strict=True))
    return isinstance(wanted, bool) == isinstance(found, bool) and wanted == found
