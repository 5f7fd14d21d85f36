"""The summary as one HTML file that needs nothing else: no network, no script, charts as inline SVG."""

from __future__ import annotations

import datetime as dt
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jinja2
import pandas as pd
from markupsafe import Markup

from harness.findings import Summary, Verdict
from harness.report import gains_text, said, steps_text, templating, why, work_text
from harness.report.definitions import GROUPS
from harness.report.health_text import generator_line, shows_workers, stamps_line
from harness.report.lights import lights
from harness.report.lines import (
    NAME_COLUMNS,
    WAIT_COLUMNS,
    confidence,
    counts_line,
    coverage_line,
    latency_columns,
    latency_lines,
    latency_note,
    name_lines,
    stage_table,
    unended,
    wait_lines,
)
from harness.report.page_lead import slo_lines, tiles
from harness.report.page_requests import groups, legend, mean_bar
from harness.report.palette import DARK, LIGHT, css_variables
from harness.report.verdict_text import reason_lines, tone_of, verdict_line, warning_lines
from harness.views import Flame, Views

if TYPE_CHECKING:  # the chart library doubles the time to import this module
    from harness.report.drawings import ChartTable

NO_VIEWS = Views()


def render(summary: Summary, ledger: pd.DataFrame | None, views: Views = NO_VIEWS) -> str:
    """The page. `ledger` has the columns of model.LedgerRow and `scheduled_ns`; without it there are fewer charts."""
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            **context(summary, views),
            drawings=_drawings(summary, ledger, views),
            light_variables=Markup(css_variables(LIGHT)),  # noqa: S704 - constants of ours
            dark_variables=Markup(css_variables(DARK)),  # noqa: S704 - constants of ours
        )
    )


def context(summary: Summary, views: Views = NO_VIEWS) -> dict[str, Any]:
    """What the templates of a run say, all but its charts, by name."""
    return {
        "summary": summary,
        **_lead(summary),
        **_why(summary),
        **_tables(summary),
        **_single(summary, views),
        "definitions": GROUPS,
    }


def _lead(summary: Summary) -> dict[str, object]:
    tone = tone_of(summary)
    return {
        "verdict": verdict_line(summary),
        "tone": "unjudged" if tone is None else tone.value,
        "reasons": reason_lines(summary),
        "counts": counts_line(summary),
        "tiles": tiles(summary),
        "lights": lights(summary),
        "slos": slo_lines(summary),
        "started": _instant(summary.started_ns),
        "warnings": warning_lines(summary),
        "doubted": summary.verdict is Verdict.INVALID,
    }


def _why(summary: Summary) -> dict[str, object]:
    return {
        "sentences": said.said_lines(summary),
        "causes": said.cause_lines(summary),
        "causes_title": said.causes_title(summary),
        "no_cause": said.no_cause(summary),
        "try_first": said.TRY_FIRST,
        "gains": gains_text.gain_table(summary),
        "gains_title": gains_text.TITLE,
        "no_gain": gains_text.no_gain(summary),
        "tail": why.tail_table(summary),
        "tail_title": why.title(summary),
        "tail_cause": said.cause_of_bottleneck(summary),
        "blame": why.blame_groups(summary),
        "blame_title": why.HELD,
        "blame_note": why.blame_note(summary),
        "contrasts": why.contrast_lines(summary),
        "work": work_text.work_lines(summary),
        "work_columns": work_text.work_columns(summary),
        "work_note": work_text.work_note(summary),
        "growth": work_text.growth_lines(summary),
        "growth_levels": work_text.growth_levels(summary),
    }


def _tables(summary: Summary) -> dict[str, object]:
    stages = stage_table(summary)
    steps_columns = steps_text.columns(summary)
    return {
        "confidence": confidence(summary),
        "stages": stages,
        "split": mean_bar(stages),
        "steps": steps_text.step_lines(summary),
        "steps_columns": steps_columns,
        "steps_note": steps_text.steps_note(steps_columns),
        "latency": latency_lines(summary),
        "latency_columns": latency_columns(summary),
        "latency_note": latency_note(summary),
        "names": name_lines(summary),
        "name_columns": NAME_COLUMNS,
        "names_left_out": unended(summary, "counted here"),
        "waits": wait_lines(summary),
        "wait_columns": WAIT_COLUMNS,
        "coverage": coverage_line(summary),
        "generator": [line for line in (generator_line(summary.health), stamps_line(summary.health)) if line],
        "workers": shows_workers(summary.health),
    }


@dataclass(frozen=True, slots=True)
class DrawnFlame:
    """A flame graph on the page; without a drawing there is only its note."""

    flame: Flame
    svg: Markup
    table: ChartTable


def _single(summary: Summary, views: Views) -> dict[str, object]:
    from harness.report import flame_svg

    shown = groups(summary, views)
    flames = [
        DrawnFlame(flame, flame_svg.render(flame, f"flame-{number}"), flame_svg.table(flame))
        for number, flame in enumerate(views.flames)
    ]
    return {
        "groups": [group for group in shown if group.requests],
        "legend": legend(request for group in shown for request in group.requests),
        "flames": flames,
    }


def _drawings(summary: Summary, ledger: pd.DataFrame | None, views: Views) -> dict[str, Any]:
    """The charts by key; None: this run cannot carry it."""
    from harness.report.drawings import KEYS, draw

    return {key: draw(key, summary, ledger, views) for key in KEYS}


@functools.cache
def _environment() -> jinja2.Environment:
    return templating.environment()


def _instant(ns: int) -> str:
    return dt.datetime.fromtimestamp(ns // 1_000_000_000, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
