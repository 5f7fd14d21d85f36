"""Stage shares over time, drawn: of the mean request, and of the slowest ones."""

from __future__ import annotations

import pandas as pd

from harness.findings import Summary
from harness.report import binning, charts, figures
from harness.report.drawings.drawing import ChartTable, Drawing
from harness.report.lines import SHOWN_ORDER, stage_label, unended
from harness.report.palette import IN_PAGE, Theme
from harness.views import Views

TABLE_ROWS = 12


def stages_drawing(summary: Summary, ledger: pd.DataFrame, __: Views, theme: Theme = IN_PAGE) -> Drawing | None:
    """What part of the mean latency each stage took, over time."""
    rows = binning.split_rows(ledger)
    shares = binning.stage_shares(rows)
    if shares.empty:
        return None
    return Drawing(
        key="stages",
        title="Stages over time",
        label="Share of each stage in the mean latency over the measured phase, as a stacked area.",
        note="Measured, ok requests with a server half; a gap had none. "
        f"The first stage of the legend lies at the bottom. {unended(summary, 'drawn')}".strip(),
        chart=charts.stages_over_time(shares, theme, end_s=rows.end_s),
        table=_table("Share of the mean latency by time", binning.stage_shares(rows, TABLE_ROWS)),
    )


def stages_tail_drawing(_: Summary, ledger: pd.DataFrame, __: Views, theme: Theme = IN_PAGE) -> Drawing | None:
    """The same of the slowest requests of each moment."""
    rows = binning.split_rows(ledger)
    shares = binning.tail_shares(rows)
    if shares.empty:
        return None
    return Drawing(
        key="stages_tail",
        title="Stages of the slowest requests over time",
        label="Share of each stage in the mean latency of the slowest requests over the measured phase, stacked.",
        note="Of each slice of time the requests from its 95th percentile on, "
        f"{int(shares['requests'].min()):,} or more. The first stage of the legend lies at the bottom.",
        chart=charts.stages_over_time(shares, theme, of="the latency of the slowest", end_s=rows.end_s),
        table=_table(
            "Share of the mean latency of the slowest requests by time", binning.tail_shares(rows, TABLE_ROWS)
        ),
    )


def _table(caption: str, coarse: pd.DataFrame) -> ChartTable:
    wide = coarse.pivot_table(index="t_s", columns="stage", values="share")
    counts = coarse.groupby("t_s")["requests"].first()
    stages = [s for s in SHOWN_ORDER if s in wide.columns]
    rows = tuple(
        (f"{t:.1f}", f"{n:,}", *(figures.share(share) for share in row))
        for t, n, row in zip(wide.index, counts, wide[stages].to_numpy(), strict=True)
    )
    return ChartTable(caption, ("around second", "requests", *map(stage_label, stages)), rows)
