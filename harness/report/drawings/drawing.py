"""A chart with what belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.report.charts import AnyChart, inline_svg


@dataclass(frozen=True, slots=True)
class ChartTable:
    """The figures behind a chart: column names and rows of text."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart, what a screen reader says of it, a note, its figures. Names from outside are made safe to look at."""

    key: str
    title: str
    label: str
    note: str
    chart: AnyChart
    table: ChartTable

    @property
    def svg(self) -> Markup:
        """The chart to stand in a page."""
        return Markup(inline_svg(self.chart, self.key))  # noqa: S704 - the renderer escapes what it writes


def distinct(labels: Sequence[str]) -> list[str]:
    """Labels that tell their lines apart: long names may be alike once they are shortened."""
    met: dict[str, int] = {}
    made = []
    for label in labels:
        met[label] = met.get(label, 0) + 1
        made.append(label if met[label] == 1 else f"{label} ({met[label]})")
    return made
