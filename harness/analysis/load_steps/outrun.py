"""Whether more requests come in a load step than are answered: its latency then tells how long the test was."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.analysis.load_steps.slope import half_width, slopes
from harness.units import format_duration, format_rate

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]

LEAST_REQUESTS = 30
"""Fewer cannot be told apart in time."""

_STEADY_SHARE = 0.98
_LEAST_GROWTH = 10.0  # requests in flight
_GROWTH_WIDENED = 1.0  # it is not the only thing asked
_ALL = 0.9  # of the requests
_NEAR_LIMIT = 0.3  # of the time limit: a queue that clients leave is as long as they wait


def outrun(at_s: Values, done_s: Values, step_s: float) -> str | None:
    """Why the step is unstable; None when it is not. Judged on its second half."""
    if len(at_s) < LEAST_REQUESTS or not step_s > 0.0:
        return None
    ends = np.sort(done_s[np.isfinite(done_s)])
    grid = np.linspace(step_s / 2.0, step_s, 41)
    flying = (np.searchsorted(at_s, grid, "right") - np.searchsorted(ends, grid, "right")).astype(np.float64)
    came = float(np.searchsorted(at_s, step_s, "right") - np.searchsorted(at_s, step_s / 2.0, "right"))
    answered = came - (flying[-1] - flying[0])
    quarters = flying[1:].reshape(4, 10).mean(axis=1)
    if came <= 0.0 or answered >= _STEADY_SHARE * came or not (np.diff(quarters) > 0.0).all():
        return None
    slope = float(slopes(grid, flying[None, :])[0])
    residuals = flying - slope * grid
    low = slope - half_width(grid, residuals - residuals.mean(), _GROWTH_WIDENED)
    if low <= 0.0 or slope * step_s / 2.0 < _LEAST_GROWTH:
        return None
    half = step_s / 2.0
    rates = f"{format_rate(came / half)} came and {format_rate(answered / half)} were answered"
    return (
        f"{rates} in the second half of the step: "
        f"{flying[0]:,.0f} requests were in flight at its begin, {flying[-1]:,.0f} at its end"
    )


def given_up(at_s: Values, latency_s: Values, done_s: Values, gave_up: Flags, step_s: float) -> str | None:
    """The same where clients stop waiting, so that no more than so many are ever in flight; None when it is not so.

    Those who time out are many, and those who are answered wait for long, too: some that hang beside others that are
    quick are another fault, which a lower rate does not mend.
    """
    late = (at_s >= step_s / 2.0) & (at_s <= step_s)
    n, lost = int(late.sum()), int((late & gave_up).sum())
    if len(at_s) < LEAST_REQUESTS or lost < _LEAST_GROWTH or lost <= (1.0 - _STEADY_SHARE) * n:
        return None
    limit_s = float(np.median((done_s - at_s)[late & gave_up]))
    answered_s = latency_s[late & np.isfinite(latency_s)]
    if lost < _ALL * n and (not len(answered_s) or float(np.median(answered_s)) < _NEAR_LIMIT * limit_s):
        return None
    half = step_s / 2.0
    rates = f"{format_rate(n / half)} came and {format_rate(len(answered_s) / half)} were answered"
    took = f", the others took {format_duration(float(np.median(answered_s)))} (p50)" if len(answered_s) else ""
    return (
        f"{rates} in the second half of the step: {lost:,} of {n:,} requests timed out after "
        f"{format_duration(limit_s)}{took}"
    )
