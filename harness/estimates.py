"""A number with its interval: what every statistic is here. Durations are seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic with its interval. `value` is None when n cannot carry it; `refusal` then says why."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    confidence: float = 0.95
    refusal: str | None = None  # e.g. "needs 299 requests, has 60"


@dataclass(frozen=True, slots=True)
class LatencyFindings:
    """Statistics of one duration: `latency` (from the scheduled instant) or `service` (from the real start)."""

    mean: Estimate
    p50: Estimate
    p90: Estimate
    p95: Estimate
    p99: Estimate
    max_s: float | None
