"""The parts of the terminal summary that explain: causes, load steps, the tail, who held what, works or waits."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.diagnosis import Steadiness
from harness.findings import Summary
from harness.report import gains_text, said, steps_text, why, work_text
from harness.report.console_tables import blank, indented, table
from harness.report.palette import DARK
from harness.report.steps_text import StepLine
from harness.report.text import visible

_STATE_STYLES = {
    Steadiness.STEADY: "green",
    Steadiness.WARMING: "yellow",
    Steadiness.DRIFTING: "yellow",
    Steadiness.UNSTABLE: "bold red",
    Steadiness.UNTESTED: "dim",
}


def sentences(summary: Summary) -> RenderableType | None:
    """The verdict in words, the figures behind each sentence below it."""
    lines = said.said_lines(summary)
    if not lines:
        return None
    grid = Table.grid(padding=(0, 1))
    for line in lines:
        told = Text(visible(line.text, 600))
        if line.remedy:
            told = Text.assemble(told, " ", (said.TRY_FIRST, "bold"), f" {visible(line.remedy, 600)}")
        grid.add_row(Text("•", "dim"), told)
        for figure in line.evidence:
            grid.add_row("", indented(visible(figure, 400), 2))
    return grid


def causes(summary: Summary) -> RenderableType | None:
    """Each cause that no sentence tells, with what to try first and what shows it; or the one sentence that there is
    none.
    """
    none = said.no_cause(summary)
    if none:
        return Text(none)
    lines = said.cause_lines(summary)
    if not lines:
        return None
    grid = Table.grid(padding=(0, 1))
    for line in lines:
        grid.add_row(Text(f"{line.number}."), Text(visible(line.sentence, 600)))
        grid.add_row("", Text.assemble((f"{said.TRY_FIRST} ", "bold"), visible(line.remedy, 600)))
        for figure in line.further:
            grid.add_row("", indented(visible(figure, 400), 2))
    return Group(Text(said.causes_title(summary), "bold"), grid)


def gains(summary: Summary) -> RenderableType | None:
    """What the usual changes would give, and what those figures stand on; or why nobody can say."""
    answers = gains_text.gain_table(summary)
    if answers is None:
        refusal = gains_text.no_gain(summary)
        return Text(refusal, "dim") if refusal else None
    made = table(gains_text.TITLE, answers.columns)
    for line in answers.lines:
        made.add_row(*map(Text, line))
    return Group(made, *(Text(note, "dim") for note in answers.notes))


# --- load steps -----------------------------------------------------------------------------------------------

_DROPPED_FIRST = ("gauge", "offered", "in flight", "p50", "p99")
"""Columns that a narrow terminal does without, in this order."""


def steps(summary: Summary, width: int) -> RenderableType | None:
    """A row per load step, as many columns as fit; what is to be said of a step stands below."""
    lines = steps_text.step_lines(summary)
    if not lines:
        return None
    rows = [_step_cells(line) for line in lines]
    columns = _fitting(rows, width)
    made = table("Load steps (ms)", columns, words=(0, columns.index("state")))
    for line, row in zip(lines, rows, strict=True):
        made.add_row(*(Text(row[c], _STATE_STYLES[line.state] if c == "state" else "") for c in columns))
    notes = [indented(f"{line.level}: {visible(note, 400)}", 0) for line in lines for note in line.notes]
    if any(line.completed_when for line in lines):
        notes.append(indented("* completed in the second half of the step, when its queue had filled", 0))
    return Group(made, *notes, Text(steps_text.steps_note(columns), "dim"))


def _step_cells(line: StepLine) -> dict[str, str]:
    percentiles = {name: cell.value for name, cell in zip(steps_text.PERCENTILES, line.percentiles, strict=True)}
    failed = line.failed + (f" ({line.failed_interval})" if line.failed_interval else "")
    completed = line.completed + ("*" if line.completed_when else "")
    cells = {"step": line.level, "offered": line.offered, "completed": completed, "failed": failed}
    return {**cells, **percentiles, "in flight": line.in_flight, "gauge": line.gauge, "state": line.state.value}


def _fitting(rows: list[dict[str, str]], width: int) -> list[str]:
    """The columns that fit into `width`: those that say nothing in any row go first."""
    told = [c for c in rows[0] if c in ("step", "state") or any(row[c] != "–" for row in rows)]
    for unwanted in (None, *_DROPPED_FIRST):
        told = [c for c in told if c != unwanted]
        widths = (max(len(c), *(len(row[c]) for row in rows)) for c in told)
        if sum(widths) + 3 * (len(told) - 1) <= width:
            break
    return told


# --- the tail -------------------------------------------------------------------------------------------------


def tail(summary: Summary, width: int) -> RenderableType | None:
    """The gap between slow and typical requests, who held what they waited for, and what slow ones share."""
    split = why.tail_table(summary)
    parts = [_split(split, width) if split else None, _blame(summary), _contrasts(summary)]
    shown = [part for part in parts if part is not None]
    if not shown:
        return None
    return Group(*[piece for part in shown for piece in (part, Text())][:-1])


def _split(split: why.TailTable, width: int) -> RenderableType:
    bar = max(6, min(30, width - 58))
    made = blank(why.SLOW, SIMPLE)
    made.show_footer = True
    made.add_column(Text("stage", "dim"), Text("= difference", "bold"), no_wrap=True)
    made.add_column(Text("share", "dim"), Text("100.0%", "bold"), justify="right", no_wrap=True)
    made.add_column(Text("95% interval", "dim"), justify="right", no_wrap=True)
    made.add_column(Text("ms", "dim"), Text(split.total, "bold"), justify="right", no_wrap=True)
    made.add_column("", min_width=bar, max_width=bar, no_wrap=True)
    for line in split.lines:
        made.add_row(*map(Text, (line.label, line.share, line.interval, line.ms)), _waterfall(line, bar))
    return Group(made, Text(split.answer), Text(split.headline, "dim"))


def _waterfall(line: why.TailLine, cells: int) -> Text:
    """A bar that begins where the one above ends; one that runs backwards is hatched."""
    begin = min(int(line.start * cells), cells - 1)
    length = max(1, round((line.start + line.width) * cells) - begin)
    sign = "▒" if line.less else "█"
    return Text(" " * begin + sign * min(length, cells - begin), DARK.stages.get(line.stage, ""))


def _blame(summary: Summary) -> RenderableType | None:
    groups = why.blame_groups(summary)
    if not groups:
        return None
    made = table(why.HELD, ("held by", "share", "ms a request"))
    for group in groups:
        made.add_row(Text.assemble((group.resource, "bold"), (f" ({group.waited})", "dim")), "", "")
        for line in group.lines:
            made.add_row(indented(line.holder, 2, ""), Text(line.share), Text(line.ms))
    note = why.blame_note(summary)
    return Group(made, Text(note, "dim")) if note else made


def _contrasts(summary: Summary) -> RenderableType | None:
    lines = why.contrast_lines(summary)
    if not lines:
        return None
    grid = Table.grid(padding=(0, 1))
    for line in lines:
        grid.add_row(Text("•", "dim"), Text(visible(line.sentence, 400)))
    return Group(Text("Slow requests against typical ones", "bold"), grid)


# --- works or waits -------------------------------------------------------------------------------------------


def work(summary: Summary, width: int) -> RenderableType | None:
    """Wall clock against CPU per stage, and what grows from the lowest load step to the highest."""
    parts = [part for part in (_work(summary), _growth(summary, width)) if part is not None]
    spaced = [piece for part in parts for piece in (part, Text())][:-1]
    return Group(*spaced) if parts else None


def _work(summary: Summary) -> RenderableType | None:
    lines = work_text.work_lines(summary)
    if not lines:
        return None
    columns = work_text.work_columns(summary)
    made = table("Works or waits", columns, words=())
    for line in lines:
        made.add_row(*map(Text, line.cells[: len(columns)]))
    return Group(made, Text(work_text.work_note(summary), "dim"))


def _growth(summary: Summary, width: int) -> RenderableType | None:
    lines = work_text.growth_lines(summary)
    if not lines:
        return None
    low, high = work_text.growth_levels(summary)
    columns = ["stage", low, high, "change", "of all", "what grows"]
    made = table("What grows with the load (ms)", columns, words=(0, 5))
    for line in lines:
        interval = f" ({line.interval})" if line.interval and width >= 80 else ""
        cells = (line.label, line.low, line.high, line.change + interval, line.share, line.grows)
        made.add_row(*map(Text, cells))
    return made
