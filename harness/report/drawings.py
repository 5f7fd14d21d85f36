"""The charts of a page with what belongs to each: a title, words for those who cannot see it, its figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup

from harness.report import binning, charts, figures
from harness.report.figures import ms
from harness.report.lines import SHOWN_ORDER, stage_label

DRAWINGS = ("latency", "curve", "stages")
"""Keys of the charts a page may have."""

CURVE_TABLE = (0.5, 0.25, 0.1, 0.05, 0.01, 0.001)
"""Shares of slower requests in the table behind the percentile curve."""


@dataclass(frozen=True, slots=True)
class ChartTable:
    """The figures behind a chart: column names and rows of text."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart in the page: inline SVG, what a screen reader says of it, and its figures."""

    key: str
    title: str
    label: str
    note: str
    svg: Markup
    table: ChartTable


def drawings(ledger: pd.DataFrame | None) -> list[Drawing]:
    """The charts that these rows can carry, in no particular order; none without rows."""
    if ledger is None or ledger.empty:
        return []
    made = []
    requests = binning.requests_over_time(ledger)
    if not requests.empty:
        made.append(_latency_drawing(requests))
    curve = binning.survival_curve(ledger)
    if not curve.empty:
        made.append(_curve_drawing(curve))
    shares = binning.stage_shares(ledger)
    if not shares.empty:
        made.append(_shares_drawing(shares, binning.stage_shares(ledger, 12)))
    return made


def _inline(chart: charts.AnyChart, key: str) -> Markup:
    return Markup(charts.inline_svg(chart, key))  # noqa: S704 - drawn from numbers and our own words only


def _latency_drawing(requests: pd.DataFrame) -> Drawing:
    n_failed = int((~requests["ok"]).sum())
    many = len(requests) > binning.MOST_POINTS
    rows = tuple(
        (f"{start:.1f} – {end:.1f}", f"{int(n):,}", f"{int(failed):,}", ms(float(slowest) / 1000, 1))
        for start, end, n, failed, slowest in binning.slices(requests).to_numpy(dtype=np.float64)
    )
    return Drawing(
        key="latency",
        title="Latency over time",
        label=f"Latency of {len(requests):,} requests against the instant they were scheduled; {n_failed:,} failed.",
        note=(
            "The stronger a cell, the more requests it holds; red ones hold a failed request."
            if many
            else "One mark a request."
        )
        + " A failed request stands at the time it took to fail.",
        svg=_inline(charts.latency_over_time(requests), "latency"),
        table=ChartTable("Requests by time", ("seconds", "requests", "failed", "slowest (ms)"), rows),
    )


def _curve_drawing(curve: pd.DataFrame) -> Drawing:
    by_clock = {clock: part for clock, part in curve.groupby("clock")}
    rows = []
    for slower in CURVE_TABLE:
        found = [_at(by_clock.get(clock), slower) for clock in ("scheduled", "start")]
        if any(f is not None for f in found):
            rows.append((f"{slower * 100:g}%", *(ms(f, 1) for f in found)))
    return Drawing(
        key="curve",
        title="Percentiles",
        label="Latency against the share of measured requests that are slower, on a logarithmic axis.",
        note="As observed, without intervals. A failed request is slower than any answer, so the curves end where the"
        " failed ones begin.",
        svg=_inline(charts.percentile_curve(curve), "curve"),
        table=ChartTable(
            "Observed latency by share of slower requests",
            ("this share is at least as slow", "latency (ms)", "service (ms)"),
            tuple(rows),
        ),
    )


def _at(curve: pd.DataFrame | None, slower: float) -> float | None:
    """The fastest of the slowest `slower` part, seconds; None where that part is not on the curve."""
    if curve is None or curve["slower"].min() > slower:
        return None
    return float(curve.loc[curve["slower"] <= slower, "ms"].min()) / 1000


def _shares_drawing(shares: pd.DataFrame, coarse: pd.DataFrame) -> Drawing:
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
        svg=_inline(charts.stages_over_time(shares), "stages"),
        table=ChartTable("Share of the mean latency by time", ("seconds", *map(stage_label, stages)), rows),
    )
