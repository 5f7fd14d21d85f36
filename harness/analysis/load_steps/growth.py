"""Which stage takes longer at the highest load than at the lowest, and whether it works longer or waits longer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis.statistics import binomial
from harness.analysis.statistics.quantiles import CONFIDENCE, effective_size
from harness.diagnosis import Grows, GrowthFindings
from harness.findings import Estimate
from harness.model import SERVER_STAGES

WHOLE_STAGES = ("backlog", "transfer", "queue_est", *SERVER_STAGES, "other")
"""The stages that add up to the latency of a request with a server half; none is a part of another."""

LEAST_REQUESTS = 20
"""A step with fewer stands for nothing."""

_LEAST_EFFECTIVE = 6.0
_WAITING = ("backlog", "queue_est", "queue")
_MOSTLY = 0.5

Values = NDArray[np.float64]


def growth_findings(
    split_rows: pd.DataFrame, levels: Sequence[float], cpu: pd.DataFrame | None
) -> tuple[GrowthFindings, ...]:
    """Each stage in the step of the lowest level against the step of the highest one, what grows most first.

    `split_rows` are the rows of the stage table, `levels` the load of each step, `cpu` the CPU seconds of stages with
    the index of `split_rows` (NaN: not known). Empty where the load or the mean latency did not grow.
    """
    ends = _ends(split_rows, levels)
    if ends is None:
        return ()
    low, high = (split_rows[(split_rows["step"] == step).to_numpy()] for step in ends)
    growth = float(high["latency_s"].mean()) - float(low["latency_s"].mean())
    if not growth > 0.0:
        return ()
    low_parts, high_parts = known_stages(low), known_stages(high)
    found = []
    for stage, high_values in high_parts.items():
        if stage in low_parts or stage == "queue_est":  # not estimated at the low load: it is the reference
            low_values = low_parts.get(stage, np.zeros(len(low)))
            change = difference(low_values, high_values)
            cpu_change = _cpu_change(cpu, stage, low, high)
            found.append(
                GrowthFindings(
                    stage=stage, low_step=ends[0], high_step=ends[1],
                    low_s=float(low_values.mean()), high_s=float(high_values.mean()), change=change,
                    share=(change.value or 0.0) / growth, cpu_change_s=cpu_change,
                    grows=_grows(stage, change, cpu_change),
                )
            )  # fmt: skip
    return tuple(sorted(found, key=lambda f: -(f.change.value or 0.0)))


def known_stages(rows: pd.DataFrame) -> dict[str, Values]:
    """The whole stages that are known of every one of these rows, seconds."""
    found: dict[str, Values] = {}
    for stage in WHOLE_STAGES if len(rows) else ():
        values = rows[f"{stage}_s"].to_numpy(dtype=np.float64)
        if stage == "queue_est" and not np.isnan(values).all():
            values = np.nan_to_num(values)  # a request without an estimate has that wait in its upload
        if np.isfinite(values).all():
            found[stage] = values
    return found


def difference(low: Values, high: Values) -> Estimate:
    """Mean of `high` less mean of `low`, series in time order, by Welch's interval on their effective sizes."""
    n = min(len(low), len(high))
    if not n:
        return Estimate(None, None, None, 0, refusal="no request counts here")
    value = float(high.mean() - low.mean())
    sizes = [min(effective_size(series), float(len(series))) for series in (low, high)]
    if min(sizes) < _LEAST_EFFECTIVE:
        return Estimate(value, None, None, n)
    parts = [float(series.var(ddof=1)) / size for series, size in zip((low, high), sizes, strict=True)]
    variance = sum(parts)
    if variance <= 0.0:
        return Estimate(value, value, value, n)
    freedom = variance**2 / sum(part**2 / (size - 1.0) for part, size in zip(parts, sizes, strict=True))
    half = binomial.t_quantile(0.5 + CONFIDENCE / 2.0, freedom) * math.sqrt(variance)
    return Estimate(value, value - half, value + half, n)


def _ends(rows: pd.DataFrame, levels: Sequence[float]) -> tuple[int, int] | None:
    """The steps of the lowest and of the highest load that have enough requests; None where they are the same load."""
    counted = rows["step"].value_counts()
    enough = sorted(
        (levels[step], step)
        for step in (int(s) for s in counted.index[counted >= LEAST_REQUESTS])
        if 0 <= step < len(levels)
    )
    if not enough or enough[0][0] == enough[-1][0]:
        return None
    return enough[0][1], enough[-1][1]


def _cpu_change(cpu: pd.DataFrame | None, stage: str, low: pd.DataFrame, high: pd.DataFrame) -> float | None:
    """How much more CPU the stage takes; None unless most requests of both steps tell."""
    if cpu is None or stage not in cpu.columns:
        return None
    means = []
    for rows in (low, high):
        values = cpu[stage].reindex(rows.index).to_numpy(dtype=np.float64)
        told = values[np.isfinite(values)]
        if len(told) < max(LEAST_REQUESTS, _MOSTLY * len(rows)):
            return None
        means.append(float(told.mean()))
    return means[1] - means[0]


def _grows(stage: str, change: Estimate, cpu_change: float | None) -> Grows | None:
    """What the stage does more of, where it grows beyond chance."""
    certain = change.value is not None and change.value > 0.0 and (change.low is None or change.low > 0.0)
    if not certain or change.value is None:
        return None
    if stage in _WAITING:
        return Grows.WAITS
    if cpu_change is None:
        return None
    return Grows.WORKS if cpu_change >= _MOSTLY * change.value else Grows.WAITS
