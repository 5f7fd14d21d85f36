"""A run against earlier ones, for a terminal: what they predict, what it came to, who was left out and why."""

from __future__ import annotations

import io
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from harness.comparison import BaselineFindings, BaselineMetric, Change
from harness.findings import Verdict
from harness.report import console_tables, figures
from harness.report.history_text import when
from harness.report.text import visible
from harness.report.verdict_text import VERDICT_WORDS
from harness.units import format_count

COLUMNS = ("metric", "typical", "limit", "this run", "", "why")
_WORDS = (0, 4, 5)
_MOST_NAMED = 3
_STYLES = {
    Verdict.PASSED: "bold green",
    Verdict.FAILED: "bold red",
    Verdict.NOT_ENOUGH_DATA: "bold yellow",
    Verdict.INVALID: "bold magenta",
}
_CHANGES = {
    Change.WORSE: ("worse", "bold red"),
    Change.WITHIN: ("within", "green"),
    Change.NOT_FOUND: ("not found", "green"),
    Change.UNKNOWN: ("unknown", "yellow"),
}


def render(found: BaselineFindings, *, width: int, colour: bool) -> str:
    """At most `width` columns; escape codes only with `colour`."""
    console = Console(
        file=io.StringIO(), width=max(width, 60), force_terminal=colour, color_system="truecolor" if colour else None,
        no_color=not colour, markup=False, emoji=False, highlight=False, legacy_windows=False,
    )  # fmt: skip
    with console.capture() as captured:
        verdict = (VERDICT_WORDS[found.verdict], _STYLES[found.verdict])
        console.print(Text.assemble(("Against earlier runs: ", "bold"), verdict))
        console.print(Text(_runs_line(found), "dim"))
        for line in (*found.reasons, *found.sentences):
            console.print(Text(f"• {visible(line, 400)}"))
        if found.metrics:
            table = console_tables.table("", COLUMNS, words=_WORDS)
            for metric in found.metrics:
                word, style = _CHANGES[metric.change]
                table.add_row(*map(Text, _figures(metric)), Text(word, style), Text(visible(metric.reason, 400)))
            console.print(Text())
            console.print(table)
        for line in _left_out(found):
            console.print(Text(visible(line, 500), "dim"))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()).strip("\n") + "\n"


def _runs_line(found: BaselineFindings) -> str:
    count = len(found.runs)
    if not count:
        return "no earlier run is comparable"
    first, last = when(found.runs[0].started_ns), when(found.runs[-1].started_ns)
    span = first if first == last else f"{first} to {last}"
    many = f"{format_count(count)} comparable run{'s' if count > 1 else ''}"
    return f"{many}, {span} UTC; allowed: {found.allowed * 100:+.3g} %"


def _figures(metric: BaselineMetric) -> tuple[str, str, str, str]:
    shown = (figures.in_unit(value, metric.unit) for value in (metric.typical, metric.limit, metric.value))
    typical, limit, value = shown
    return metric.metric.replace("_", " "), typical, limit, value


def _left_out(found: BaselineFindings) -> Iterator[str]:
    """A line for each reason, with the runs that it holds for."""
    by_reason: dict[str, list[str]] = {}
    for run, why in found.left_out:
        by_reason.setdefault(why, []).append(run)
    for why, runs in by_reason.items():
        more = f" and {format_count(len(runs) - _MOST_NAMED)} more" if len(runs) > _MOST_NAMED else ""
        yield f"left out: {', '.join(visible(run, 80) for run in runs[:_MOST_NAMED])}{more}: {why}"
