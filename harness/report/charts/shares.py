"""What part of the latency each stage took, over time."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from harness.model import STAGES
from harness.report.charts.parts import AnyChart, chart_of, legend_columns, seconds_axis, styled
from harness.report.lines import stage_label
from harness.report.palette import IN_PAGE, Theme

SHARE_HEIGHT = 230


def stages_over_time(
    shares: pd.DataFrame, theme: Theme = IN_PAGE, of: str = "the mean latency", end_s: float | None = None
) -> AnyChart:
    """Stacked shares of the stages: the first of the legend lies at the bottom. `shares`: see binning.stage_shares.

    With `end_s` the axis is that of the whole run, as beside it in the other charts over time.
    """
    shares = _interrupted(shares)
    stages = [s for s in ("transfer", *STAGES) if s in set(shares["stage"])]
    labels, colours = [stage_label(s) for s in stages], [theme.stages[s] for s in stages]
    place = shares["stage"].map(stages.index)
    drawn = chart_of(t_s=shares["t_s"], share=shares["share"], n=shares["requests"], place=place)
    area = (
        drawn
        .transform_calculate(stage=f"{labels!r}[datum.place]")
        .mark_area(line={"color": theme.surface, "strokeWidth": 0.8}, opacity=1.0)
        .encode(
            x=seconds_axis("t_s:Q", alt.Scale(nice=False, domain=alt.Undefined if end_s is None else [0, end_s])),
            y=alt.Y("share:Q", stack="zero", title=f"share of {of}", scale=alt.Scale(domain=[0, 1]),
                    axis=alt.Axis(format=".0%", tickCount=5)),
            color=alt.Color("stage:N", legend=alt.Legend(title=None, columns=legend_columns(len(labels))), sort=labels,
                            scale=alt.Scale(domain=labels, range=colours)),
            order=alt.Order("place:Q"),
            tooltip=[
                alt.Tooltip("stage:N", title="stage"),
                alt.Tooltip("share:Q", title="share", format=".1%"),
                alt.Tooltip("t_s:Q", title="around (s)", format=",.1f"),
                alt.Tooltip("n:Q", title="requests", format=","),
            ],
        )
    )  # fmt: skip
    return styled([area], theme, SHARE_HEIGHT)


def _interrupted(shares: pd.DataFrame) -> pd.DataFrame:
    """The shares with nothing where slices of time held no request: between two of them nothing is known."""
    at = shares["t_s"].drop_duplicates().sort_values().to_numpy()
    if len(at) < 3:
        return shares
    steps = np.diff(at)
    wide = np.flatnonzero(steps > 1.5 * steps.min())
    edges = np.concatenate([at[wide] + steps.min() / 2, at[wide + 1] - steps.min() / 2])
    empty = pd.MultiIndex.from_product([edges, shares["stage"].unique()], names=["t_s", "stage"]).to_frame(index=False)
    return pd.concat([shares, empty.assign(share=0.0, requests=0)], ignore_index=True) if len(edges) else shares
