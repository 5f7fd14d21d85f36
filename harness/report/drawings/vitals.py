"""Vitals over the run, drawn."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.findings import Summary
from harness.report import binning, charts
from harness.report.charts import VitalRow
from harness.report.drawings.drawing import ChartTable, Drawing, distinct
from harness.report.figures import in_unit
from harness.report.palette import IN_PAGE, Theme
from harness.report.text import visible
from harness.views import Views, VitalSeries

MOST_ROWS = 10
MOST_PROCESSES = 8
FIRST = ("cpu", "memory", "lag", "in_flight", "queue", "waiting", "batch", "gc")
"""What is looked at first: a vital whose name has one of these words stands above the others."""
TITLES = {
    "process.cpu.utilization": "CPU", "process.memory.usage": "memory", "process.thread.count": "threads",
    "harness.event_loop.lag": "event loop lag", "harness.requests.in_flight": "requests in flight",
    "harness.threadpool.in_use": "thread pool: in use", "harness.threadpool.waiting": "thread pool: waiting",
    "harness.threadpool.size": "thread pool: size", "harness.gc.pause": "garbage collection: pauses",
    "harness.gc.collections": "garbage collection: runs", "harness.cpu.limit": "CPU limit",
}  # fmt: skip
MOST_TABLE_ROWS = 60
_UNITS = {"By": "B", "1": "", "{thread}": "", "{request}": ""}
_SHOWN_AS = {
    "By": (1 / 2**20, "MiB"),
    "s": (1000.0, "ms"),
    "1": (1.0, ""),
    "{thread}": (1.0, ""),
    "{request}": (1.0, ""),
}


def vitals_drawing(_: Summary, __: pd.DataFrame, views: Views, theme: Theme = IN_PAGE) -> Drawing | None:
    """What the processes used while they were measured; what never changed is in the table alone."""
    found = [(series, binning.points(series)) for series in views.vitals]
    known = [(series, frame) for series, frame in found if not frame.empty]
    if not known:
        return None
    names = sorted({s.name for s, _ in known}, key=_place)
    moving = [n for n in names if any(f["value"].nunique() > 1 for s, f in known if s.name == n)]
    shown = (moving or names)[:MOST_ROWS]
    processes = list(dict.fromkeys(s.process for s, _ in known if s.name in shown))[:MOST_PROCESSES]
    drawn = [[(s, f) for s, f in known if s.name == name and s.process in processes] for name in shown]
    rows = [_row(each[0][0].name, each, processes) for each in drawn if each]
    end_s = max(float(f["t_s"].max()) for s, f in known if s.name in shown)
    left = len(names) - len(shown)
    many = any(len(binning.thinned(f)) < len(f) for s, f in known if s.name in shown)
    return Drawing(
        key="vitals",
        title="Vitals",
        label=f"{', '.join(_title(n) for n in shown)} over the run, of {len(processes)} "
        f"process{'' if len(processes) == 1 else 'es'}.",
        note="A point is the mean of its moment, of a lag or a pause the longest."
        + (" Of many points, the highest of each stretch is drawn." if many else "")
        + (f" {left} more {'is' if left == 1 else 'are'} in the table alone." if left else ""),
        chart=charts.vitals_over_time(rows, distinct([visible(p, 40) for p in processes]), end_s, theme),
        table=_table(known),
    )


def _place(name: str) -> tuple[int, str]:
    found = next((i for i, word in enumerate(FIRST) if word in name), len(FIRST))
    return len(FIRST) if name.endswith(("limit", "size")) else found, name


def _title(name: str) -> str:
    return TITLES.get(name) or visible(name, 40)


def _row(name: str, found: Sequence[tuple[VitalSeries, pd.DataFrame]], processes: Sequence[str]) -> VitalRow:
    percent = "utilization" in name
    factor, unit = (1.0, "") if percent else _SHOWN_AS.get(found[0][0].unit, (1.0, visible(found[0][0].unit, 12)))
    lines = [
        binning.thinned(frame).assign(value=frame["value"] * factor, process=processes.index(s.process))
        for s, frame in found
    ]
    title, rows = f"{_title(name)} ({unit})" if unit else _title(name), pd.concat(lines, ignore_index=True)
    return VitalRow(title, rows, percent, whole=bool((rows["value"] % 1 == 0).all()))


def _table(found: Sequence[tuple[VitalSeries, pd.DataFrame]]) -> ChartTable:
    """The least, the typical and the highest point of each line."""
    rows = []
    for series, frame in sorted(found, key=lambda each: (_place(each[0].name), each[0].process)):
        unit = "ratio" if "utilization" in series.name else _UNITS.get(series.unit, visible(series.unit, 12))
        values = frame["value"]
        middle = float(values.sort_values().iloc[(len(values) - 1) // 2])
        told = (in_unit(value, unit) for value in (float(values.min()), middle, float(values.max())))
        rows.append((_title(series.name), visible(series.process, 60), *told))
    columns = ("vital", "process", "least", "typical", "highest")
    return ChartTable("Vitals over the run", columns, tuple(rows[:MOST_TABLE_ROWS]))
