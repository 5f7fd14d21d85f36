"""A drawing as the browser takes it: see static/chart.js."""

from __future__ import annotations

from dataclasses import asdict

from harness.report import charts
from harness.report.drawings import Drawing


def as_json(drawing: Drawing) -> dict[str, object]:
    """The chart's Vega-Lite specification, its words, and the figures behind it."""
    return {
        "spec": charts.spec(drawing),
        "title": drawing.title,
        "label": drawing.label,
        "note": drawing.note,
        "table": asdict(drawing.table),
    }
