"""Stretches of a series that are on another level than the rest of it.

Binary segmentation with one segment taken out at a time (Olshen et al., Biostatistics 5, 2004: circular binary
segmentation): of all stretches the one whose mean differs most from the rest is judged, taken out, and the search goes
on in the rest. Its difference is held against the noise of means of that length, from the autocorrelation of the
rest, and against what the rest does by itself in any window of that length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

LEAST_SHIFT = math.log(1.15)
"""A smaller difference of ln latency is not worth a word."""

_MOST = 4
_SHORTEST = 2
_BEYOND = 6.0  # standard errors; with it and the next, see the false alarms in tests/test_steady.py
_WINDOWS = 2.0  # times the largest difference of a window of the rest
_LEAST_REST = 6
_FEW = 8.0


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Positions [begin, stop) of a series, how far their mean is above that of the rest, and how sure that is.

    `margin` is 1 where the difference is just beyond the noise, 2 where it is twice that.
    """

    begin: int
    stop: int
    shift: float
    margin: float


def odd_stretches(series: Values) -> tuple[Stretch, ...]:
    """The stretches that differ from the rest beyond its own noise, at most a few, in order of position."""
    kept = np.arange(len(series))
    found: list[Stretch] = []
    while len(found) < _MOST and len(kept) >= _LEAST_REST + _SHORTEST:
        begin, stop = _most_different(series[kept])
        margin = _margin(series[kept], begin, stop)
        if margin < 1.0:
            break
        rest = np.delete(kept, np.s_[begin:stop])
        part = series[kept[begin] : kept[stop - 1] + 1]
        found.append(
            Stretch(int(kept[begin]), int(kept[stop - 1]) + 1, float(part.mean() - series[rest].mean()), margin)
        )
        kept = rest
    return _merged(found)


def _merged(found: list[Stretch]) -> tuple[Stretch, ...]:
    """In order of position; those on the same side of the rest that touch or enclose each other become one."""
    merged: list[Stretch] = []
    for each in sorted(found, key=lambda s: s.begin):
        last = merged[-1] if merged else None
        if last is not None and each.begin <= last.stop and each.shift * last.shift > 0.0:
            worst = max(last, each, key=lambda s: abs(s.shift))
            merged[-1] = Stretch(last.begin, max(last.stop, each.stop), worst.shift, max(last.margin, each.margin))
        else:
            merged.append(each)
    return tuple(merged)


def _most_different(series: Values) -> tuple[int, int]:
    """The stretch [begin, stop) of at most half the length whose taking out lowers the sum of squares most."""
    n = len(series)
    total = np.concatenate(([0.0], np.cumsum(series - series.mean())))
    begin, stop = np.triu_indices(n + 1, _SHORTEST)
    length = stop - begin
    allowed = length <= n // 2
    begin, stop, length = begin[allowed], stop[allowed], length[allowed]
    gain = (total[stop] - total[begin]) ** 2 / (length * (1.0 - length / n))
    best = int(np.argmax(gain))
    return int(begin[best]), int(stop[best])


def _margin(series: Values, begin: int, stop: int) -> float:
    """The difference of a stretch from the rest, in multiples of what it takes to be beyond chance."""
    rest = np.delete(series, np.s_[begin:stop])
    length = stop - begin
    noise = math.sqrt(variance_of_mean(rest, length) + variance_of_mean(rest, len(rest)))
    takes = max(LEAST_SHIFT, _BEYOND * noise * few(rest), _WINDOWS * _largest_window(rest, length))
    return abs(float(series[begin:stop].mean() - rest.mean())) / takes


def _largest_window(rest: Values, length: int) -> float:
    """How far the mean of a window of the rest is from the mean of all of it, at most."""
    total = np.concatenate(([0.0], np.cumsum(rest - rest.mean())))
    return float(np.abs(total[length:] - total[:-length]).max()) / length if length <= len(rest) // 2 else 0.0


def autocorrelations(series: Values) -> Values:
    """Of lag 1, 2, ... up to the first that is indistinguishable from none (below 2 / sqrt(n))."""
    centred = series - series.mean()
    variance = float(np.dot(centred, centred))
    found: list[float] = []
    n = len(series)
    for lag in range(1, n // 3 if variance > 0.0 else 1):
        rho = float(np.dot(centred[:-lag], centred[lag:])) / variance
        if rho < 2.0 / math.sqrt(n):
            break
        found.append(rho)
    return np.array(found)


def few(series: Values) -> float:
    """By how much an interval has to be wider, because dependent values know their own spread badly: 1 for many."""
    worth = len(series) / (1.0 + 2.0 * float(autocorrelations(series).sum()))
    return math.sqrt(1.0 + (_FEW / max(1.0, worth - 2.0)) ** 2)


def variance_of_mean(series: Values, length: int) -> float:
    """Variance of the mean of `length` neighbours of a series like this one."""
    rho = autocorrelations(series)[: length - 1]
    weights = 1.0 - np.arange(1, len(rho) + 1) / length
    spread = float(series.var(ddof=1)) if len(series) > 1 else 0.0
    return spread / length * (1.0 + 2.0 * float(np.dot(weights, rho)))
