"""Stage shares over time, drawn."""

from __future__ import annotations

import pandas as pd

from harness.findings import Summary
from harness.report import binning, charts, figures
from harness.report.drawings.drawing import ChartTable, Drawing
from harness.report.lines import SHOWN_ORDER, stage_label
from harness.report.palette import IN_PAGE, Theme
from harness.views import Views


def stages_drawing(_: Summary | None, ledger: pd.DataFrame, views: Views, theme: Theme = IN_PAGE) -> Drawing | None:
    """What part of the mean latency each stage took, over time."""
    shares = binning.stage_shares(ledger)
    if shares.empty:
        return None
    coarse = binning.stage_shares(ledger, 12)
    wide = coarse.pivot_table(index="t_s", columns="stage", values="share")
    stages = [s for s in SHOWN_ORDER if s in wide.columns]
    rows = tuple(
        (f"{t:.1f}", *(figures.share(share) for share in row))
        for t, row in zip(wide.index, wide[stages].to_numpy(), strict=True)
    )
    return Drawing(
        key="stages",
        title="Stages over time",
        label="Share of each stage in the mean latency over the measured phase, as a stacked area.",
        note="Measured, ok requests with a server half.",
        chart=charts.stages_over_time(shares, theme),
        table=ChartTable("Share of the mean latency by time", ("seconds", *map(stage_label, stages)), rows),
    )
