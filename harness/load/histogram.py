"""Durations counted in bins that grow with their value: constant memory however many there are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_GROWTH = 0.01
"""A bin ends 1 % above where it begins and is read as its middle: a quantile is at most 0.5 % off."""
_SMALLEST_S, _LARGEST_S = 1e-7, 1e5
_LOG = math.log1p(_GROWTH)
_BINS = math.ceil(math.log(_LARGEST_S / _SMALLEST_S) / _LOG) + 1


class Histogram:
    """Counts of durations from 100 ns to a day, and the largest one as it was. What is shorter counts as 0."""

    __slots__ = ("_counts", "largest_s", "n")

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS + 1, dtype=np.int64)  # bin 0 holds what is below the smallest
        self.largest_s: float | None = None
        self.n = 0

    def add(self, values: NDArray[np.float32]) -> None:
        """Count durations, seconds."""
        if len(values) == 0:
            return
        logs = np.log(np.maximum(values, _SMALLEST_S, dtype=np.float64) / _SMALLEST_S) / _LOG
        bins = np.where(values < _SMALLEST_S, 0, np.minimum(logs.astype(np.int64) + 1, _BINS))
        self._counts += np.bincount(bins, minlength=_BINS + 1)
        self.n += len(values)
        self.largest_s = max(float(values.max()), self.largest_s or 0.0)

    def quantile(self, q: float) -> float | None:
        """The duration with the share `q` of all at or below it (nearest rank), to 0.5 %; None without any."""
        if self.largest_s is None:
            return None
        rank = max(1, math.ceil(q * self.n))
        found = int(np.searchsorted(np.cumsum(self._counts), rank))
        middle = _SMALLEST_S * math.exp((found - 0.5) * _LOG) if found else 0.0
        return min(middle, self.largest_s)
