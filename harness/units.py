"""Texts people write and read ("200ms", "20/s", "5 MiB", "25%") <-> numbers: the only place where units change.

Inside the harness a duration is seconds, a rate is per second, a size is bytes and a share is 0..1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal

from harness.errors import UsageError

MISSING = "–"
LONGEST_TEXT = 40
_DIGITS = 3  # significant digits of a formatted number

_NUMBER_AND_UNIT = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+) *([^\s0-9.].*)?")

_SECONDS = {
    **dict.fromkeys(("ns",), Decimal("1e-9")),
    **dict.fromkeys(("us", "µs", "μs"), Decimal("1e-6")),
    **dict.fromkeys(("ms",), Decimal("1e-3")),
    **dict.fromkeys(("s", "sec", "second", "seconds"), Decimal(1)),
    **dict.fromkeys(("m", "min", "minute", "minutes"), Decimal(60)),
    **dict.fromkeys(("h", "hour", "hours"), Decimal(3600)),
}
_PER_SECOND = {
    **dict.fromkeys(("/s", "/sec", "/second"), Decimal(1)),
    **dict.fromkeys(("/m", "/min", "/minute"), Decimal(1) / 60),
    **dict.fromkeys(("/h", "/hour"), Decimal(1) / 3600),
}
_BYTES = {
    "b": Decimal(1),
    **{f"{prefix}b": Decimal(1000) ** power for power, prefix in enumerate("kmgt", 1)},
    **{f"{prefix}ib": Decimal(1024) ** power for power, prefix in enumerate("kmgt", 1)},
}
_PERCENT = {"%": Decimal("0.01")}


class UnitError(UsageError):
    """A number with a unit cannot be read; the message quotes it, the hint shows how it is written."""


def quoted(text: object, limit: int = 60) -> str:
    """Text of unknown origin for a message: in quotes, printable, on one line, cut."""
    whole = str(text)
    kept = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in whole[:limit])
    return f"'{kept}{'…' if len(whole) > limit else ''}'"


# --- reading -----------------------------------------------------------------------------------------------


def parse_duration_s(text: str) -> float:
    """Seconds from "200ms", "1.5 s", "2min", "1h", "800us". Raises UnitError."""
    return float(_read(text, "a duration", _SECONDS, ("s", "ms"), "200ms, 1.5s or 2min"))


def parse_rate_per_s(text: str) -> float:
    """Requests per second from "20/s", "1200/min", "90/h". Raises UnitError."""
    return float(_read(text, "a rate", _PER_SECOND, ("/s", "/min"), "20/s or 1200/min"))


def parse_bytes(text: str) -> int:
    """Bytes from "5 MiB" (1024 twice), "1MB" (1000 twice), "800B", rounded to a whole one. Raises UnitError."""
    return round(_read(text, "a size", _BYTES, ("B", "KiB"), "800B, 1MB or 5MiB", fold_case=True))


def parse_share(text: str) -> float:
    """A share, 0..1, from "25%". Raises UnitError, also beyond 100%."""
    value = _read(text, "a share", _PERCENT, ("%",), "25%", bare_share=True)
    if value > 1:
        raise UnitError(f"{quoted(text.strip())} is more than the whole", "write a share between 0% and 100%")
    return float(value)


def _read(
    text: str,
    kind: str,
    units: Mapping[str, Decimal],
    bare: tuple[str, ...],
    example: str,
    *,
    fold_case: bool = False,
    bare_share: bool = False,
) -> Decimal:
    word = text.strip()
    if len(word) > LONGEST_TEXT:
        raise UnitError(f"{quoted(word, 20)} is too long for {kind}", f"write {example}")
    if re.match(r"[-−] *[0-9.]", word):
        raise UnitError(f"{quoted(word)} is negative, {kind} cannot be", f"write {example}")
    match = _NUMBER_AND_UNIT.fullmatch(word)
    if match is None:
        raise UnitError(f"{quoted(word)} is not {kind}", f"write {example}")
    number, unit = Decimal(match[1]), (match[2] or "").replace(" ", "")
    if not unit:
        percent = f"{(number * 100).normalize():f}%" if bare_share and number < 1 else None
        choices = percent or " or ".join(f"{match[1]}{u}" for u in bare)
        raise UnitError(f"{quoted(word)} has no unit", f"write {choices}")
    factor = units.get(unit.lower() if fold_case else unit)
    if factor is None:
        raise UnitError(f"{quoted(word)} is not {kind}: unknown unit {quoted(match[2])}", f"write {example}")
    return number * factor


# --- writing -----------------------------------------------------------------------------------------------


def format_duration(seconds: float | None, *, trim: bool = False) -> str:
    """Three significant digits in us, ms, s or min: "12.3 ms". `trim` drops zeros, for what was set: "30 s"."""
    steps = ((1e-3, 1e-6, "us"), (1.0, 1e-3, "ms"), (120.0, 1.0, "s"), (math.inf, 60.0, "min"))
    if seconds == 0:
        return "0 s"
    return _scaled(seconds, steps, trim=trim)


def format_bytes(size: float | None) -> str:
    """Three significant digits in B, KiB, MiB, GiB or TiB: "1.25 MiB"; zeros at the end are dropped."""
    steps = [(1024.0 ** (power + 1), 1024.0**power, unit) for power, unit in enumerate(("B", "KiB", "MiB", "GiB"))]
    if size == 0:
        return "0 B"
    return _scaled(size, (*steps, (math.inf, 1024.0**4, "TiB")), trim=True)


def format_rate(per_s: float | None) -> str:
    """Three significant digits: "12.5/s"; rates below one a second per minute or hour if that is shorter: "6/min"."""
    if per_s is None or math.isnan(per_s):
        return MISSING
    per = {"s": 1.0} if per_s == 0 or abs(per_s) >= 1 else {"s": 1.0, "min": 60.0, "h": 3600.0}
    numbers = {unit: _digits(per_s * factor, trim=True) for unit, factor in per.items()}
    unit = min(numbers, key=lambda unit: len(numbers[unit]))
    return f"{numbers[unit]}/{unit}"


def format_share(share: float | None) -> str:
    """Percent with three significant digits: "25.3%". Almost all is never printed as all, nor a little as none."""
    if share is None or math.isnan(share):
        return MISSING
    if 0 < share < 1e-4:
        return "<0.01%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{_digits(share * 100, trim=True)}%"


def format_count(count: int | None) -> str:
    """A whole number with thousands separated: "12,345"."""
    return MISSING if count is None else f"{count:,}"


def _scaled(value: float | None, steps: tuple[tuple[float, float, str], ...], *, trim: bool) -> str:
    """`value` in the first unit of `steps` (below this limit, divisor, unit) it stays under once rounded."""
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    rounded = abs(_significant(value))
    _, divisor, unit = next(step for step in steps if rounded < step[0])
    return f"{_digits(value / divisor, trim=trim)} {unit}"


def _significant(value: float) -> float:
    return float(f"{value:.{_DIGITS - 1}e}")


def _digits(value: float, *, trim: bool) -> str:
    """Three significant digits without an exponent; whole numbers keep all of theirs: "0.0123", "1.50", "1234"."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(_significant(value))))
    text = f"{value:.{max(0, _DIGITS - 1 - magnitude)}f}"
    return text.rstrip("0").rstrip(".") if trim and "." in text else text
