"""What the judges share: the values an SLO is about, the answer to it, and words for both."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis.statistics.early_stopping import Decision
from harness.findings import SloFindings, Verdict
from harness.slo import Slo
from harness.units import format_bytes, format_count, format_duration, format_rate, format_share

MOST_MORE = 1_000
"""So many times what there is are not asked for: the value is at the limit, and no run tells on which side."""

VERDICTS = {
    Decision.WITHIN: Verdict.PASSED,
    Decision.OVER: Verdict.FAILED,
    Decision.UNDECIDED: Verdict.NOT_ENOUGH_DATA,
}

NOTHING = "no request counts here"


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """What is judged, in time order, and the load step of each value."""

    values: NDArray[np.float64]
    steps: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values)

    def finite(self) -> Values:
        """Those that are known and not of a failed request."""
        known = np.isfinite(self.values)
        return Values(self.values[known], self.steps[known])


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an SLO cannot be judged on this run."""

    verdict: Verdict
    reason: str
    n: int = 0


def answer(slo: Slo, verdict: Verdict, observed: float | None, n: int, reason: str) -> SloFindings:
    """The findings of one SLO; a value that is not finite is not shown."""
    shown = observed if observed is not None and math.isfinite(observed) else None
    return SloFindings(slo.expression, verdict, shown, slo.limit, slo.unit, n, reason)


def refused(slo: Slo, refusal: Refusal) -> SloFindings:
    """The findings of an SLO that cannot be judged."""
    return answer(slo, refusal.verdict, None, refusal.n, refusal.reason)


def holds(slo: Slo, value: float) -> bool:
    """Whether a value that is known exactly keeps the limit."""
    return {
        "<": value < slo.limit,
        "<=": value <= slo.limit,
        ">": value > slo.limit,
        ">=": value >= slo.limit,
    }[slo.op]


def fact(slo: Slo, value: float) -> Verdict:
    """The verdict on a value that is known exactly."""
    return Verdict.PASSED if holds(slo, value) else Verdict.FAILED


def in_words(slo: Slo, value: float) -> str:
    """A value in the unit of the SLO."""
    if slo.unit == "s":
        return format_duration(value)
    if slo.unit == "B":
        return format_bytes(value)
    if slo.unit == "1/s":
        return format_rate(value)
    return format_share(value) if slo.unit == "ratio" else f"{value:,.3g}"


def more(n: int, total: float, kind: str = "requests") -> str:
    """How many more it takes, when deciding takes `total` and there are n. `kind` is a plural that ends in s."""
    missing = total - n
    if not math.isfinite(total) or missing > MOST_MORE * max(n, 1_000):
        return "too close to the limit to decide"
    count = max(1, math.ceil(missing))
    return f"deciding takes about {format_count(count)} more {kind if count > 1 else kind[:-1]}, if they are like these"
