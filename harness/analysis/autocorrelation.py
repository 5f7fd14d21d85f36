"""How long a series remembers: what makes n neighbouring requests know less than n."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
LONGEST = 65_536
"""A longer series is looked at in means of neighbours: its memory is that of the means, counted in their length."""


def autocorrelations(series: Values) -> tuple[Values, int]:
    """Autocorrelations of a series in time order, and the observations one lag stands for.

    Shape (m,), lag 0 first (1.0), by the Fourier transform (Wiener-Khinchin), each sum divided by that of lag 0. Empty
    for a series that does not vary: what varies in the last digits only has the autocorrelation of rounding errors.
    """
    n = len(series)
    step = -(-n // LONGEST)
    means = series[: n // step * step].reshape(-1, step).mean(axis=1) if step > 1 else series
    if len(means) < 2:
        return np.empty(0), max(1, step)
    centred = means - means.mean()
    padded = 1 << (2 * len(centred) - 1).bit_length()
    spectrum = np.fft.rfft(centred, padded)
    sums: Values = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, padded)[: len(centred)]
    if sums[0] <= len(centred) * (1e-9 * float(np.abs(means).max())) ** 2:
        return np.empty(0), step
    return sums / sums[0], step
