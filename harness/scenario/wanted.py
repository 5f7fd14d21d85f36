"""What a value in `expect: json:` asks for: equality, "~ regex", "0.5 .. 0.9", ">= 0.5", or "= text" as it is.

A regular expression is looked for in the first 65,536 characters of a text, and one that may take exponential time is
refused: nothing can interrupt a search, and meanwhile the whole generator stands still.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from re import _parser as re_parser  # type: ignore[attr-defined]  # the only way to see what a pattern is made of
from typing import Any

from harness.errors import UsageError
from harness.units import quoted

Test = Callable[[object], bool]

MAX_SEARCHED = 1 << 16  # characters

_BACKTRACKING = (re_parser.MAX_REPEAT, re_parser.MIN_REPEAT)
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
            endless = _repeats_a_repeat(re_parser.parse(pattern))
    except (re.error, RecursionError, OverflowError) as error:
        problem = f"{quoted(pattern)} is not a regular expression: {error}"
        raise UsageError(problem, "what follows ~ is Python syntax: ( [ . * + ? need a \\ in front") from None
    if endless:
        problem = f"{quoted(pattern)} repeats a repetition, which can take for ever on a text that does not match"
        raise UsageError(problem, "repeat once: a+ finds what (a+)+ finds")

    def search(found: object) -> bool:
        if isinstance(found, bool):
            found = json.dumps(found)
        return isinstance(found, str | int | float) and regex.search(str(found)[:MAX_SEARCHED]) is not None

    return search


def _repeats_a_repeat(items: Any) -> bool:
    """Whether some part is like (a+)+: a repetition of what can be an unbounded repetition and nothing else.

    Then a text of n times "a" can be split among the rounds in 2^n ways, or n^k when there are k rounds at most, and a
    search that fails tries them all. There are other ways to write an endless search, which this does not find.
    """
    for kind, argument in items:
        if kind in _BACKTRACKING and argument[1] > 1 and _may_be_one_repeat(argument[2]):
            return True
        if any(_repeats_a_repeat(inner) for inner in _inner(argument)):
            return True
    return False


def _may_be_one_repeat(items: Any) -> bool:
    for at, (kind, argument) in enumerate(items):
        if any(rest.getwidth()[0] for rest in (items[:at], items[at + 1 :])):
            continue  # something beside it cannot be empty and keeps the rounds apart
        if kind in _BACKTRACKING:
            if argument[1] == re_parser.MAXREPEAT or _may_be_one_repeat(argument[2]):
                return True
        elif kind in (re_parser.SUBPATTERN, re_parser.BRANCH) and any(map(_may_be_one_repeat, _inner(argument))):
            return True
    return False


def _inner(argument: Any) -> list[Any]:
    """The patterns within a part of a pattern."""
    if isinstance(argument, re_parser.SubPattern):
        return [argument]
    return [found for part in argument for found in _inner(part)] if isinstance(argument, tuple | list) else []


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
