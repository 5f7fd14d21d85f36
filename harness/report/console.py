"""The summary for a terminal: verdict, sentences, one stage table that adds up, latency, SLOs, doubts."""

from __future__ import annotations

import io
import shutil

from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.findings import HealthState, Summary, Verdict
from harness.report import console_tables, console_why, figures
from harness.report.console_tables import blank
from harness.report.health_text import generator_line, stamps_line
from harness.report.lines import (
    NAME_COLUMNS,
    LatencyCell,
    LatencyLine,
    StageLine,
    counts_line,
    coverage_line,
    latency_columns,
    latency_lines,
    latency_note,
    name_lines,
    stage_table,
    waits_line,
)
from harness.report.palette import DARK
from harness.report.text import visible
from harness.report.verdict_text import reason_lines, slo_verdict, slo_word, tone_of, verdict_line, warning_lines
from harness.units import format_duration

NARROWEST, WIDEST = 60, 120

_STYLES = {
    None: "bold",
    Verdict.PASSED: "bold green",
    Verdict.FAILED: "bold red",
    Verdict.NOT_ENOUGH_DATA: "bold yellow",
    Verdict.INVALID: "bold magenta",
}
_HEALTH_STYLES = {HealthState.HEALTHY: "green", HealthState.SUSPECT: "yellow", HealthState.INVALID: "magenta"}
_WARNING_STYLES = {
    "invalid": "bold magenta", "accepted": "bold magenta", "failed": "bold red", "warning": "bold yellow",
}  # fmt: skip


def render(summary: Summary, *, width: int | None = None, colour: bool) -> str:
    """The whole summary as text of at most `width` columns (None: the terminal's); escape codes only with `colour`."""
    columns = width if width is not None else min(shutil.get_terminal_size((100, 24)).columns, WIDEST)
    console = Console(
        file=io.StringIO(),
        width=max(columns, NARROWEST),
        force_terminal=colour,
        color_system="truecolor" if colour else None,
        no_color=not colour,
        markup=False,
        emoji=False,
        highlight=False,
        legacy_windows=False,
    )
    parts = [
        _head(summary), console_why.sentences(summary), console_why.causes(summary),
        console_why.gains(summary), console_why.steps(summary, console.width), _stages(summary, console.width),
        console_why.tail(summary, console.width), console_why.work(summary, console.width),
        _latency(summary, console.width), _names(summary), _models(summary), _slos(summary), _errors(summary),
        _health(summary), _warnings(summary),
    ]  # fmt: skip
    with console.capture() as captured:
        for part in parts:
            if part is not None:
                console.print(part)
                console.print()
    lines = captured.get().splitlines()
    return "\n".join(line.rstrip() for line in lines).strip("\n") + "\n"


def _head(summary: Summary) -> RenderableType:
    title = Text.assemble((visible(summary.scenario), "bold"), "  ", (visible(summary.target), "cyan"))
    took = format_duration(summary.duration_s)
    plan = Text(f"{visible(summary.load)}; took {took}; run {visible(summary.run_id)}", "dim")
    verdict = Text(verdict_line(summary).upper(), _STYLES[tone_of(summary)])
    reasons = [Padding(Text(f"- {visible(r, 400)}"), (0, 0, 0, 2)) for r in reason_lines(summary)]
    return Group(title, plan, Text(counts_line(summary), "dim"), Text(), verdict, *reasons)


def _stages(summary: Summary, width: int) -> RenderableType | None:
    stages = stage_table(summary)
    if not stages.lines:
        return None
    bar = max(4, min(30, width - 60))
    table = blank("Where the time goes", SIMPLE)
    table.show_footer = True
    table.add_column(Text("stage", "dim"), Text("= mean latency", "bold"), no_wrap=True)
    table.add_column(Text("mean (ms)", "dim"), Text(stages.total, "bold"), justify="right", no_wrap=True)
    table.add_column(Text("share", "dim"), justify="right", no_wrap=True)
    table.add_column("", min_width=bar, max_width=bar, no_wrap=True)
    table.add_column(Text("p50", "dim"), justify="right", no_wrap=True)
    table.add_column(Text("p95", "dim"), justify="right", no_wrap=True)
    for line in stages.lines:
        style = "dim" if line.part else ""
        label = Text(f"  {line.label}" if line.part else line.label, style)
        mean, share, p50, p95 = (Text(t, style) for t in (line.mean, line.share, line.p50, line.p95))
        table.add_row(label, mean, share, _bar(line, bar), p50, p95)
    note = "means add up; p50 and p95 are of the stage on its own and do not"
    waits = waits_line(summary)
    below = [visible(summary.stage_set, 400), note, *([waits] if waits else [])]
    return Group(table, *(Text(line, "dim") for line in below))


def _bar(line: StageLine, cells: int) -> Text:
    """Eighths of a cell, so that a stage of one percent is still to be seen."""
    eighths = round(line.weight * cells * 8)
    full, rest = divmod(max(eighths, 1) if line.weight > 0 else 0, 8)
    drawn = "█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")
    return Text(drawn, f"dim {DARK.stages[line.stage]}" if line.part else DARK.stages[line.stage])


_THREE_DURATIONS = 72
"""Columns of a terminal that holds three durations with the reasons of what is missing."""


def _latency(summary: Summary, width: int) -> RenderableType:
    columns, lines = latency_columns(summary), latency_lines(summary)
    digits = max(len(cell.value) for line in lines for cell in line.cells)
    apart = len(columns) > 2 and width < _THREE_DURATIONS  # the reasons stand below the table
    shown = [[cell.value if cell.refusal and apart else _cell(cell, digits) for cell in line.cells] for line in lines]
    for last in range(len(columns) - 1, 0, -1):  # a narrow terminal does without intervals, from the right
        if sum(max(map(len, column)) + 3 for column in zip(columns, *shown, strict=True)) + 4 <= width:
            break
        for row, line in zip(shown, lines, strict=True):
            row[last] = row[last] if line.cells[last].refusal else line.cells[last].value.rjust(digits)
    table = console_tables.table("Latency (ms)", ("", *columns), words=range(len(columns) + 1))
    for i, column in enumerate(table.columns[1:]):  # a refusal wraps, an interval does not
        column.min_width = max(len(row[i]) for row, line in zip(shown, lines, strict=True) if not line.cells[i].refusal)
    for line, row in zip(lines, shown, strict=True):
        table.add_row(Text(line.statistic), *map(Text, row))
    reasons = _reasons(columns, lines) if apart else []
    return Group(table, *(Text(reason, "dim") for reason in (*reasons, latency_note(summary))))


def _reasons(columns: tuple[str, ...], lines: tuple[LatencyLine, ...]) -> list[str]:
    return [
        f"{line.statistic} of {column}: {visible(cell.refusal)}"
        for line in lines
        for column, cell in zip(columns, line.cells, strict=True)
        if cell.refusal
    ]


def _cell(cell: LatencyCell, digits: int) -> str:
    if cell.refusal:
        return f"{cell.value} ({visible(cell.refusal)})"
    return cell.value.rjust(digits) + (f" ({cell.interval})" if cell.interval else "")


def _names(summary: Summary) -> RenderableType | None:
    lines = name_lines(summary)
    if not lines:
        return None
    table = console_tables.table("Requests", NAME_COLUMNS, words=(0, 6))
    for name, *cells in lines:
        table.add_row(Text(visible(name, 60)), *map(Text, cells))
    return table


def _models(summary: Summary) -> RenderableType | None:
    if not summary.models:
        return None
    table = console_tables.table("Models", ("model", "calls", "per request", "ms a call", "ms a request", "share"))
    for m in summary.models:
        call, request = (figures.ms(s, figures.decimals_for(s)) for s in (m.mean_call_s, m.mean_per_request_s))
        cells = (f"{m.calls:,}", f"{m.calls_per_request:.2f}", call, request, figures.share(m.share))
        table.add_row(Text(visible(m.model, 60)), *map(Text, cells))
    return table


def _slos(summary: Summary) -> RenderableType | None:
    if not summary.slo:
        return None
    table = console_tables.table("SLOs", ("SLO", "verdict", "observed", "why"), words=(0, 1, 3))
    for slo in summary.slo:
        verdict = slo_verdict(summary, slo)
        answer, reason = Text(slo_word(verdict), _STYLES[verdict]), Text(visible(slo.reason, 400))
        table.add_row(Text(visible(slo.expression, 80)), answer, Text(figures.observed(slo)), reason)
    return table


def _errors(summary: Summary) -> RenderableType | None:
    if not summary.counts.errors:
        return None
    table = console_tables.table("Errors", ("what", "requests"))
    for what, n in summary.counts.errors:
        table.add_row(Text(visible(what)), Text(f"{n:,}"))
    return table


def _health(summary: Summary) -> RenderableType:
    health = summary.health
    state = Text.assemble(("Generator ", "bold"), (health.state.value, _HEALTH_STYLES[health.state]))
    reasons = [Padding(Text(f"- {visible(r, 400)}"), (0, 0, 0, 2)) for r in health.reasons]
    lines = (generator_line(health), stamps_line(health))
    figures_line = [Padding(Text(visible(line, 400), "dim"), (0, 0, 0, 2)) for line in lines if line]
    halves = (("Server halves", summary.span_source), ("Coverage", coverage_line(summary)))
    source = [Text(f"{name}: {visible(line, 400)}", "dim") for name, line in halves if line]
    return Group(state, *reasons, *figures_line, *source)


def _warnings(summary: Summary) -> RenderableType | None:
    if not summary.warnings:
        return None
    grid = Table.grid(padding=(0, 1))
    for word, w in warning_lines(summary):
        grid.add_row(Text(word, _WARNING_STYLES[word]), Text(f"{visible(w.message, 600)} [{visible(w.code, 40)}]"))
        grid.add_row("", Text(f"hint: {visible(w.hint, 600)}", "dim"))
    return grid
