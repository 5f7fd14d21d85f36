"""How long a series remembers: what makes n neighbouring requests know less than n independent ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
LONGEST = 65_536
"""A longer series is looked at in means of neighbours: its memory is that of the means, counted in their length."""
ROUNDS = 8
"""The correction for the unknown mean settles within so many."""
MOST_CORRECTED = 0.05
"""A larger correction than this is no correction any more: the series is one or two events."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a series of n observations in time order, both in observations.

    `time` is 1 + 2 * the sum of autocorrelations: n / time independent observations carry as much as the series.
    `span` is the width of the window they were summed over, 1 for a series that remembers nothing.
    """

    n: int
    time: float
    span: float

    def effective(self, margin: float, n: int | None = None) -> float:
        """Independent observations that n of such a series are worth, `time` taken `margin` standard errors longer.

        The relative standard error of a sum of autocorrelations is sqrt(2 span / n) (Priestley, Spectral Analysis and
        Time Series, 6.2; Sokal's lecture notes on Monte Carlo methods, 1997). Without the margin a stretch that
        happens to be quiet claims to be worth the most, because it hides how long the bad times last.
        """
        n = self.n if n is None else n
        unsure = margin * math.sqrt(2.0 * self.span / n) if self.span > 1.0 and n else 0.0
        return n / (self.time * (1.0 + unsure))


def memory(series: Values) -> Memory:
    """The memory of a series in time order; none, if it does not vary.

    The autocorrelations are summed in pairs up to the first pair that is indistinguishable from zero (below two
    standard errors of a sum of two, 2 sqrt(2 / m)), at most a quarter of the series. Each is too low by about
    time / m, because the mean was taken from the same series, and is corrected by as much.
    """
    n = len(series)
    rho, step = autocorrelations(series)
    m = n // step
    if m < 4 or not len(rho):
        return Memory(n, 1.0, 1.0)
    pairs = rho[1 : 1 + (len(rho) - 1) // 2 * 2].reshape(-1, 2).sum(axis=1)
    time, lags, too_low = 1.0, 0, 0.0
    for _ in range(ROUNDS):
        over = pairs + 2.0 * too_low >= math.sqrt(8.0 / m)
        lags = min(2 * (len(over) if over.all() else int(over.argmin())), m // 4)
        time = max(1.0, 1.0 + 2.0 * (float(rho[1 : lags + 1].sum()) + lags * too_low))
        before, too_low = too_low, min(time / m, MOST_CORRECTED)
        if abs(too_low - before) <= 1e-3 * before:
            break
    if step > 1:  # the means vary more than those of independent values would
        whole = series[: m * step]
        within = float(np.square(whole - whole.mean()).mean())
        time *= step * float(np.square(whole.reshape(-1, step).mean(axis=1) - whole.mean()).mean()) / within
    return Memory(n, min(max(1.0, time), float(n)), min((2.0 * lags * step) + 1.0, float(n)))


def autocorrelations(series: Values) -> tuple[Values, int]:
    """Autocorrelations of a series in time order, and the observations one lag stands for.

    Half as many lags as there are observations (or means of `step` of them), lag 0 first (1.0), by the Fourier
    transform (Wiener-Khinchin), each sum divided by that of lag 0. Empty for a series that does not vary: what varies
    in the last digits only has the autocorrelation of rounding errors.
    """
    n = len(series)
    step = max(1, -(-n // LONGEST))
    means = series[: n // step * step].reshape(-1, step).mean(axis=1) if step > 1 else series
    if len(means) < 2:
        return np.empty(0), step
    centred = means - means.mean()
    lags = len(centred) // 2 + 1
    padded = _padded(len(centred) + lags)
    spectrum = np.fft.rfft(centred, padded)
    sums: Values = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, padded)[:lags]
    if sums[0] <= len(centred) * (1e-9 * float(np.abs(means).max())) ** 2:
        return np.empty(0), step
    return sums / sums[0], step


def _padded(n: int) -> int:
    """The next 2^k or 3 * 2^k: lengths whose transform is fast. That much padding keeps a circle from closing."""
    power = 1 << max(2, (n - 1).bit_length())
    return power * 3 // 4 if power * 3 // 4 >= n else power
