"""What became of the requests of a run, in numbers."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pyarrow as pa

from harness.findings import Counts
from harness.model import Arrivals, Phase, Scenario


def count(scenario: Scenario, record: Mapping[str, object], samples: pa.Table, in_measure: pd.DataFrame) -> Counts:
    """Requests of the measured phase. Those still in flight at the end are in the samples only (censored).

    A closed loop offers no rate: each user sends again when it has its answer.
    """
    columns = ["phase", "censored", "send_ns", "scheduled_ns", "done_ns", "error", "status", "failed_checks"]
    frame = samples.select(columns)
    everything = frame.to_pandas()  # a handful of columns: nulls become NaN
    phase = everything[everything["phase"] == Phase.MEASURE.value]
    ok = in_measure["ok"]
    measured_s = _measured_s(scenario, record, everything)
    closed = scenario.load.arrivals is Arrivals.USERS
    return Counts(
        scheduled=len(phase),
        sent=int(phase["send_ns"].notna().sum()),
        ok=int(ok.sum()),
        failed=int((~ok).sum()),
        censored=int(phase["censored"].sum()),
        warmup=int((everything["phase"] == Phase.WARMUP.value).sum()),
        errors=_errors(phase),
        split=tuple((str(k), int(v)) for k, v in in_measure[ok]["split"].value_counts().items()),
        offered_per_s=len(phase) / measured_s if measured_s and not closed else None,
        completed_per_s=int(ok.sum()) / measured_s if measured_s else None,
    )


def measured_time(scenario: Scenario, record: Mapping[str, object], samples: pa.Table) -> tuple[int, float] | None:
    """When the measured phase began (epoch ns) and how many seconds it lasted; None when nothing was measured."""
    frame = samples.select(["phase", "scheduled_ns", "done_ns"]).to_pandas()
    seconds = _measured_s(scenario, record, frame)
    if not seconds:
        return None
    load = record.get("load")
    begin_ns = load.get("measured_from_ns") if isinstance(load, dict) else None
    if not isinstance(begin_ns, int):
        begin_ns = int(frame.loc[frame["phase"] == Phase.MEASURE.value, "scheduled_ns"].min())
    return begin_ns, seconds


def _measured_s(scenario: Scenario, record: Mapping[str, object], samples: pd.DataFrame) -> float | None:
    """Length of the measured phase: as the load processes say, as planned, or up to the last sign of life.

    The last when the run was cut short without a word from them. None when nothing was measured.
    """
    due = samples.loc[samples["phase"] == Phase.MEASURE.value, "scheduled_ns"]
    if due.empty:
        return None
    load = record.get("load")
    ends = [load.get(name) if isinstance(load, dict) else None for name in ("measured_from_ns", "measured_until_ns")]
    if isinstance(ends[0], int) and isinstance(ends[1], int) and ends[0] < ends[1]:
        return (ends[1] - ends[0]) / 1e9
    planned = scenario.load.measured_s
    if record.get("status") == "finished":
        return planned
    last_ns = max(int(samples["scheduled_ns"].max()), int(samples["done_ns"].max()))
    return min(planned, max((last_ns - int(due.min())) / 1e9, planned / len(due)))


def _errors(phase: pd.DataFrame) -> tuple[tuple[str, int], ...]:
    ended = phase[~phase["censored"]]
    texts = ended["error"].astype(object).where(ended["error"].notna(), None)
    checks = ended["failed_checks"].astype(object).where(ended["failed_checks"].notna(), None)
    what = [
        error or _check_name(check, status)
        for error, check, status in zip(texts, checks, ended["status"], strict=True)
        if error or check
    ]
    counted = pd.Series(what, dtype=object).value_counts()
    return tuple((str(name), int(count)) for name, count in counted.items())


def _check_name(checks: str, status: float) -> str:
    return f"status {status:.0f}" if checks == "status" else f"check {checks} failed (status {status:.0f})"


def duration(samples: pa.Table) -> float:
    """From the first scheduled instant to the last answer, seconds; 0 without a request."""
    if samples.num_rows == 0:
        return 0.0
    first = pa.compute.min(samples.column("scheduled_ns")).as_py()
    return float(pa.compute.max(samples.column("done_ns")).as_py() - first) / 1e9
