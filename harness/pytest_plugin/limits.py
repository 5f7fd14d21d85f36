"""Limits as a test writes them -> SLOs: every one goes through the SLO language, so that both have one meaning."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NoReturn

import pytest

from harness.errors import HarnessError
from harness.pytest_plugin.figure import HIDDEN
from harness.slo import Slo, check_names, parse_slo, parse_slos
from harness.slo.names import directions_of, unit_of

__tracebackhide__ = HIDDEN

_SUFFIX = {"s": "s", "ratio": "%", "1/s": "/s", "B": "B", "": ""}
_ANY = {"s": 1.0, "ratio": 0.01, "1/s": 1.0, "B": 1.0, "": 1.0}


@dataclass(frozen=True, slots=True)
class Known:
    """What a limit may name: requests of the mix (None: any) and load steps."""

    names: Collection[str] | None
    steps: int


def read(text: str, known: Known) -> tuple[Slo, ...]:
    """Limits joined by "and". A mistake fails the test, with the place and a hint."""
    try:
        slos = parse_slos(text)
        for slo in slos:
            check_names(slo, known.names, known.steps)
    except HarnessError as error:
        fail(error)
    return slos


def read_one(text: str, known: Known) -> Slo:
    """A single limit, likewise."""
    try:
        slo = parse_slo(text)
        check_names(slo, known.names, known.steps)
    except HarnessError as error:
        fail(error)
    return slo


def any_limit(name: str, statistic: str, subject: str | None, known: Known) -> Slo:
    """Some limit on a statistic, to learn what it is and to observe it: `name` is "p95(latency)"."""
    bare = (subject or "").partition(",")[0].strip() or None
    unit = unit_of(statistic, bare)
    op = ">" if directions_of(statistic, bare) == ">" else "<"
    return read_one(f"{name} {op} {limit_text(_ANY[unit], unit)}", known)


def limit_text(limit: float | str, unit: str) -> str:
    """A limit in the SLO language: 0.2 of a duration is "0.2s", of a share "20%"."""
    if isinstance(limit, str):
        return limit
    exact = Decimal(repr(limit)) * (100 if unit == "ratio" else 1)
    return f"{exact:f}{_SUFFIX[unit]}" if exact.is_finite() else str(limit)


def name_of(statistic: str, subject: str | None, where: Mapping[str, object]) -> str:
    """ "p95(latency, name='receipt')" """
    inside = [subject] if subject else []
    inside += [f"{key}={_quoted(value)}" for key, value in where.items()]
    return f"{statistic}({', '.join(inside)})" if inside else statistic


def fail(error: HarnessError) -> NoReturn:
    """Fail the test with a user's mistake: what it is, and what to do."""
    raise pytest.fail.Exception(f"{error.message}\nhint: {error.hint}" if error.hint else error.message) from None


def _quoted(value: object) -> str:
    text = str(value)
    return text if isinstance(value, int) else "'" + text.replace("'", "''") + "'"
