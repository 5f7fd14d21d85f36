"""Vitals of the processes over the run, one row a vital, over one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd

from harness.report.charts.parts import AnyChart, Layer, chart_of, finite, note_at, seconds_axis, styled
from harness.report.palette import IN_PAGE, Theme

ROW, GAP = 48, 32
"""Pixels of a row, and above it for its title."""
DASHES = ([1, 0], [5, 3], [2, 2], [8, 3, 2, 3])


@dataclass(frozen=True, slots=True)
class VitalRow:
    """One vital. `lines` has `t_s, value, process` with the place of the process in the chart's `processes`."""

    title: str
    lines: pd.DataFrame
    percent: bool = False
    whole: bool = False  # counts: half a thread is no mark of an axis


def vitals_over_time(
    rows: Sequence[VitalRow], processes: Sequence[str], end_s: float, theme: Theme = IN_PAGE
) -> AnyChart:
    """Rows from top to bottom, each with its own scale from zero; the processes differ in colour and dash."""
    x_scale = alt.Scale(domain=[0, max(finite(end_s) or 0.0, 1e-9)], nice=False)
    hues = [theme.accent, theme.attention, theme.stages["preprocess"], theme.stages["postprocess"]]
    layers: list[AnyChart | Layer] = []
    for number, row in enumerate(rows):
        top = number * (ROW + GAP) + GAP
        layers.append(_row(row, list(processes), hues, x_scale, top))
        layers.append(note_at(row.title, top - 14, theme, x=0, align="left", color=theme.ink, fontSize=12))
    return styled(layers, theme, len(rows) * (ROW + GAP), apart=("y",))


def _row(row: VitalRow, processes: list[str], hues: list[str], x_scale: alt.Scale, top: int) -> alt.Chart:
    looks = [(hues[i % len(hues)], DASHES[i % len(DASHES)]) for i in range(len(processes))]
    legend = alt.Legend(title=None, labelLimit=320) if len(processes) > 1 else None
    told = row.lines["value"].to_numpy(dtype=np.float64)
    lines = row.lines[np.isfinite(told)]
    most = float(lines["value"].max()) if len(lines) else 1.0
    least = min(0.0, float(lines["value"].min())) if len(lines) else 0.0
    scale = alt.Scale(domain=[least, most if most > least else least + 1.0], range=[top + ROW, top], nice=False)
    y = alt.Y(
        "value:Q", title=None, scale=scale,
        axis=alt.Axis(
            tickCount=2, format=".0%" if row.percent else "~s" if most >= 1000 else ".3~r", orient="left", grid=True,
            labelOverlap=True, minExtent=36, tickMinStep=1 if row.whole else alt.Undefined,
        ),
    )  # fmt: skip
    domain = [f"{p}" for p in processes]
    made: alt.Chart = (
        chart_of(t_s=lines["t_s"], value=lines["value"], place=lines["process"])
        .transform_lookup(
            lookup="place",
            from_=alt.LookupData(
                data=alt.InlineData(values=[{"place": i, "process": p} for i, p in enumerate(domain)]),
                key="place", fields=["process"],
            ),
        )
        .mark_line(strokeWidth=1.5)
        .encode(
            x=seconds_axis("t_s:Q", x_scale),
            y=y,
            color=alt.Color("process:N", legend=legend, scale=alt.Scale(domain=domain, range=[c for c, _ in looks])),
            strokeDash=alt.StrokeDash(
                "process:N", legend=legend, scale=alt.Scale(domain=domain, range=[d for _, d in looks])
            ),
            tooltip=[
                alt.Tooltip("process:N"),
                alt.Tooltip("t_s:Q", title="at (s)", format=",.1f"),
                alt.Tooltip("value:Q", title="value", format=".1%" if row.percent else ",.4~r"),
            ],
        )
    )  # fmt: skip
    return made
