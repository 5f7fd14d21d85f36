"""Requests that wait before the service sees them: the part of upload that is a queue, estimated.

The accept queue of a service and its busy event loop delay the opening of the server window, and nothing inside the
service can see it. From outside it is part of upload. Under the lowest load hardly anybody waits there, so that step
of the run tells what an upload of a given size costs; what a request takes longer is its estimated wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Ingress:
    """Estimated waits before the server window, one per request; NaN where upload or the step's wait is not known.

    `u0_s + beta_s_per_byte * bytes` is the upload without a wait, from `reference_n` requests of the step
    `reference_step`. `noise_s` and `noise_p95_s`: mean and p95 of the same excess there. `significant`: per step,
    whether its excess is clearly above that; where it is not, the waits of the step are NaN.
    """

    queue_est_s: NDArray[np.float64]
    reference_step: int
    u0_s: float
    beta_s_per_byte: float
    reference_n: int
    noise_s: float
    noise_p95_s: float
    significant: tuple[bool, ...]
    sentence: str


def estimate(
    upload_s: NDArray[np.float64],
    bytes_sent: NDArray[np.int64],
    step: NDArray[np.int64],
    levels: Sequence[float],
    usable: NDArray[np.bool_],
) -> Ingress | None:
    """The waits before the server window; None without a step of low load to compare with.

    `upload_s` is NaN where unknown, `step` an index into `levels` (offered rate or users), `usable` marks the
    measured requests that were answered and whose whole split is known.
    """
    return None
