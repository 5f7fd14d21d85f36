"""A figure of a run that is compared the way an SLO is judged: by what the run's requests can show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import methodcaller
from typing import TYPE_CHECKING, NoReturn, TypeGuard

import pytest

if TYPE_CHECKING:
    from harness.findings import SloFindings

HIDDEN = methodcaller("errisinstance", pytest.fail.Exception)
"""As `__tracebackhide__` of a module: where a test fails is its own line, not one of ours."""

__tracebackhide__ = HIDDEN

_TURNED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_NOT_COMPARED = (
    "two figures of runs are not compared by their values: the noise between two runs is larger than that of one; "
    "`harness ab` and `harness compare` do it, float(figure) gives the bare value"
)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One limit judged: true when it is met, false when it is not; what the run cannot decide fails the test."""

    findings: SloFindings
    lines: tuple[str, ...]  # what a failed test shows, most important first
    show: Callable[[], None]  # adds the run's summary to the report of the test
    holds_if: str = "passed"

    @property
    def verdict(self) -> str:
        """passed, failed, not_enough_data or invalid: of the expression, as it is written in `findings`."""
        return str(self.findings.verdict)

    @property
    def reason(self) -> str:
        return self.findings.reason

    @property
    def n(self) -> int:
        return self.findings.n

    @property
    def observed(self) -> float | None:
        return self.findings.observed

    def __bool__(self) -> bool:
        if self.verdict not in ("passed", "failed"):
            self.fail()
        if self.verdict != self.holds_if:
            self.show()
        return self.verdict == self.holds_if

    def fail(self) -> NoReturn:
        """Fail the test with what is known."""
        self.show()
        pytest.fail("\n".join(self.lines))

    def __repr__(self) -> str:
        return f"<{'; '.join(line.strip() for line in self.lines[:2])}>"


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """A statistic of a run: `value` with its n and 95 % interval, each None where the requests cannot carry it.

    `figure < 0.2` is judged by the rule of the gate: true and false both need enough requests; what they cannot
    decide fails the test. float(figure) is the bare value.
    """

    name: str  # "p95(latency)"
    value: float | None
    n: int
    low: float | None
    high: float | None
    unit: str  # "s", "ratio", "1/s", "B" or ""
    floor: bool  # what it is gated with is a lower limit, as for throughput
    text: str  # value and interval, for people
    judge: Callable[[str, float | str], Judged]  # (operator, limit) as the gate knows them

    def __lt__(self, limit: float | str) -> Judged:
        return self._compared("<", limit)

    def __le__(self, limit: float | str) -> Judged:
        return self._compared("<=", limit)

    def __gt__(self, limit: float | str) -> Judged:
        return self._compared(">", limit)

    def __ge__(self, limit: float | str) -> Judged:
        return self._compared(">=", limit)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Figure):
            return self is other
        raise TypeError(f"{self.name} of a run is never exactly a value: compare with < or >, or take float(figure)")

    __hash__ = object.__hash__

    def __bool__(self) -> NoReturn:
        raise TypeError(f"{self.name} of a run is neither true nor false: compare it, e.g. with < or >")

    def __float__(self) -> float:
        if self.value is None:
            pytest.fail(f"{self.name} has no value: {self.text}")
        return self.value

    def __format__(self, spec: str) -> str:
        return format(float(self), spec) if spec else str(self)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<{self.name}: {self.text}>"

    def explained(self, op: str, limit: object) -> list[str] | None:
        """Why the comparison has the answer it has."""
        if op not in _TURNED or not _is_limit(limit):
            return None
        judged = self._compared(op, limit)
        if judged.holds_if == "passed":
            return list(judged.lines)
        return [f"{self.name} {op} {limit} does not hold:", *(f"  {line.strip()}" for line in judged.lines)]

    def _compared(self, op: str, limit: float | str) -> Judged:
        if isinstance(limit, Figure):
            raise TypeError(_NOT_COMPARED)
        if not _is_limit(limit):
            raise TypeError(f"{self.name} is compared with a number or a text like '200ms', not {limit!r}")
        own = op[0] == (">" if self.floor else "<")
        judged = self.judge(op if own else _TURNED[op], limit)
        # "is it above?" is the other answer to the one question that the gate can decide
        return judged if own else Judged(judged.findings, judged.lines, judged.show, holds_if="failed")


def _is_limit(value: object) -> TypeGuard[float | str]:
    return isinstance(value, float | int | str) and not isinstance(value, bool)
