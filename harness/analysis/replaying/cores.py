"""More workers than cores: a replay does not know that they would slow each other down."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.join import Intervals
from harness.model import CLAIMS
from harness.units import format_count, format_share

LIMIT = "harness.cpu.limit"
USED = "process.cpu.utilization"
COMPUTES = 0.5
"""Share of the work in which its thread runs, from which on it needs a core of its own."""
HARDLY = 0.1
"""Likewise, up to which it needs none."""
USED_UP = 0.8
_WORK = [CLAIMS.index(s) for s in ("preprocess", "inference", "postprocess")]


def warning(intervals: Intervals, vitals: pa.Table, workers: int) -> str | None:
    """What is to be said when `workers`, over all processes, may be more than the processor carries; else None.

    `vitals` are rows of model.Vital.
    """
    cores, used = _limit(vitals), _used(vitals)
    if cores is None:
        return None
    told = f"{format_count(workers)} workers on {cores:g} cores: "
    if used is not None and used >= USED_UP * cores:
        return f"{told}the service used {used:.2g} of them already, which the replay does not know"
    if workers <= cores:
        return None
    busy = computing(intervals)
    if busy is not None and busy >= COMPUTES:
        return (
            f"{told}their work keeps a core busy {format_share(busy)} of its time, so that more of them than cores "
            "give nothing. The replay does not know that"
        )
    if busy is None:
        return f"{told}if their work computes, more of them than cores give nothing. The replay does not know that"
    return None


def carries(intervals: Intervals, vitals: pa.Table | None, workers: int) -> bool | None:
    """Whether the processor carries `workers`, over all processes; None where the run does not tell."""
    busy = computing(intervals)
    cores, used = (None, None) if vitals is None else (_limit(vitals), _used(vitals))
    if cores is not None and used is not None and used >= USED_UP * cores:
        return False
    if cores is not None and busy is not None and busy >= COMPUTES and workers > cores:
        return False
    if busy is not None and busy <= HARDLY:
        return True
    if cores is None or used is None or (busy is None and workers > cores):
        return None
    return True


def computing(intervals: Intervals) -> float | None:
    """CPU over wall clock of the work that has both, each instant once; None when none has."""
    works = np.isin(intervals.stage, _WORK)
    above = intervals.parent
    outermost = works & ~((above >= 0) & works[np.maximum(above, 0)]) if len(works) else works
    counted = outermost & (intervals.cpu_ns >= 0)
    wall_ns = float((intervals.end_ns - intervals.start_ns)[counted].sum())
    return float(intervals.cpu_ns[counted].sum()) / wall_ns if wall_ns > 0 else None


def _limit(vitals: pa.Table) -> float | None:
    limits = vitals.filter(pc.equal(vitals.column("name"), LIMIT)).column("value")
    return float(pc.max(limits).as_py()) if len(limits) else None


def _used(vitals: pa.Table) -> float | None:
    """Cores in use by all processes of the service, in the mean over time."""
    used = vitals.filter(pc.equal(vitals.column("name"), USED)).select(["service", "pid", "value"]).to_pandas()
    if used.empty:
        return None
    return float(used.groupby(["service", "pid"], dropna=False)["value"].mean().sum())
