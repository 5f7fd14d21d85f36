"""What a report shows beside the findings of a run: single requests, vitals over time, flame graphs, another curve.

Each part is there or not: what cannot be read of a run costs its own part, never the report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.conclude import Conclusion
from harness.errors import RunFolderError
from harness.evidence.vitals import possible_vitals, vitals_of
from harness.findings import RequestRow
from harness.flames import call_profiles, span_flames
from harness.model import Phase, Scenario, Vital
from harness.run_folder import RunFolder
from harness.tables import read_columns
from harness.views import BaselineCurve, Flame, Views, VitalSeries, Waterfall
from harness.waterfall import of_requests, read_clock
from harness.windows import Offsets

MOST_POINTS = 240
"""Of a vital: as many as the pixels of a small chart."""
CURVE_POINTS = 200
_BARS = 120
_MOST_SERIES = 60
_OFTEN_NS = 1_000_000_000
_NOT_OVER_TIME = {"harness.spans.started", "harness.spans.exported", "harness.spans.lost"}
"""Counted since the process began: a line that only rises says nothing about a run."""

T = TypeVar("T")


def views_of(folder: RunFolder, conclusion: Conclusion, scenario: Scenario, record: Mapping[str, object]) -> Views:
    """What can be shown of a run that was concluded. `record` is its run.json."""
    offsets = conclusion.ledger.offsets
    summary = conclusion.summary

    def drawn(rows: Sequence[RequestRow]) -> tuple[Waterfall, ...]:
        return _waterfalls(folder, scenario, record, rows, offsets, conclusion.rows)

    return Views(
        slowest=_or(lambda: drawn(summary.slowest), ()),
        typical=_or(lambda: drawn(summary.typical), ()),
        vitals=_or(lambda: vital_series(conclusion), ()),
        flames=_or(lambda: _flames(folder, conclusion), ()),
    )


def _or(make: Callable[[], T], without: T) -> T:
    try:
        return make()
    except (RunFolderError, ArithmeticError, LookupError, ValueError, MemoryError, RecursionError, pa.ArrowException):
        return without


def _waterfalls(
    folder: RunFolder,
    scenario: Scenario,
    record: Mapping[str, object],
    rows: Sequence[RequestRow],
    offsets: Offsets,
    ledger: pd.DataFrame,
) -> tuple[Waterfall, ...]:
    ids = [row.request_id for row in rows]
    return of_requests(folder, scenario, record, ids, offsets, ledger=ledger, most_bars=_BARS)


def _flames(folder: RunFolder, conclusion: Conclusion) -> tuple[Flame, ...]:
    seen = conclusion.seen
    return (*span_flames(seen.joined.halves, seen.samples, seen.evidence.split_rows), *call_profiles(folder))


# --- vitals ------------------------------------------------------------------------------------------------


def vital_series(conclusion: Conclusion) -> tuple[VitalSeries, ...]:
    """Every vital of every process over the whole run, at most MOST_POINTS each, on our clock.

    A point is the mean of its slice of time; of a duration (a lag, a pause) the longest.
    """
    seen = conclusion.seen
    frame = seen.evidence.vitals
    if frame is None:
        frame = vitals_of(seen.vitals, seen.joined.halves, seen.ledger)
    units = dict(zip(seen.vitals.column("name").to_pylist(), seen.vitals.column("unit").to_pylist(), strict=True))
    return _each_series(frame, units, pc.min(seen.samples.column("scheduled_ns")).as_py())


def stored_vitals(folder: RunFolder) -> tuple[VitalSeries, ...]:
    """As `vital_series`, of a stored run whose requests are not read: its clocks are those of clock.json.

    Of several hosts nobody can say which one a process was on: none is drawn where that would move it by more than a
    second, how often processes tell their vitals. Raises RunFolderError.
    """
    told = folder.read_table("vitals", Vital)
    offsets = [offset.offset_ns for _, offset in read_clock(folder) or () if offset is not None]
    if not told.num_rows or (len(offsets) > 1 and max(map(abs, offsets)) > _OFTEN_NS):
        return ()
    frame = possible_vitals(told)
    frame["at_ns"] -= offsets[0] if len(offsets) == 1 else 0
    scheduled = read_columns(folder, "samples", ["scheduled_ns"])["scheduled_ns"]
    units = {
        row["name"]: row["unit"]
        for row in told.select(["name", "unit"]).group_by(["name", "unit"]).aggregate([]).to_pylist()
    }
    return _each_series(frame, units, int(scheduled.min()) if len(scheduled) else None)


def _each_series(frame: pd.DataFrame, units: Mapping[str, str], zero: int | None) -> tuple[VitalSeries, ...]:
    frame = frame[~frame["name"].isin(_NOT_OVER_TIME) & frame["process"].notna()]
    if frame.empty or zero is None:
        return ()
    groups = list(frame.groupby(["name", "process"], sort=True))[:_MOST_SERIES]
    return tuple(
        _series(str(name), units[str(name)], str(process), (rows["at_ns"].to_numpy() - zero) / 1e9, rows["value"])
        for (name, process), rows in groups
    )


def _series(name: str, unit: str, process: str, at_s: NDArray[np.float64], told: pd.Series[float]) -> VitalSeries:
    order = np.argsort(at_s, kind="stable")
    at_s, values = at_s[order], np.asarray(told, dtype=np.float64)[order]
    length = float(at_s[-1] - at_s[0])
    if len(at_s) > MOST_POINTS and length > 0:
        slices = np.minimum(((at_s - at_s[0]) * (MOST_POINTS / length)).astype(np.int64), MOST_POINTS - 1)
        first = np.flatnonzero(np.diff(slices, prepend=-1))
        count = np.diff(np.append(first, len(slices)))
        at_s = np.add.reduceat(at_s, first) / count
        values = np.maximum.reduceat(values, first) if unit == "s" else np.add.reduceat(values, first) / count
    return VitalSeries(name, unit, process, tuple(at_s[:MOST_POINTS].tolist()), tuple(values[:MOST_POINTS].tolist()))


# --- another run -------------------------------------------------------------------------------------------


def baseline_curve(folder: RunFolder) -> BaselineCurve | None:
    """The latency of the measured requests of a stored run against the share of them that is at least as slow.

    A failed request is slower than any, so the curve ends where those begin. None when no request was ok. Raises
    RunFolderError.
    """
    frame = read_columns(folder, "ledger", ["phase", "ok", "latency_s"])
    frame = frame[frame["phase"] == Phase.MEASURE.value]
    latency = frame.loc[frame["ok"].astype(bool), "latency_s"].to_numpy(dtype=np.float64)
    ordered = np.sort(latency[np.isfinite(latency)])
    n = len(frame)
    if not len(ordered):
        return None
    from_end = np.unique(np.geomspace(n - len(ordered) + 1, n, CURVE_POINTS).round().astype(np.int64))
    slower, latency_s = tuple((from_end / n).tolist()), tuple(ordered[n - from_end].tolist())
    return BaselineCurve(folder.run_id, slower, latency_s, *_plan_of(folder))


def _plan_of(folder: RunFolder) -> tuple[str | None, str | None]:
    """Scenario and load of a concluded run; its summary is looked at, not checked: it says two words of a note."""
    try:
        told = folder.read_json("summary.json")
    except RunFolderError:
        return None, None
    scenario, load = (told.get(key) if isinstance(told, dict) else None for key in ("scenario", "load"))
    return scenario if isinstance(scenario, str) else None, load if isinstance(load, str) else None
