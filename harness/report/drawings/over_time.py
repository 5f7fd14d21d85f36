"""Latency over time, drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.findings import Summary
from harness.report import binning, charts
from harness.report.charts import Exemplar
from harness.report.drawings.drawing import ChartTable, Drawing
from harness.report.figures import decimals_for, ms
from harness.report.lines import unended
from harness.report.palette import IN_PAGE, Theme
from harness.report.steps_text import level_text
from harness.report.text import visible
from harness.views import Views


def latency_drawing(summary: Summary | None, ledger: pd.DataFrame, _: Views, theme: Theme = IN_PAGE) -> Drawing | None:
    """Every request of the run by the instant it was scheduled and its latency."""
    requests = binning.requests_over_time(ledger)
    if requests.empty:
        return None
    n_failed = int((~requests["ok"]).sum())
    marked = () if summary is None else _slowest(summary, requests)
    names = () if summary is None else tuple(level_text(summary, step) for step in summary.steps)
    return Drawing(
        key="latency",
        title="Latency over time",
        label=f"Latency of {len(requests):,} requests against the instant they were scheduled; {n_failed:,} failed.",
        note=" ".join([*_notes(len(requests), n_failed, bool(marked)), *_left_out(summary)]),
        chart=charts.latency_over_time(requests, theme, marked, names),
        table=_table(requests),
    )


def _notes(n: int, n_failed: int, marked: bool) -> list[str]:
    many = n > binning.MOST_POINTS
    said = ["The stronger a cell, the more requests it holds." if many else "One mark a request."]
    said += ["The diamonds are the slowest requests."] if marked else []
    said += ["Failed requests stand in a row of their own: they have no latency."] if n_failed else []
    return said


def _left_out(summary: Summary | None) -> list[str]:
    said = "" if summary is None else unended(summary, "drawn")
    return [said] if said else []


def _slowest(summary: Summary, requests: pd.DataFrame) -> tuple[Exemplar, ...]:
    """The slowest requests of the summary, where they are among these."""
    if "request_id" not in requests or not summary.slowest:
        return ()
    named = {row.request_id: visible(row.name, 40) for row in summary.slowest}
    wanted = np.flatnonzero(np.isin(requests["request_id"].to_numpy(), list(named)))
    found = requests.iloc[wanted]
    found = found[found["ok"]]
    rows = zip(found["t_s"].tolist(), found["latency_ms"].tolist(), found["request_id"].tolist(), strict=True)
    return tuple(Exemplar(t_s, latency, f"{number}, {named[number]}") for t_s, latency, number in rows)


def _table(requests: pd.DataFrame) -> ChartTable:
    slices = binning.slices(requests)
    slowest_s = slices["slowest_ms"].max() / 1000
    decimals = decimals_for(None if np.isnan(slowest_s) else slowest_s)
    rows = tuple(
        (f"{start:.1f} – {end:.1f}", f"{int(n):,}", f"{int(failed):,}", ms(float(slowest) / 1000, decimals))
        for start, end, n, failed, slowest in slices.to_numpy(dtype=np.float64)
    )
    return ChartTable("Requests by time", ("seconds", "requests", "failed", "slowest answer (ms)"), rows)
