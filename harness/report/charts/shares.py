"""What part of the latency each stage took, over time."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.model import STAGES
from harness.report.charts.parts import AnyChart, chart_of, legend_columns, seconds_axis, styled
from harness.report.lines import stage_label
from harness.report.palette import IN_PAGE, Theme

SHARE_HEIGHT = 230
ALMOST = 0.998
"""So close to its edge a slice ends: two heights at one instant would be stacked."""
Floats = NDArray[np.float64]


def stages_over_time(
    shares: pd.DataFrame, theme: Theme = IN_PAGE, of: str = "the mean latency", end_s: float | None = None
) -> AnyChart:
    """Stacked shares of the stages: the first of the legend lies at the bottom. `shares`: see binning.stage_shares.

    With `end_s` the axis is that of the whole run, as beside it in the other charts over time.
    """
    shares = _interrupted(shares)
    if shares.empty and end_s is None:
        end_s = 1.0
    stages = [s for s in ("transfer", *STAGES) if s in set(shares["stage"])]
    labels, colours = [stage_label(s) for s in stages], [theme.stages[s] for s in stages]
    legend = alt.Legend(title=None, columns=legend_columns(len(labels))) if labels else None
    place = shares["stage"].map(stages.index)
    drawn = chart_of(t_s=shares["t_s"], share=shares["share"], n=shares["requests"], place=place)
    area = (
        drawn
        .transform_calculate(stage=f"{labels!r}[datum.place]")
        .mark_area(stroke=theme.surface, strokeWidth=0.4, opacity=1.0)
        .encode(
            x=seconds_axis("t_s:Q", alt.Scale(nice=False, domain=alt.Undefined if end_s is None else [0, end_s])),
            y=alt.Y("share:Q", stack="zero", title=f"share of {of}", scale=alt.Scale(domain=[0, 1]),
                    axis=alt.Axis(format=".0%", tickCount=5)),
            color=alt.Color("stage:N", legend=legend, sort=labels,
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
    """The shares from edge to edge of their slices, with nothing where slices held no request: nothing is known there.

    `t_s` is the middle of a slice; all slices are of one width.
    """
    at = np.unique(shares["t_s"].to_numpy(dtype=np.float64))
    if len(at) < 2:
        return shares
    half = np.diff(at).min() / 2
    apart = np.diff(at) > 3 * half
    begins, ends = at[np.append(True, apart)], at[np.append(apart, True)]
    edges = [_moved(shares, begins, -half * ALMOST), _moved(shares, ends, half * ALMOST)]
    empty = [_moved(shares, begins[1:], -half), _moved(shares, ends[:-1], half)]
    return pd.concat([shares, *edges, *(each.assign(share=0.0, requests=0) for each in empty)], ignore_index=True)


def _moved(shares: pd.DataFrame, middles: Floats, by: float) -> pd.DataFrame:
    found = shares[shares["t_s"].isin(middles)]
    return found.assign(t_s=found["t_s"] + by)
