"""The percentile curve, drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.findings import Estimate, Summary
from harness.report import binning, charts
from harness.report.drawings.drawing import ChartTable, Drawing
from harness.report.figures import decimals_for, interval, ms
from harness.report.palette import IN_PAGE, Theme
from harness.report.text import visible
from harness.views import BaselineCurve, Views

STATISTICS = ("p50", "p90", "p95", "p99")


def curve_drawing(summary: Summary, ledger: pd.DataFrame, views: Views, theme: Theme = IN_PAGE) -> Drawing | None:
    """Latency against the share of measured requests that are slower."""
    censored = min(summary.counts.censored, summary.counts.scheduled)
    curves = binning.survival_curves(ledger, censored)
    if curves.empty:
        return None
    refused = summary.latency.p50.value is None
    if refused:  # what no table gives as a number with an interval has none here
        curves = curves.assign(low_ms=np.nan, high_ms=np.nan)
    banded = curves[["low_ms", "high_ms"]].notna().all(axis=1).any()
    note = "A failed request is slower than any answer, so the curves end where the failed ones begin."
    if views.baseline is not None:
        curves = pd.concat([curves, _baseline(views.baseline)], ignore_index=True)
        note += f" Baseline: {visible(views.baseline.run_id, 60)}{_unlike(summary, views.baseline)}."
    said = "As observed, without intervals."
    if banded:
        said = (
            "The band is the 95% interval of the latency; where it ends, there is none: too few requests are beyond, "
        )
        said += "or too many failed."
    return Drawing(
        key="curve",
        title="Percentiles",
        label="Latency against the share of measured requests that are slower, on a logarithmic axis.",
        note=f"{said} {note}",
        chart=charts.percentile_curve(curves, theme),
        table=_table(summary),
    )


def _unlike(summary: Summary, other: BaselineCurve) -> str:
    """What the other run measured, where that is something else than this one did."""
    said = []
    if other.scenario is not None and other.scenario != summary.scenario:
        said.append(f"another scenario: {visible(other.scenario, 60)}")
    if other.load is not None and other.load != summary.load:
        said.append(f"another load: {visible(other.load, 120)}")
    return f" ({'; '.join(said)})" if said else ""


def _baseline(curve: BaselineCurve) -> pd.DataFrame:
    slower, latency = (np.asarray(each, dtype=np.float64) for each in (curve.slower, curve.latency_s))
    known = np.isfinite(latency) & (slower > 0)
    frame = pd.DataFrame({"slower": slower[known], "ms": np.maximum(latency[known] * 1000, binning.FASTEST_MS)})
    return frame.assign(low_ms=np.nan, high_ms=np.nan, curve="baseline")


def _table(summary: Summary) -> ChartTable:
    latency, service = summary.latency, summary.service
    values = [e.value for s in STATISTICS for e in (getattr(latency, s), getattr(service, s)) if e.value is not None]
    decimals = decimals_for(max(values, default=None))
    rows = tuple(
        (name, *_cells(getattr(latency, name), decimals), *_cells(getattr(service, name), decimals))
        for name in STATISTICS
    )
    columns = ("percentile", "latency (ms)", "its interval", "service (ms)", "its interval")
    return ChartTable("Percentiles of latency and service time", columns, rows)


def _cells(found: Estimate, decimals: int) -> tuple[str, str]:
    return ms(found.value, decimals), interval(found, decimals) or visible(found.refusal or "")
