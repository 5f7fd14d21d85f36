"""The summary for a terminal: verdict, sentences, one stage table that adds up, latency, SLOs, doubts."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence

from rich.box import SIMPLE, SIMPLE_HEAD, Box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.findings import HealthState, Summary, Verdict
from harness.report import figures
from harness.report.health_text import generator_line, stamps_line
from harness.report.lines import (
    NAME_COLUMNS,
    LatencyCell,
    StageLine,
    counts_line,
    coverage_line,
    latency_lines,
    latency_note,
    name_lines,
    stage_table,
    verdict_line,
    waits_line,
    warning_lines,
)
from harness.report.palette import DARK
from harness.report.text import visible
from harness.units import format_duration

NARROWEST, WIDEST = 60, 120

_STYLES = {
    Verdict.PASSED: "bold green",
    Verdict.FAILED: "bold red",
    Verdict.NOT_ENOUGH_DATA: "bold yellow",
    Verdict.INVALID: "bold magenta",
}
_HEALTH_STYLES = {HealthState.HEALTHY: "green", HealthState.SUSPECT: "yellow", HealthState.INVALID: "magenta"}
_WARNING_STYLES = {"invalid": "bold magenta", "failed": "bold red", "warning": "bold yellow"}


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
        _head(summary), _sentences(summary), _stages(summary, console.width), _latency(summary), _names(summary),
        _models(summary), _slos(summary), _errors(summary), _health(summary), _warnings(summary),
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
    verdict = Text(verdict_line(summary).upper(), _STYLES[summary.verdict])
    reasons = [Padding(Text(f"- {visible(r, 400)}"), (0, 0, 0, 2)) for r in summary.reasons]
    return Group(title, plan, Text(counts_line(summary), "dim"), Text(), verdict, *reasons)


def _sentences(summary: Summary) -> RenderableType | None:
    if not summary.sentences:
        return None
    grid = Table.grid(padding=(0, 1))
    for sentence in summary.sentences:
        grid.add_row(Text("•", "dim"), Text(visible(sentence.text, 600)))
    return grid


def _table(title: str, columns: Sequence[str], words: Sequence[int] = (0,)) -> Table:
    """A table whose columns are figures, but for the ones named in `words`."""
    table = _blank(title)
    for i, column in enumerate(columns):
        wraps = i in words
        table.add_column(Text(column, "dim"), justify="left" if wraps else "right", no_wrap=not wraps, overflow="fold")
    return table


def _blank(title: str, box: Box = SIMPLE_HEAD) -> Table:
    return Table(
        title=Text(title, "bold"), title_justify="left", title_style="", box=box, show_edge=False, pad_edge=False
    )


def _stages(summary: Summary, width: int) -> RenderableType | None:
    stages = stage_table(summary)
    if not stages.lines:
        return None
    bar = max(4, min(30, width - 60))
    table = _blank("Where the time goes", SIMPLE)
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


def _latency(summary: Summary) -> RenderableType:
    table = _table("Latency (ms)", ("", "latency", "service"), words=(0, 1, 2))
    lines = latency_lines(summary)
    digits = max(len(cell.value) for line in lines for cell in (line.latency, line.service))
    for line in lines:
        table.add_row(Text(line.statistic), *(Text(_cell(c, digits)) for c in (line.latency, line.service)))
    return Group(table, Text(latency_note(summary), "dim"))


def _cell(cell: LatencyCell, digits: int) -> str:
    if cell.refusal:
        return f"{cell.value} ({visible(cell.refusal)})"
    return cell.value.rjust(digits) + (f" ({cell.interval})" if cell.interval else "")


def _names(summary: Summary) -> RenderableType | None:
    lines = name_lines(summary)
    if not lines:
        return None
    table = _table("Requests", NAME_COLUMNS, words=(0, 6))
    for name, *cells in lines:
        table.add_row(Text(visible(name, 60)), *map(Text, cells))
    return table


def _models(summary: Summary) -> RenderableType | None:
    if not summary.models:
        return None
    table = _table("Models", ("model", "calls", "per request", "ms a call", "ms a request", "share"))
    for m in summary.models:
        call, request = (figures.ms(s, figures.decimals_for(s)) for s in (m.mean_call_s, m.mean_per_request_s))
        cells = (f"{m.calls:,}", f"{m.calls_per_request:.2f}", call, request, figures.share(m.share))
        table.add_row(Text(visible(m.model, 60)), *map(Text, cells))
    return table


def _slos(summary: Summary) -> RenderableType | None:
    if not summary.slo:
        return None
    table = _table("SLOs", ("SLO", "verdict", "observed", "why"), words=(0, 1, 3))
    for slo in summary.slo:
        verdict = Text(slo.verdict.value.replace("_", " "), _STYLES[slo.verdict])
        reason = Text(visible(slo.reason, 400))
        table.add_row(Text(visible(slo.expression, 80)), verdict, Text(figures.observed(slo)), reason)
    return table


def _errors(summary: Summary) -> RenderableType | None:
    if not summary.counts.errors:
        return None
    table = _table("Errors", ("what", "requests"))
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
