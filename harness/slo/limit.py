"""The right side of an SLO: which way the limit is, and how much it is."""

from __future__ import annotations

import re
from decimal import Decimal

from harness.slo.names import directions_of, unit_of
from harness.slo.wrong import SHAPE, next_at, wrong
from harness.units import LONGEST_TEXT, UnitError, parse_bytes, parse_duration_s, parse_rate_per_s, parse_share, quoted

_OP = re.compile(r"\s*([<>=!≤≥]+)")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+")
_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*%")
_JOINED_OTHERWISE = re.compile(r",(?![0-9])|[;&|<>=≤≥()]|\b(?:or|OR|Or|AND|And|if|unless)\b")
_EXAMPLES = {"s": "1s or 200ms", "ratio": "a share such as 2%", "1/s": "20/s", "B": "2GiB", "": "500"}


def read_op(text: str, at: int, statistic: str, subject: str | None, start: int, stop: int) -> tuple[str, int]:
    """(comparison, what is behind it). `stop`: where the clause ends. Raises SloError."""
    allowed = directions_of(statistic, subject)
    match = _OP.match(text, at)
    if match is None:
        wanted = " or ".join(allowed)
        raise wrong(text, next_at(text, at), "a comparison is missing", f"write {wanted} and a limit here", start)
    op = {"≤": "<=", "≥": ">="}.get(match[1], match[1])
    place = match.start(1)
    if op not in ("<", "<=", ">", ">="):
        raise wrong(text, place, f"{quoted(match[1], 30)} is not a comparison", "write one of < <= > >=", start)
    if op[0] not in allowed:
        what = statistic if subject is None or statistic != "share" else f"{statistic}({subject})"
        problem = f"{what} needs {'a lower' if allowed == '>' else 'an upper'} limit, {match[1]} sets the other one"
        turned = op.translate(str.maketrans("<>", "><"))
        hint = f"write {text[start:place].strip()} {turned} {text[match.end() : stop].strip()[:30]}".rstrip()
        raise wrong(text, place, problem, hint, start)
    return op, match.end()


def read_limit(text: str, at: int, statistic: str, subject: str | None, op: str, start: int, stop: int) -> float:
    """The limit in the unit of the statistic. Raises SloError."""
    unit = unit_of(statistic, subject)
    written, place = text[at:stop], next_at(text, at)
    if not written.strip():
        example = "0.5" if statistic == "cv" else "80%" if subject == "cpu" else _EXAMPLES[unit]
        raise wrong(text, min(place, stop), "the limit is missing", f"write {example}", start)
    other = _JOINED_OTHERWISE.search(written)
    if other is not None:
        hint = "one limit ends here: several are joined by and, each in full"
        raise wrong(text, at + other.start(), f"{quoted(other[0])} is not part of a limit", hint, start)
    try:
        limit = _number(written.strip(), statistic, subject, unit)
    except UnitError as error:
        raise wrong(text, place, error.message, error.hint or SHAPE, start) from None
    senseless = _senseless(statistic, subject, op, limit, unit)
    if senseless is not None:
        raise wrong(text, place, *senseless, start)
    return limit


def _number(word: str, statistic: str, subject: str | None, unit: str) -> float:
    if unit == "s":
        return parse_duration_s(word)
    if unit == "1/s":
        return parse_rate_per_s(word)
    if unit == "B":
        return float(parse_bytes(word))
    if unit == "":
        return _plain(word, whole=statistic == "count")
    return _of_a_core(word) if subject == "cpu" else parse_share(word)


def _plain(word: str, *, whole: bool) -> float:
    """A number without a unit."""
    if len(word) <= LONGEST_TEXT and _NUMBER.fullmatch(word) and not (whole and Decimal(word) % 1):
        return float(word)
    kind, example = ("a whole number without a unit", "500") if whole else ("a number without a unit", "0.5")
    percent = _PERCENT.fullmatch(word) if len(word) <= LONGEST_TEXT and not whole else None
    if percent:
        example = f"{(Decimal(percent[1]) / 100).normalize():f}"
    raise UnitError(f"{quoted(word, 30)} is not {kind}", f"write {example}")


def _of_a_core(word: str) -> float:
    """Processor time as a share of one core, which several threads can exceed: 250% is 2.5."""
    percent = _PERCENT.fullmatch(word) if len(word) <= LONGEST_TEXT else None
    if percent:
        return float(Decimal(percent[1]) / 100)
    problem = "has no unit" if _NUMBER.fullmatch(word) else "is not a share of one core"
    raise UnitError(f"{quoted(word, 30)} {problem}", "write 80%; two busy cores are 200%")


def _senseless(statistic: str, subject: str | None, op: str, limit: float, unit: str) -> tuple[str, str] | None:
    """(problem, hint) of a limit that decides nothing."""
    what = statistic if subject is None else f"{statistic}({subject})"
    is_whole = unit == "ratio" and subject != "cpu" and limit == 1
    if op == ">" and is_whole:
        return "it can never be met", f"write {what} >= 100%"
    if op == "<" and limit == 0:
        none = {"error_rate": "0%", "count": "0"}.get(statistic)
        return "it can never be met", f"write {what} <= {none}" if none else "give a limit above zero"
    if op == "<=" and limit == 0 and statistic not in ("error_rate", "count"):
        return "it can never be met", "give a limit above zero"
    if (op == ">=" and limit == 0) or (op == "<=" and is_whole):
        return "it can never fail", "give a limit that says something"
    return None
