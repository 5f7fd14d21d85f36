"""The charts of a run that is on: specifications with an empty data set that the page feeds."""

from __future__ import annotations

from typing import Any

import altair as alt

from harness.model import STAGES
from harness.report.charts.output import as_wide_as_its_element
from harness.report.charts.parts import Layer, styled
from harness.report.lines import stage_label
from harness.report.palette import IN_PAGE, Theme

ROWS = "live"
"""The name of each specification's data set."""


def live_specs(theme: Theme = IN_PAGE) -> dict[str, dict[str, Any]]:
    """Vega-Lite specifications by key. The data set of each is named "live", and is empty.

    Every row has three fields: `t_s` (seconds since the first scheduled request), `series` and `value`:

    | key       | series                                      | value                                    |
    |-----------|---------------------------------------------|------------------------------------------|
    | rate      | "offered", "achieved"                       | requests per second                      |
    | in_flight | "in flight", "backlog"                      | requests                                 |
    | latency   | "p50", "p95", "p99"                         | milliseconds, above 0                    |
    | stages    | a name of model.STAGES, or "transfer"       | mean milliseconds of the stage           |
    | errors    | "failed"                                    | failed requests per second               |

    What is not known has no row (or a null value, which interrupts the line).
    """
    return {
        "rate": _lines("requests per second", {"offered": theme.ink_soft, "achieved": theme.accent}, theme),
        "in_flight": _lines(
            "requests", {"in flight": theme.accent, "backlog": theme.stages["backlog"]}, theme, whole=True
        ),
        "latency": _lines(
            "latency (ms, log)", {"p50": theme.good, "p95": theme.accent, "p99": theme.bad}, theme, log=True
        ),
        "stages": _stages(theme),
        "errors": _lines("failed per second", {"failed": theme.bad}, theme, whole=True),
    }


_DASHES = ([1, 0], [6, 3], [2, 2])
HEIGHT = 170
_WHOLE = "max(1, min(4, floor(domain('y')[1])))"  # ticks at whole numbers: `tickMinStep` is only about so


def _x() -> alt.X:
    return alt.X("t_s:Q", title="seconds", scale=alt.Scale(nice=False), axis=alt.Axis(tickCount=8, format=",~f"))


def _lines(
    title: str,
    colours: dict[str, str],
    theme: Theme,
    log: bool = False,
    whole: bool = False,
) -> dict[str, Any]:
    names = list(colours)
    scale = alt.Scale(type="log", nice=False) if log else alt.Scale(zero=True)
    if whole:  # nothing but zeros is a line along the bottom
        scale = alt.Scale(zero=True, domain=alt.DomainUnionWith(unionWith=[0, 1]))
    legend = alt.Legend(title=None) if len(names) > 1 else None
    ticks = alt.ExprRef(_WHOLE) if whole else 4
    axis = alt.Axis(tickCount=ticks, format=",~r", labelOverlap=True)
    line = (
        alt.Chart(alt.NamedData(ROWS))
        .mark_line(strokeWidth=2)
        .encode(
            x=_x(),
            y=alt.Y("value:Q", title=title, scale=scale, axis=axis),
            color=alt.Color("series:N", legend=legend, scale=alt.Scale(domain=names, range=list(colours.values()))),
            strokeDash=alt.StrokeDash(
                "series:N", legend=legend, scale=alt.Scale(domain=names, range=list(_DASHES[: len(names)]))
            ),
            tooltip=["series:N", alt.Tooltip("t_s:Q", format=".0f"), alt.Tooltip("value:Q", format=",.4~r")],
        )
    )
    return _finished(line, theme)


def _stages(theme: Theme) -> dict[str, Any]:
    names = ["backlog", "transfer", *(s for s in STAGES if s != "backlog")]
    area = (
        alt.Chart(alt.NamedData(ROWS))
        .transform_calculate(order=f"indexof({names}, datum.series)")
        .mark_area(line={"color": theme.surface, "strokeWidth": 0.6}, opacity=1.0)
        .encode(
            x=_x(),
            y=alt.Y("value:Q", stack="zero", title="mean (ms)", axis=alt.Axis(tickCount=4, format=",~r")),
            color=alt.Color(
                "series:N",
                title=None,
                scale=alt.Scale(domain=names, range=[theme.stages[s] for s in names]),
                legend=alt.Legend(
                    columns=6, labelExpr=f"datum.label == 'queue_est' ? '{stage_label('queue_est')}' : datum.label"
                ),
            ),
            order=alt.Order("order:Q"),
            tooltip=["series:N", alt.Tooltip("value:Q", format=",.4~r", title="ms")],
        )
    )
    return _finished(area, theme)


def _finished(chart: Layer, theme: Theme) -> dict[str, Any]:
    return as_wide_as_its_element(styled([chart], theme, HEIGHT))
