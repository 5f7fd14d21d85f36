"""The offset between the service's clock and ours, bounded by causality.

A request cannot be in the service before we began to write it, nor can we have read an answer before the service
handed it over. Each request therefore bounds the offset `server clock - client clock` from both sides:

    answer begun - first byte seen  <=  offset  <=  window opened - first write

The bounds of a whole run are intersected; the midpoint is the estimate, half the width its error. Two processes
on one kernel share CLOCK_REALTIME: their offset is zero, and the bounds only have to agree with that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SLACK_NS = 1_000_000
"""Bounds that miss zero on one host by less than this are clock resolution, not a contradiction."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """One-sided causal bounds, one row per request: the offset at the client's instant `at_ns` (its first write)."""

    at_ns: NDArray[np.int64]
    offset_ns: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Piece:
    """A line over [from_ns, until_ns] of the client's clock: `offset_ns` at `from_ns`, gaining `drift_ppm`."""

    from_ns: int
    until_ns: int
    offset_ns: int
    drift_ppm: float
    bound_ns: int


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """`offset_ns` is server minus client; `bound_ns` half the width of what causality allows (0 on one host).

    `contradiction_ns` > 0 means no offset fits every request, not even one that drifts and is stepped.
    """

    offset_ns: int
    bound_ns: int
    same_host: bool
    contradiction_ns: int
    n: int
    drift_ppm: float = 0.0
    pieces: tuple[Piece, ...] = ()

    def at(self, instants_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """The offset at these instants of the client's clock, ns."""
        return np.full(len(instants_ns), self.offset_ns, np.int64)

    def bound_at(self, instants_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """How far the offset may be off at these instants of the client's clock, ns."""
        return np.full(len(instants_ns), self.bound_ns, np.int64)


def fit(lower: Bounds, upper: Bounds, same_host: bool) -> ClockOffset | None:
    """The offset from per-request bounds; None without any upper or lower bound (unless on the same host)."""
    return estimate(lower.offset_ns.tolist(), upper.offset_ns.tolist(), same_host)


def estimate(lower_ns: Sequence[int], upper_ns: Sequence[int], same_host: bool) -> ClockOffset | None:
    """`fit` for a constant offset, of plain numbers."""
    low = max(lower_ns, default=None)
    high = min(upper_ns, default=None)
    n = max(len(lower_ns), len(upper_ns))
    if same_host:
        excess = max(0, low or 0, -(high or 0))
        return ClockOffset(0, 0, True, excess if excess > SLACK_NS else 0, n)
    if low is None or high is None:
        return None
    return ClockOffset((low + high) // 2, abs(high - low) // 2, False, max(0, low - high), n)
