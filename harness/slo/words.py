"""What an SLO says, once it is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from harness.errors import UsageError

PERCENTILE = re.compile(r"p([0-9]+(?:\.[0-9]+)?)")


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
        match = PERCENTILE.fullmatch(self.statistic)
        return float(Decimal(match[1]) / 100) if match else None
