"""What a worker may say: its lines of progress, its end and its clock, checked before anyone relies on them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

_MOST_NAMES = 1000
_MOST_DOUBTS = 50
_APART_NS = 3600 * 1_000_000_000
_FURTHEST_CLOCK_S = 4e9  # a machine without a battery begins in 1970

_Count = Annotated[int, Field(strict=True, ge=0, lt=2**53)]
_Figure = Annotated[float, Field(strict=True, ge=-1e12, le=1e12, allow_inf_nan=False)]
_Positive = Annotated[float, Field(strict=True, ge=0, le=1e12, allow_inf_nan=False)]
_Instant = Annotated[int, Field(strict=True, ge=0, lt=2**62)]
_Word = Annotated[str, Field(strict=True, max_length=100)]
_Sentence = Annotated[str, Field(strict=True, max_length=1000)]
_Counts = Annotated[dict[_Sentence, _Count], Field(max_length=_MOST_NAMES)]
_Flag = Annotated[bool, Field(strict=True)]


@dataclass(frozen=True, slots=True)
class _Reading:
    """As the reading that is judged; its worker is not for the worker to say."""

    name: Annotated[str, Field(strict=True, min_length=1, max_length=100)]
    value: _Figure | None
    unit: _Word
    suspect: _Figure | None
    invalid: _Figure | None
    meaning: _Sentence
    advice: _Sentence = ""
    absent: _Sentence = ""


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A reading that is beyond a limit while the run is on."""

    name: Annotated[str, Field(strict=True, min_length=1, max_length=100)]
    value: _Figure
    unit: _Word
    meaning: _Sentence
    advice: _Sentence
    state: Literal["suspect", "invalid"]
    limit: _Figure


@dataclass(frozen=True, slots=True)
class _Totals:
    scheduled: _Count
    sent: _Count
    ok: _Count
    failed: _Count
    censored: _Count
    errors: _Counts


@dataclass(frozen=True, slots=True)
class _Progress(_Totals):
    kind: Literal["progress"]
    elapsed_s: _Positive
    total_s: _Positive
    phase: _Word
    step: _Count
    in_flight: _Count
    backlog: _Count
    rate_per_s: _Positive
    p50_s: _Figure | None
    p95_s: _Figure | None
    started_ns: _Instant = 0
    doubts: Annotated[list[_Doubt], Field(max_length=_MOST_DOUBTS)] | None = None


@dataclass(frozen=True, slots=True)
class _End(_Totals):
    kind: Literal["end"]
    readings: Annotated[tuple[_Reading, ...], Field(max_length=_MOST_NAMES)]
    started_ns: _Instant
    measured_from_ns: _Instant
    measured_until_ns: _Instant
    ended_ns: _Instant
    interrupted: _Flag
    aborted: _Flag = False
    task_errors: _Counts = field(default_factory=dict)


_PROGRESS = TypeAdapter(_Progress)
_END = TypeAdapter(_End)


class Unusable(ValueError):  # noqa: N818 - reads as the condition it reports
    """Nothing a worker of this version says; the message is for people."""


def progress(line: object) -> dict[str, Any]:
    """A line of progress, of its known fields alone. Raises Unusable."""
    found = asdict(_parsed(_PROGRESS, line, "progress"))
    if found["doubts"] is None:
        del found["doubts"]
    return found


def end(line: object, began_ns: int, now_ns: int) -> dict[str, Any]:
    """An end line, of its known fields alone. `began_ns` and `now_ns`: of the run, by the worker's clock.

    Raises Unusable.
    """
    found = _parsed(_END, line, "last")
    if not found.started_ns <= found.measured_from_ns <= found.measured_until_ns:
        raise Unusable("its last line has instants in a wrong order")
    instants = (found.started_ns, found.measured_from_ns, found.measured_until_ns, found.ended_ns)
    if not all(began_ns - _APART_NS <= at_ns <= now_ns + _APART_NS for at_ns in instants):
        raise Unusable("its last line has instants of another time")
    known = asdict(found)
    known["readings"] = list(known["readings"])
    if not known["aborted"]:
        del known["aborted"]
    return known


def clock(offset_s: object, bound_s: object) -> tuple[float | None, float | None]:
    """How far the worker's clock is off, and how well that is known. Raises Unusable."""
    for value in (offset_s, bound_s):
        if value is not None and not (
            isinstance(value, int | float) and math.isfinite(value) and abs(value) <= _FURTHEST_CLOCK_S
        ):
            raise Unusable("its clock cannot be compared")
    assert isinstance(offset_s, int | float | None)  # noqa: S101 - just looked at
    assert isinstance(bound_s, int | float | None)  # noqa: S101
    return (None if offset_s is None else float(offset_s)), (None if bound_s is None else max(0.0, float(bound_s)))


def sentence(text: object, most: int = 1000) -> str:
    """Text of a worker, fit for a terminal and a report: one line, printable."""
    words = " ".join(str(text)[: 4 * most].split())
    return "".join(c for c in words if c.isprintable())[:most]


def warning(line: Mapping[str, Any], who: str) -> dict[str, Any]:
    """A worker's warning, with its name."""
    return {
        "kind": "warning",
        "code": sentence(line.get("code"), 40),
        "message": f"{who}: {sentence(line.get('message'))}",
        "hint": sentence(line.get("hint") or ""),
        "invalidates": bool(line.get("invalidates")),
    }


def _parsed(adapter: TypeAdapter[Any], line: object, which: str) -> Any:
    try:
        return adapter.validate_python(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = sentence(".".join(str(part) for part in first["loc"]), 100)
        raise Unusable(f"its {which} line cannot be used: {where}: {first['msg'].lower()}") from None
