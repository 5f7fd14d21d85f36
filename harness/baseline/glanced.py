"""What is read of summary.json by those who set many runs beside each other: the few fields, checked, and no others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

Figure = Annotated[float, Field(ge=0.0, le=1e12)]  # what is beyond is damage
Number = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True, slots=True)
class Counted:
    """Of findings.Counts."""

    scheduled: Number
    ok: Number
    offered_per_s: Figure | None
    completed_per_s: Figure | None


@dataclass(frozen=True, slots=True)
class Blamed:
    """Of findings.Bottleneck."""

    stage: str
    resource: str | None
    model: str | None

    @property
    def text(self) -> str:
        """`inference (det)`: the stage, and which model or resource."""
        which = self.model or self.resource
        return f"{self.stage} ({which})" if which else self.stage


def percentile(value: float | None, p: float, counts: Counted) -> float | None:
    """A percentile that was refused because it lies among failed requests is known: it is worse than any limit."""
    if value is None and counts.scheduled and math.ceil(counts.scheduled * p - 1e-9) > counts.ok:
        return math.inf
    return value
