"""The charts, declared once: Altair drawings of binned frames, and their way into pages, files and browsers.

A Theme gives every colour; with palette.IN_PAGE they are CSS variables and follow the page's light or dark.
"""

from __future__ import annotations

from harness.report.charts.bars import ModelBar, Pair, ShareBar, contrast_pairs, model_bars, tail_bars
from harness.report.charts.brush import heatmap_spec
from harness.report.charts.comparing import Shifted, StageDelta, TrendPoint, deltas, shifts, trend_lines
from harness.report.charts.curve import percentile_curve
from harness.report.charts.live import live_specs
from harness.report.charts.load import Limit, LoadPoint, load_curve
from harness.report.charts.output import inline_svg, png, spec, svg, svg_document
from harness.report.charts.over_time import Exemplar, latency_over_time
from harness.report.charts.parts import AnyChart
from harness.report.charts.shares import stages_over_time
from harness.report.charts.vitals import VitalRow, vitals_over_time

__all__ = [
    "AnyChart",
    "Exemplar",
    "Limit",
    "LoadPoint",
    "ModelBar",
    "Pair",
    "ShareBar",
    "Shifted",
    "StageDelta",
    "TrendPoint",
    "VitalRow",
    "contrast_pairs",
    "deltas",
    "heatmap_spec",
    "inline_svg",
    "latency_over_time",
    "live_specs",
    "load_curve",
    "model_bars",
    "percentile_curve",
    "png",
    "shifts",
    "spec",
    "stages_over_time",
    "svg",
    "svg_document",
    "tail_bars",
    "trend_lines",
    "vitals_over_time",
]
