"""Requests that wait before the service sees them: the part of upload that is a queue, estimated.

The accept queue of a service and its busy event loop delay the opening of the server window, and nothing inside the
service can see it: from outside it is part of upload. Under a low load hardly anybody waits there, so that step of
the run tells what an upload of a given size costs; what a request takes longer is its estimated wait.

A network gives some requests more than others at any load. That excess at the low load is the noise of the estimate,
and a step whose own is not clearly larger has no estimate. A network that itself becomes slower under load looks like
a queue: the two cannot be told apart from here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.units import format_count, format_duration

LEAST_REQUESTS = 50
"""With fewer, a step says nothing about upload."""
LOW_LOAD = 0.5
"""The reference has at most this share of the highest level: more and its requests may be waiting, too."""
_FASTEST = 0.05
_MOST_FITTED = 100_000
_HALVINGS = 60
_SAME_SIZE_BYTES = 1024
_SAME_SIZE = 0.1
_BATCHES = 10
_T_975 = 2.262  # Student's t with nine degrees of freedom

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ingress:
    """Estimated waits before the server window, one per request; NaN where upload or the step's wait is not known.

    `u0_s + beta_s_per_byte * bytes` is the upload without a wait, from `reference_n` requests of the step
    `reference_step`. `noise_s` and `noise_p95_s`: mean and p95 of the same excess there. `significant`: per step,
    whether its excess is clearly above that; where it is not, and in the reference itself, the waits are NaN.
    """

    queue_est_s: Floats
    reference_step: int
    u0_s: float
    beta_s_per_byte: float
    reference_n: int
    noise_s: float
    noise_p95_s: float
    significant: tuple[bool, ...]
    sentence: str


def estimate(
    upload_s: Floats,
    bytes_sent: NDArray[np.int64],
    step: NDArray[np.int64],
    levels: Sequence[float],
    usable: NDArray[np.bool_],
) -> Ingress | None:
    """The waits before the server window; None without a step of low load to compare with.

    `upload_s` is NaN where unknown, `step` an index into `levels` (offered rate or users; other values are of no
    step), `usable` marks the measured requests that were answered and whose whole split is known, in the order they
    were sent. Never more than the upload: the caller takes it out of there.
    """
    known = ~np.isnan(upload_s)
    rows = [np.flatnonzero(usable & known & (step == number)) for number in range(len(levels))]
    reference = _reference(levels, [len(row) for row in rows])
    if reference is None:
        return None
    quiet = rows[reference]
    u0, beta = _envelope(upload_s[quiet], bytes_sent[quiet].astype(np.float64))
    without = np.maximum(0.0, u0 + beta * bytes_sent)
    excess = np.maximum(0.0, upload_s - without)
    significant = tuple(
        number != reference and _clearly_above(excess[row], excess[quiet]) for number, row in enumerate(rows)
    )
    told = np.isin(step, np.flatnonzero(significant))
    noise, noise_p95 = float(excess[quiet].mean()), float(np.quantile(excess[quiet], 0.95))
    return Ingress(
        queue_est_s=np.where(told, excess, np.nan),
        reference_step=reference,
        u0_s=u0,
        beta_s_per_byte=beta,
        reference_n=len(quiet),
        noise_s=noise,
        noise_p95_s=noise_p95,
        significant=significant,
        sentence=_sentence(u0, beta, len(quiet), noise, significant),
    )


def _reference(levels: Sequence[float], counts: Sequence[int]) -> int | None:
    """The step of the lowest level with enough requests, if that is low enough; of several, the one with the most."""
    enough = [number for number, count in enumerate(counts) if count >= LEAST_REQUESTS]
    if not enough:
        return None
    lowest = min(enough, key=lambda number: (levels[number], -counts[number]))
    return lowest if levels[lowest] <= LOW_LOAD * max(levels) else None


# --- what an upload costs ----------------------------------------------------------------------------------


def _envelope(upload_s: Floats, size: Floats) -> tuple[float, float]:
    """Seconds, and seconds per byte >= 0: the line that one upload in twenty is below.

    Quantile regression (Koenker and Bassett 1978). For a slope the best intercept is a quantile of what is left, and
    the loss is convex in the slope: bisection by the sign of its derivative.
    """
    stride = -(-len(size) // _MOST_FITTED)
    upload_s, size = upload_s[::stride], size[::stride]
    low, middle, high = np.quantile(size, [0.05, 0.5, 0.95])
    if high - low <= max(_SAME_SIZE_BYTES, _SAME_SIZE * middle) or _gain(upload_s, size, 0.0) <= 0:
        return _fastest(upload_s), 0.0
    below, above = 0.0, float(np.ptp(upload_s) / np.ptp(size))
    while _gain(upload_s, size, above) > 0:
        below, above = above, 2 * above
    for _ in range(_HALVINGS):
        slope = (below + above) / 2
        below, above = (slope, above) if _gain(upload_s, size, slope) > 0 else (below, slope)
    slope = (below + above) / 2
    return _fastest(upload_s - slope * size), slope


def _gain(upload_s: Floats, size: Floats, slope: float) -> float:
    """How much of its loss the regression would lose per unit of more slope, at the best intercept."""
    left = upload_s - slope * size
    left -= _fastest(left)
    weight = np.where(left < 0, _FASTEST - 1, _FASTEST)
    on_line = left == 0
    weight[on_line] = -weight[~on_line].sum() / np.count_nonzero(on_line)  # what makes the intercept the best one
    return float(weight @ size)


def _fastest(seconds: Floats) -> float:
    return float(np.quantile(seconds, _FASTEST, method="inverted_cdf"))


# --- queue or noise ----------------------------------------------------------------------------------------


def _clearly_above(excess_s: Floats, noise_s: Floats) -> bool:
    """Whether the mean excess is twice the reference's or more, and the difference is beyond its 95 % interval.

    Twice, because the estimate of each request has the noise in it: less than half of it would be a wait. Waits of
    neighbours resemble each other, so the variances are of the means of consecutive batches.
    """
    if len(excess_s) < LEAST_REQUESTS:
        return False
    variance = sum(
        float(np.var([batch.mean() for batch in np.array_split(part, _BATCHES)], ddof=1)) / _BATCHES
        for part in (excess_s, noise_s)
    )
    noise = float(noise_s.mean())
    return float(excess_s.mean()) - noise > max(noise, _T_975 * math.sqrt(variance))


def _sentence(u0: float, beta: float, n: int, noise: float, significant: Sequence[bool]) -> str:
    cost = format_duration(max(0.0, u0))
    if beta > 0:
        cost += f" and {format_duration(beta * 2**20)} per MiB"
    said = (
        f"Waits before the service took a request are estimated: its upload beyond {cost}, the fastest of "
        f"{format_count(n)} requests at the lowest load; the mean one took {format_duration(noise)} more there"
    )
    others = len(significant) - 1
    unclear = others - sum(significant)
    if unclear == others:
        return f"{said}; under more load it is not clearly more than that: no wait can be told."
    return f"{said}; in {unclear} of {others} other steps it is not clearly more than that." if unclear else f"{said}."
