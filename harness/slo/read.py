"""Reading SLOs: one clause after the other, each mistake at its place."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

from harness.errors import nearest
from harness.slo.brackets import Inside, read_brackets
from harness.slo.limit import read_limit, read_op
from harness.slo.names import CALLED, FIGURES, SLO_SUBJECTS, VITALS, subjects_of, unit_of
from harness.slo.words import PERCENTILE, Slo, SloError, Where
from harness.slo.wrong import AND, SHAPE, next_at, wrong
from harness.units import quoted

LONGEST_SLO = 200
LONGEST_LIST = 2_000

_NAMES_SHOWN = 20
_HEAD = re.compile(r"\s*([A-Za-z_][A-Za-z_0-9.]*)")
_BETWEEN = "percentiles lie between p1 and p99.99"
_BLANKS = re.compile(r"""'[^']*'|"[^"]*"|\s+""")


@dataclass(frozen=True, slots=True)
class _Clause:
    """`places`: where the value of each argument begins; `end`: where the text ends or goes on with "and"."""

    slo: Slo
    places: tuple[tuple[str, int], ...]
    end: int


def parse_slo(text: str) -> Slo:
    """Read one SLO. Raises SloError with the place of the mistake and the nearest valid name."""
    clause = _only(text)
    if clause.end < len(text.rstrip()):
        place = next_at(text, clause.end)
        raise wrong(text, place, "one SLO is expected here, not several", "give each a line of its own")
    return clause.slo


def parse_slos(text: str) -> tuple[Slo, ...]:
    """Read SLOs joined by "and", each once, in order. Raises SloError."""
    _check_text(text, LONGEST_LIST)
    found: dict[Slo, None] = {}
    at = 0
    while True:
        clause = _clause(text, at)
        if len(clause.slo.expression) > LONGEST_SLO:
            problem = f"one SLO of {len(clause.slo.expression):,} characters is too long"
            raise wrong(text, next_at(text, at), problem, f"at most {LONGEST_SLO} between one and and the next", at)
        found[clause.slo] = None
        if clause.end >= len(text.rstrip()):
            return tuple(found)
        at = next_at(text, clause.end) + len("and")
        if not text[at:].strip():
            raise wrong(text, at, "an SLO is missing behind and", SHAPE, next_at(text, clause.end))


def check_names(slo: Slo, names: Collection[str] | None, steps: int | None) -> None:
    """Refuse a request or a step that the run does not have: `names` of its requests, number of its `steps`.

    None: not known, so not checked. Raises SloError.
    """
    name, step = slo.where.name, slo.where.step
    if name is not None and names is not None and name not in names:
        plain = [other for other in names if other.isprintable()]
        hint = nearest(name, plain)
        if len(plain) > _NAMES_SHOWN and hint.startswith("valid names"):
            hint = f"{nearest(name, sorted(plain)[:_NAMES_SHOWN])}, ..."
        raise _at_argument(slo, "name", f"no request is named {quoted(name)}", hint)
    if step is not None and steps is not None and step >= steps:
        has = "only step 0" if steps == 1 else f"{steps} steps, 0 to {steps - 1}" if steps else "no steps"
        raise _at_argument(slo, "step", f"there is no step {step}", f"the load profile has {has}")


def _at_argument(slo: Slo, key: str, problem: str, hint: str) -> SloError:
    places = dict(_only(slo.expression).places)
    return wrong(slo.expression, places.get(key, 0), problem, hint)


def _only(text: str) -> _Clause:
    _check_text(text, LONGEST_SLO)
    return _clause(text, 0)


def _check_text(text: str, longest: int) -> None:
    if len(text) > longest:
        what = "an SLO" if longest == LONGEST_SLO else "a list of SLOs"
        raise SloError(f"{what} of {len(text):,} characters is too long: {quoted(text, 30)}", SHAPE)
    if not text.strip():
        raise SloError("an SLO is empty", SHAPE)
    strange = next((i for i, c in enumerate(text) if not c.isprintable() and not c.isspace()), None)
    if strange is not None:
        raise wrong(text, strange, f"the character U+{ord(text[strange]):04X} cannot be part of an SLO", "remove it")


def _clause(text: str, at: int) -> _Clause:
    """The clause that begins at `at`."""
    start = next_at(text, at)
    statistic, after = _statistic(text, start)
    inside = _inside(text, start, statistic, after)
    joined = AND.search(text, inside.end)
    stop = joined.start() if joined else len(text)
    op, behind = read_op(text, inside.end, statistic, inside.subject, start, stop)
    limit = read_limit(text, behind, statistic, inside.subject, op, start, stop)
    unit = unit_of(statistic, inside.subject)
    slo = Slo(_evened(text[start:stop]), statistic, inside.subject, op, limit, unit, inside.where)
    return _Clause(slo, inside.places, stop)


def _evened(text: str) -> str:
    """Blanks evened out, except in quotes."""
    return _BLANKS.sub(lambda match: " " if match[0].isspace() else match[0], text.strip())


# --- the left side -----------------------------------------------------------------------------------------


def _statistic(text: str, start: int) -> tuple[str, int]:
    """(statistic, what is behind its name)"""
    head = _HEAD.match(text, start)
    if head is None:
        raise wrong(text, start, "an SLO starts with the name of a statistic", SHAPE, start)
    name = head[1]
    percentile = PERCENTILE.fullmatch(name)
    if percentile:
        return _percentile(text, start, name, percentile[1]), head.end()
    if name not in (*CALLED, *FIGURES):
        raise _unknown_statistic(text, start, name, called=text[next_at(text, head.end()) :].startswith("("))
    return name, head.end()


def _inside(text: str, start: int, statistic: str, after: int) -> Inside:
    opened = next_at(text, after)
    if text[opened : opened + 1] == "(":
        return read_brackets(text, opened, statistic, start)
    if statistic not in FIGURES:
        hint = f"write {statistic}({_example_subject(statistic)})"
        raise wrong(text, after, f"{statistic} of what?", hint, start)
    return Inside(None, Where(), (), after)


def _percentile(text: str, at: int, name: str, digits: str) -> str:
    value = Decimal(digits)
    if value == 0:
        raise wrong(text, at, f"{name} is no percentile", _BETWEEN, at)
    if value < 1:
        raise wrong(text, at, f"{name} is below p1", _BETWEEN, at)
    if value == 100:
        raise wrong(text, at, f"{name} is the largest value, not a percentile", "write max(...) instead", at)
    if value > 100:
        raise wrong(text, at, f"{quoted(name, 20)} is beyond the largest value", _BETWEEN, at)
    if value > Decimal("99.99"):
        problem = f"{quoted(name, 20)} takes more requests than a run has"
        raise wrong(text, at, problem, f"{_BETWEEN}, which takes 29,956", at)
    return f"p{value.normalize():f}"


def _unknown_statistic(text: str, at: int, name: str, *, called: bool) -> SloError:
    if not called and (name in SLO_SUBJECTS or name in VITALS):
        mean = f"write p95({name}) or mean({name})" if name in SLO_SUBJECTS else f"write mean({name}) or peak({name})"
        return wrong(text, at, f"which statistic of {name}?", mean, at)
    hint = nearest(name, ("p50", "p95", "p99", *CALLED, *FIGURES))
    return wrong(text, at, f"{quoted(name)} is not a statistic", hint, at)


def _example_subject(statistic: str) -> str:
    return {"share": "transfer", "count": "ok", "rate": "ok"}.get(statistic, subjects_of(statistic)[0])
