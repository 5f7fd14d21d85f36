"""The runs of a scenario over time, for a terminal and as Markdown: a row a run, oldest first, changes marked."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.text import Text

from harness.comparison import ChangePoint, HistoryFindings, HistoryRow
from harness.report import console_tables, figures, markdown_text
from harness.report.text import visible
from harness.units import format_count, format_duration, format_rate

_SEED = re.compile(r", seed [0-9]+$")
_SPARKS = "▁▂▃▄▅▆▇█"
_MOST_SPARKS = 60
_BAR = 10
_LESS_IS_WORSE = ("throughput",)
_SPARED = ("when", "bar", "answered", "bottleneck", "commit")
"""Columns that a narrow terminal does without, the first one first. The name of a run begins with its time."""
_WORDS = ("run", "bottleneck", "verdict")


@dataclass(frozen=True, slots=True)
class _Column:
    key: str
    heading: str
    cells: tuple[str, ...]

    @property
    def wide(self) -> int:
        return max(map(len, (self.heading, *self.cells)))


def render(
    found: Sequence[HistoryFindings], unread: Sequence[tuple[str, str]], *, width: int, colour: bool, last: int = 0
) -> str:
    """A block for each scenario, with its `last` runs (0: all), in at most `width` columns."""
    console = Console(
        file=io.StringIO(), width=max(width, 60), force_terminal=colour, color_system="truecolor" if colour else None,
        no_color=not colour, markup=False, emoji=False, highlight=False, legacy_windows=False,
    )  # fmt: skip
    with console.capture() as captured:
        for each in found:
            console.print(_block(each, console.width, last))
            console.print()
        for name, why in unread:
            console.print(Text(f"not read: {visible(name)}: {visible(why, 300)}", "yellow"))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()).strip("\n") + "\n"


def markdown(found: Sequence[HistoryFindings], unread: Sequence[tuple[str, str]], *, last: int = 0) -> str:
    """The same for a comment or a page."""
    blocks = [part for each in found for part in _markdown_parts(each, last)]
    left = [f"not read: {markdown_text.named(name)}: {markdown_text.escaped(why, 300)}" for name, why in unread]
    return "\n\n".join(block for block in (*blocks, markdown_text.bullets(left)) if block) + "\n"


# --- a block -------------------------------------------------------------------------------------------------


def _block(found: HistoryFindings, width: int, last: int) -> RenderableType:
    rows = _shown(found, last)
    columns = _fitting(_columns(found, rows, visible), rows, width)
    table = console_tables.table(
        "", [each.heading for each in columns], words=[i for i, each in enumerate(columns) if each.key in _WORDS]
    )
    for number, row in enumerate(rows):
        style = "" if row.counted else "dim"
        table.add_row(*(Text(each.cells[number], style) for each in columns))
    told = [Text(f"• {visible(sentence, 500)}") for sentence in _said(found)]
    head = [Text(visible(found.scenario), "bold"), *(Text(line, "dim") for line in _about(found, rows, visible))]
    return Group(*head, *told, Text(), table)


def _markdown_parts(found: HistoryFindings, last: int) -> list[str]:
    rows = _shown(found, last)
    columns = [each for each in _columns(found, rows, markdown_text.escaped) if each.key != "bar"]
    lines = zip(*(each.cells for each in columns), strict=True)
    words = [i for i, each in enumerate(columns) if each.key in (*_WORDS, "when", "commit", "load")]
    return [
        f"### {markdown_text.named(found.scenario)}",
        "  \n".join(_about(found, rows, markdown_text.escaped)),
        markdown_text.bullets(markdown_text.escaped(sentence) for sentence in _said(found)),
        markdown_text.table([each.heading for each in columns], lines, words=words),
    ]


def _said(found: HistoryFindings) -> tuple[str, ...]:
    return (*(change.sentence for change in found.changes), *found.sentences)


def _shown(found: HistoryFindings, last: int) -> Sequence[HistoryRow]:
    return found.rows[-last:] if last > 0 else found.rows


def _about(found: HistoryFindings, rows: Sequence[HistoryRow], safe: Callable[[str], str]) -> list[str]:
    """What stands above the table: how many runs, their loads, the p95 as a line."""
    first, final = found.rows[0].run, found.rows[-1].run
    many = f"{format_count(len(found.rows))} run{'s' if len(found.rows) > 1 else ''}"
    span = when(first.started_ns) if len(found.rows) == 1 else f"{when(first.started_ns)} to {when(final.started_ns)}"
    hidden = len(found.rows) - len(rows)
    lines = [f"{many}, {span} UTC" + (f"; the newest {len(rows):,} are shown" if hidden else "")]
    loads = _loads(found)
    lines += [f"load {letter}: {safe(load)}" if len(loads) > 1 else safe(load) for load, letter in loads.items()]
    p95 = [row.p95_s for row in found.rows if row.counted and row.p95_s is not None and math.isfinite(row.p95_s)]
    if len(p95) > 1:
        lines.append(f"p95 {sparkline(p95)} {format_duration(min(p95))} to {format_duration(max(p95))}")
    return lines


def _loads(found: HistoryFindings) -> dict[str, str]:
    """Load -> the letter it has in the table."""
    loads = dict.fromkeys(without_seed(row.run.load) for row in found.rows)
    return {load: _letter(number) for number, load in enumerate(loads)}


def without_seed(load: str) -> str:
    """A load profile on one line, less what every run of it may draw anew."""
    return _SEED.sub("", load)


def _letter(number: int) -> str:
    return chr(ord("A") + number) if number < 26 else str(number + 1)


def when(started_ns: int) -> str:
    """The instant to the minute, UTC."""
    try:
        return f"{datetime.fromtimestamp(started_ns // 1_000_000_000, UTC):%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):
        return "–"


def sparkline(values: Sequence[float]) -> str:
    """The newest values as a line of eight heights, from the smallest to the largest of them."""
    newest = values[-_MOST_SPARKS:]
    low, high = min(newest), max(newest)
    if high <= low:
        return _SPARKS[0] * len(newest)
    return "".join(_SPARKS[min(7, int((value - low) / (high - low) * 8))] for value in newest)


# --- the columns ---------------------------------------------------------------------------------------------


def _columns(found: HistoryFindings, rows: Sequence[HistoryRow], safe: Callable[[str], str]) -> list[_Column]:
    """Every column that says something of these rows."""
    known = [row.p95_s for row in rows if row.p95_s is not None and math.isfinite(row.p95_s)]
    decimals = figures.decimals_for(max(known, default=None))
    loads = _loads(found)
    mark = _marks(found.changes)
    columns = [
        _Column("when", "when (UTC)", tuple(when(row.run.started_ns) for row in rows)),
        _Column("run", "run", tuple(safe(row.run.run_id) for row in rows)),
        _Column("commit", "commit", tuple(safe(row.commit or "")[:12] for row in rows)),
        _Column("verdict", "verdict", tuple(row.run.verdict.value.replace("_", " ") for row in rows)),
        _Column("load", "load", tuple(loads[without_seed(row.run.load)] if len(loads) > 1 else "" for row in rows)),
        _Column("n", "n", tuple(format_count(row.run.n) for row in rows)),
        _Column("p50", "p50 (ms)", tuple(figures.ms(row.p50_s, decimals) + mark("p50", row) for row in rows)),
        _Column("p95", "p95 (ms)", tuple(figures.ms(row.p95_s, decimals) + mark("p95", row) for row in rows)),
        _Column("bar", "", tuple(_bar(row.p95_s, max(known, default=0.0)) for row in rows)),
        _Column("errors", "errors", tuple(figures.share(row.error_rate) + mark("error_rate", row) for row in rows)),
        _Column(
            "answered", "answered", tuple(format_rate(row.completed_per_s) + mark("throughput", row) for row in rows)
        ),
        _Column("bottleneck", "bottleneck", tuple(safe(row.bottleneck or "") for row in rows)),
    ]
    return [each for each in columns if any(each.cells)]


def _marks(changes: Sequence[ChangePoint]) -> Callable[[str, HistoryRow], str]:
    """What stands behind a figure: an arrow where it became another one."""
    turned = {(each.metric, each.after_run): " ▲" if each.after > each.before else " ▼" for each in changes}
    marked = {metric for metric, _ in turned}
    return lambda metric, row: turned.get((metric, row.run.run_id), "  " if metric in marked else "")


def _bar(value: float | None, largest: float) -> str:
    """The value as a bar, against the largest one; a run whose value is infinite fills it."""
    if value is None or largest <= 0:
        return ""
    eighths = _BAR * 8 if not math.isfinite(value) else max(1, round(value / largest * _BAR * 8))
    full, rest = divmod(min(eighths, _BAR * 8), 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(_BAR)


def _fitting(columns: list[_Column], rows: Sequence[HistoryRow], width: int) -> list[_Column]:
    stamped = all(row.run.run_id[:8].isdigit() for row in rows)
    for key in _SPARED:
        if sum(each.wide + 3 for each in columns) <= width + 2:
            break
        if key != "when" or stamped:
            columns = [each for each in columns if each.key != key]
    return columns
