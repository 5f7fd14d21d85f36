"""The SLO grammar: one line of text -> a limit on a statistic. Subjects are the stages of model.py.

pNN(SUBJECT) < DURATION      p95(latency) < 1s, p99.9(service) < 2s
mean(SUBJECT) < DURATION     also max(...)
share(STAGE) < PERCENT       of the mean latency
error_rate < PERCENT
completed > PERCENT          of what was offered
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal

from harness.errors import UsageError, nearest
from harness.model import STAGES
from harness.units import UnitError, parse_duration_s, parse_share, quoted

SLO_STAGES = (*STAGES, "transfer")
SLO_SUBJECTS = ("latency", "service", *SLO_STAGES)
LONGEST_SLO = 200

_SHAPE = "an SLO reads like p95(latency) < 1s, share(transfer) < 25% or error_rate < 2%"
_HEAD = re.compile(r"\s*([A-Za-z_][A-Za-z_0-9.]*)\s*(\()?")
_SUBJECT = re.compile(r"\s*([^()<>=\s]*)\s*(\))?")
_OP = re.compile(r"\s*([<>=!≤≥]+)")
_PERCENTILE = re.compile(r"p([0-9]{1,3}(?:\.[0-9]{1,3})?)")
_CALLS = ("mean", "max", "share")
_BARE = ("error_rate", "completed")


class SloError(UsageError):
    """An SLO cannot be read. The hint shows the expression with a caret under the place."""


@dataclass(frozen=True, slots=True)
class Where:
    """Which requests an SLO is about; None: not asked for. Without a phase the measured ones."""

    name: str | None = None  # of a request of the mix
    step: int | None = None  # of the load profile, from 0
    phase: str | None = None  # a value of model.Phase
    model: str | None = None  # of the chain: the time of its calls alone


@dataclass(frozen=True, slots=True)
class Slo:
    """One limit on a statistic. `limit` has the unit of the statistic: "s", "ratio" (a share of 1), "1/s" (a rate),
    "" (a count or a plain number) or "B" (bytes).
    """

    expression: str  # as written, blanks evened out
    statistic: str  # "p95", "p99.9", "mean", "max", "share", "rate", "count", "cv", "peak", "error_rate", ...
    subject: str | None  # what the statistic is of; None for those that take no subject, such as error_rate
    op: str  # < <= > >=
    limit: float
    unit: str
    where: Where = Where()

    @property
    def quantile(self) -> float | None:
        """0.95 for p95; None for the other statistics."""
        match = _PERCENTILE.fullmatch(self.statistic)
        return float(Decimal(match[1]) / 100) if match else None


def parse_slo(text: str) -> Slo:
    """Read one SLO. Raises SloError with the place of the mistake and the nearest valid name."""
    if len(text) > LONGEST_SLO:
        raise SloError(f"an SLO of {len(text):,} characters is too long: {quoted(text, 30)}", _SHAPE)
    if not text.strip():
        raise SloError("an SLO is empty", _SHAPE)
    statistic, subject, at = _statistic(text)
    op_match = _OP.match(text, at)
    if op_match is None:
        wanted = ">" if statistic == "completed" else "<"
        raise _wrong(text, _next(text, at), "a comparison is missing", f"write {wanted} and a limit here")
    op = _op(text, statistic, op_match)
    limit_text = text[op_match.end() :]
    limit, unit = _limit(text, statistic, op, limit_text, _next(text, op_match.end()))
    return Slo(" ".join(text.split()), statistic, subject, op, limit, unit)


def requests_needed(slo: Slo, confidence: float = 0.95) -> int | None:
    """Fewest requests that can pass the SLO, when none of them is over the limit.

    The smallest n with p^n <= 1 - confidence, where p is the share that must be good: early stopping of MLPerf
    LoadGen with no request over the limit (p95: 59, p99: 299). None where that rule does not apply: mean, max,
    share, and limits of exactly none or all.
    """
    good = slo.quantile
    if slo.statistic == "error_rate":
        good = 1 - slo.limit
    elif slo.statistic == "completed":
        good = slo.limit
    if good is None or not 0 < good < 1:
        return None
    # The small step back keeps a rounding error of the logarithms from asking for one request too many.
    return max(1, math.ceil(math.log(1 - confidence) / math.log(good) - 1e-9))


def _statistic(text: str) -> tuple[str, str | None, int]:
    """Statistic, subject and where the comparison should start."""
    head = _HEAD.match(text)
    if head is None:
        raise _wrong(text, _next(text, 0), "an SLO starts with the name of a statistic", _SHAPE)
    name, at = head[1], head.start(1)
    percentile = _PERCENTILE.fullmatch(name)
    if percentile:
        _check_percentile(text, at, name, percentile[1])
    elif name not in (*_CALLS, *_BARE):
        raise _unknown_statistic(text, at, name, called=head[2] is not None)
    if name in _BARE:
        if head[2]:
            raise _wrong(text, head.start(2), f"{name} counts requests and takes no brackets", f"write {name} alone")
        return name, None, head.end()
    if not head[2]:
        raise _wrong(text, head.end(1), f"{name} of what?", f"write {name}({_example_subject(name)})")
    return _subject(text, name, head.end())


def _subject(text: str, name: str, start: int) -> tuple[str, str, int]:
    match = _SUBJECT.match(text, start)
    assert match is not None  # noqa: S101 - every part of the pattern is optional
    subject, at = match[1], match.start(1)
    names = SLO_STAGES if name == "share" else SLO_SUBJECTS
    if not subject:
        raise _wrong(text, at, f"{name} of what?", "valid names: " + ", ".join(names))
    if subject not in names:
        kind = "a stage" if name == "share" else "latency, service or a stage"
        raise _wrong(text, at, f"{quoted(subject)} is not {kind}", nearest(subject, names))
    if not match[2]:
        raise _wrong(text, _next(text, match.end()), "a closing bracket is missing", f"write {name}({subject})")
    return name, subject, match.end()


def _check_percentile(text: str, at: int, name: str, digits: str) -> None:
    value = Decimal(digits)
    if value == 0:
        raise _wrong(text, at, f"{name} is no percentile", "percentiles lie between p1 and p99.9")
    if value == 100:
        raise _wrong(text, at, f"{name} is the largest value, not a percentile", "write max(...) instead")
    if value > 100:
        raise _wrong(text, at, f"{name} is beyond the largest value", "percentiles lie between p1 and p99.9")


def _unknown_statistic(text: str, at: int, name: str, *, called: bool) -> SloError:
    if name in SLO_SUBJECTS and not called:
        return _wrong(text, at, f"which statistic of {name}?", f"write p95({name}) or mean({name})")
    hint = nearest(name, ("p50", "p95", "p99", *_CALLS, *_BARE))
    return _wrong(text, at, f"{quoted(name)} is not a statistic", hint)


def _op(text: str, statistic: str, match: re.Match[str]) -> str:
    op = {"≤": "<=", "≥": ">="}.get(match[1], match[1])
    at = match.start(1)
    if op not in ("<", "<=", ">", ">="):
        raise _wrong(text, at, f"{quoted(match[1])} is not a comparison", "write one of < <= > >=")
    is_floor = statistic == "completed"
    if is_floor == (op[0] == "<"):
        problem = f"{statistic} needs {'a lower' if is_floor else 'an upper'} limit, {match[1]} sets the other one"
        turned = op.translate(str.maketrans("<>", "><"))
        raise _wrong(
            text, at, problem, f"write {text[:at].strip()} {turned} {text[match.end() :].strip()[:30]}".rstrip()
        )
    return op


def _limit(text: str, statistic: str, op: str, limit_text: str, at: int) -> tuple[float, str]:
    is_share = statistic in ("share", *_BARE)
    if not limit_text.strip():
        raise _wrong(text, at, "the limit is missing", "write a share such as 2%" if is_share else "write 1s or 200ms")
    try:
        limit = parse_share(limit_text) if is_share else parse_duration_s(limit_text)
    except UnitError as error:
        raise _wrong(text, at, error.message, error.hint or _SHAPE) from None
    if statistic == "completed":
        if limit == 1 and op == ">":
            raise _wrong(text, at, "it can never be met", "write completed >= 100%")
    elif limit == 0 and (op == "<" or statistic != "error_rate"):
        better = "write error_rate <= 0%" if statistic == "error_rate" else "give a limit above zero"
        raise _wrong(text, at, "it can never be met", better)
    return limit, "ratio" if is_share else "s"


def _example_subject(name: str) -> str:
    return "transfer" if name == "share" else "latency"


def _next(text: str, at: int) -> int:
    """The first character at or after `at` that is not blank."""
    return at + len(text[at:]) - len(text[at:].lstrip())


def _wrong(text: str, at: int, problem: str, hint: str) -> SloError:
    """The hint carries the expression and a caret under character `at`."""
    shown = "".join(c if c.isprintable() else "?" for c in text.rstrip())
    at = min(at, len(shown))
    cut = max(0, at - 60)
    return SloError(
        f"SLO {quoted(text.strip())}: {problem}", f"{hint}\n  {shown[cut : at + 40]}\n  {' ' * (at - cut)}^"
    )
