"""The Theil-Sen slope (Sen, JASA 63, 1968) of a series that depends on its own past, with an interval."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harness.analysis.load_steps.stretches import autocorrelations, few

Values = NDArray[np.float64]

CONFIDENCE = 0.99
WIDENED = 1.6
"""Blocks end where the noise goes on: slopes of them vary less than the truth."""

_DRAWS = 400
_NORMAL = 2.576  # quantile for the confidence, of the least-squares slope


def half_width(x: Values, residuals: Values, widened: float = WIDENED) -> float:
    """Half the width of the interval of a slope: what the same noise gives without one, blocks of it drawn anew."""
    n = len(residuals)
    worth = 1.0 + 2.0 * float(autocorrelations(residuals).sum())
    length = min(max(1, math.ceil(2.0 * worth)), n // 3)
    random = np.random.default_rng(0)
    starts = random.integers(0, n, (_DRAWS, -(-n // length)))
    places = ((starts[:, :, None] + np.arange(length)) % n).reshape(_DRAWS, -1)[:, :n]
    width = float(np.quantile(np.abs(slopes(x, residuals[places])), CONFIDENCE))
    if width == 0.0 and float(np.ptp(x)) > 0.0:  # most pairs are equal, as where latency has two values
        width = _NORMAL * float(residuals.std()) / (float(x.std()) * math.sqrt(n))
    return widened * width * few(residuals)


def slopes(x: Values, rows: Values) -> Values:
    """Theil-Sen slope of each row over x."""
    first, second = np.triu_indices(len(x), 1)
    apart = x[second] - x[first]
    used = apart > 0.0
    if not used.any():
        return np.zeros(len(rows))
    found: Values = np.median((rows[:, second[used]] - rows[:, first[used]]) / apart[used], axis=1)
    return found
