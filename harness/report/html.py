"""The summary as one HTML file that needs nothing else: no network, no script, charts as inline SVG."""

from __future__ import annotations

import datetime as dt
import functools
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup

from harness.findings import RequestRow, Summary, Verdict
from harness.model import STAGES, TRANSFER
from harness.report import figures, gains_text, said, steps_text, why, work_text
from harness.report.definitions import GROUPS
from harness.report.figures import decimals_for, ms
from harness.report.health_text import generator_line, shows_workers, stamps_line
from harness.report.lights import lights
from harness.report.lines import (
    NAME_COLUMNS,
    SHOWN_ORDER,
    WAIT_COLUMNS,
    StageTable,
    confidence,
    counts_line,
    coverage_line,
    latency_columns,
    latency_lines,
    latency_note,
    name_lines,
    stage_label,
    stage_table,
    wait_lines,
)
from harness.report.palette import DARK, LIGHT, css_variables, stage_variable
from harness.report.text import visible
from harness.report.verdict_text import reason_lines, slo_verdict, slo_word, tone_of, verdict_line, warning_lines
from harness.units import format_duration
from harness.views import Views

NO_VIEWS = Views()


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of a stacked bar. `width` is a share of the whole bar, 0..1."""

    stage: str
    label: str
    width: float
    text: str


@dataclass(frozen=True, slots=True)
class RequestBar:
    """One request drawn as a stacked bar."""

    row: RequestRow
    latency: str
    label: str
    segments: tuple[Segment, ...]


def render(summary: Summary, ledger: pd.DataFrame | None, views: Views = NO_VIEWS) -> str:
    """The page. `ledger` has the columns of model.LedgerRow and `scheduled_ns`; without it there are no charts."""
    table = stage_table(summary)
    rows = (*summary.slowest, *summary.typical)
    longest = max((row.latency_s for row in rows), default=0.0)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            summary=summary,
            verdict=verdict_line(summary),
            tone=_tone(tone_of(summary)),
            reasons=reason_lines(summary),
            answers=[
                (slo, _tone(answer), slo_word(answer)) for slo in summary.slo for answer in (slo_verdict(summary, slo),)
            ],
            lights=lights(summary),
            started=_instant(summary.started_ns),
            counts=counts_line(summary),
            confidence=confidence(summary),
            sentences=said.said_lines(summary),
            causes=said.cause_lines(summary),
            causes_title=said.causes_title(summary),
            no_cause=said.no_cause(summary),
            try_first=said.TRY_FIRST,
            gains=gains_text.gain_table(summary),
            gains_title=gains_text.TITLE,
            no_gain=gains_text.no_gain(summary),
            steps=steps_text.step_lines(summary),
            steps_note=steps_text.steps_note(steps_text.columns(summary)),
            steps_columns=steps_text.columns(summary),
            tail=why.tail_table(summary),
            tail_title=why.title(summary),
            tail_cause=said.cause_of_bottleneck(summary),
            blame=why.blame_groups(summary),
            blame_title=why.HELD,
            blame_note=why.blame_note(summary),
            contrasts=why.contrast_lines(summary),
            work=work_text.work_lines(summary),
            work_columns=work_text.work_columns(summary),
            work_note=work_text.work_note(summary),
            growth=work_text.growth_lines(summary),
            growth_levels=work_text.growth_levels(summary),
            stages=table,
            split=_mean_bar(table),
            latency=latency_lines(summary),
            latency_columns=latency_columns(summary),
            latency_note=latency_note(summary),
            names=name_lines(summary),
            name_columns=NAME_COLUMNS,
            waits=wait_lines(summary),
            wait_columns=WAIT_COLUMNS,
            coverage=coverage_line(summary),
            drawings=_drawings(ledger),
            groups=[
                ("Slowest requests", _bars(summary.slowest, longest)),
                ("Typical requests, around the median latency", _bars(summary.typical, longest)),
            ],
            legend=_legend(_bars(rows, longest)),
            generator=[line for line in (generator_line(summary.health), stamps_line(summary.health)) if line],
            workers=shows_workers(summary.health),
            warnings=warning_lines(summary),
            definitions=GROUPS,
            light_variables=Markup(css_variables(LIGHT)),  # noqa: S704 - constants of ours
            dark_variables=Markup(css_variables(DARK)),  # noqa: S704 - constants of ours
        )
    )


def _drawings(ledger: pd.DataFrame | None) -> dict[str, object]:
    """The charts by key, None for those that cannot be drawn."""
    from harness.report.drawings import DRAWINGS, drawings  # the chart library doubles the time to import this module

    return dict.fromkeys(DRAWINGS) | {d.key: d for d in drawings(ledger)}


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "visible": visible,
        "duration": format_duration,
        "share": figures.share,
        "in_unit": figures.in_unit,
        "observed": figures.observed,
        "ms": lambda seconds: ms(seconds, decimals_for(seconds)),
    }
    environment.globals |= {"stage_variable": stage_variable, "beyond": figures.beyond}
    return environment


def _tone(verdict: Verdict | None) -> str:
    """The class of the style sheet."""
    return "unjudged" if verdict is None else verdict.value


def _instant(ns: int) -> str:
    return dt.datetime.fromtimestamp(ns // 1_000_000_000, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _mean_bar(table: StageTable) -> tuple[Segment, ...]:
    """The mean request as one bar: parts of transfer where they are known, in the order of the request."""
    known = {line.stage: line for line in table.lines}
    hidden = {"transfer"} if "upload" in known else set(TRANSFER)
    ordered = [s for s in ("transfer", *STAGES) if s in known and s not in hidden]
    return tuple(
        Segment(s, stage_label(s), known[s].weight, f"{known[s].mean} ms, {known[s].share}")
        for s in ordered
        if known[s].weight > 0
    )


def _bars(rows: tuple[RequestRow, ...], longest_s: float) -> tuple[RequestBar, ...]:
    return tuple(_request_bar(row, longest_s) for row in rows)


def _request_bar(row: RequestRow, longest_s: float) -> RequestBar:
    decimals = decimals_for(longest_s)
    segments = _segments(row, longest_s, decimals)
    label = ", ".join(f"{s.label} {s.text}" for s in segments) or "no stage is known"
    return RequestBar(row, ms(row.latency_s, decimals), label, segments)


def _segments(row: RequestRow, longest_s: float, decimals: int) -> tuple[Segment, ...]:
    known = {stage: seconds for stage, seconds in row.stages if seconds is not None and seconds > 0}
    hidden = {"transfer"} if dict(row.stages).get("upload") is not None or "transfer" not in known else set(TRANSFER)
    ordered = [s for s in STAGES if s in known and s not in hidden]
    if "transfer" in known and "transfer" not in hidden:
        ordered.insert(1 if ordered[:1] == ["backlog"] else 0, "transfer")
    return tuple(
        Segment(s, stage_label(s), min(known[s] / longest_s, 1.0), f"{ms(known[s], decimals)} ms") for s in ordered
    )


def _legend(bars: tuple[RequestBar, ...]) -> list[Segment]:
    """One segment of each stage that appears, in the order of the request."""
    drawn = {s.stage: s for bar in bars for s in bar.segments}
    return [drawn[stage] for stage in SHOWN_ORDER if stage in drawn]
