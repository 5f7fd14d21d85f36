"""What part of the latency each stage took, over time."""

from __future__ import annotations

import altair as alt
import pandas as pd

from harness.model import STAGES
from harness.report.charts.parts import AnyChart, seconds_axis, styled
from harness.report.lines import stage_label
from harness.report.palette import IN_PAGE, Theme


def stages_over_time(shares: pd.DataFrame, theme: Theme = IN_PAGE) -> AnyChart:
    """What part of the mean latency each stage took, as a stacked area over time."""
    present = set(shares["stage"])
    stages = [s for s in ("transfer", *STAGES) if s in present]
    drawn = shares.assign(order=shares["stage"].map(stages.index), label=shares["stage"].map(stage_label))
    labels, colours = [stage_label(s) for s in stages], [theme.stages[s] for s in stages]
    area = (
        alt.Chart(drawn[["t_s", "share", "label", "order"]])
        .mark_area(line={"color": theme.surface, "strokeWidth": 0.6}, opacity=1.0)
        .encode(
            x=seconds_axis("t_s:Q", alt.Scale(nice=False)),
            y=alt.Y("share:Q", stack="zero", title="share of the mean latency", scale=alt.Scale(domain=[0, 1]),
                    axis=alt.Axis(format=".0%", tickCount=5)),
            color=alt.Color("label:N", title=None, sort=labels, scale=alt.Scale(domain=labels, range=colours)),
            order=alt.Order("order:Q"),
        )
    )  # fmt: skip
    return styled([area], theme)
