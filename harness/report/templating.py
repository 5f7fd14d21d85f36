"""The templates of pages: everything is escaped, and a name that is not there is a mistake, not a blank."""

from __future__ import annotations

from pathlib import Path

import jinja2

from harness.report import figures
from harness.report.figures import decimals_for, ms
from harness.report.palette import stage_variable
from harness.report.text import visible
from harness.units import format_duration

TEMPLATES = Path(__file__).parent / "templates"
"""Of the report, whose partials other pages may include."""

_FIGURES = tuple("0123456789-–±≥≤∞")
"""What a cell begins with that is set as a figure; an empty one is, too."""


def environment(*before: Path) -> jinja2.Environment:
    """Templates of the folders `before`, then those of the report, with the filters and globals that they use."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*before, TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "visible": visible,
        "duration": format_duration,
        "share": figures.share,
        "in_unit": figures.in_unit,
        "observed": figures.observed,
        "ms": lambda seconds: ms(seconds, decimals_for(seconds)),
        "kind": lambda cell: "num" if not cell or cell.startswith(_FIGURES) else "wide",
        "percent": lambda part: f"{part * 100:.3f}%",
    }
    made.globals |= {"stage_variable": stage_variable, "beyond": figures.beyond}
    return made
