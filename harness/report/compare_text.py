"""Two stored runs side by side, for a terminal: `harness compare`. The rows are what the Markdown shows, too."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from harness.comparison import CompareFindings, Difference, MetricChange, RunRef, Shift, StageChange
from harness.estimates import Estimate
from harness.model import TRANSFER
from harness.report import console_tables
from harness.report.figures import decimals_for, in_unit, ms, percentile, percentiles_listed, share
from harness.report.text import visible
from harness.report.verdict_text import VERDICT_WORDS
from harness.units import MISSING, format_count

NARROWEST = 60
LATENCY = "latency"
_LABELS = {
    "error_rate": "failed", "throughput": "answers ok", "queue_est": "queue, estimated", LATENCY: "= mean latency",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Table:
    """A table as text; the columns named in `words` are no figures. `note` says what it stands on."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[int, ...]
    note: str


def render(found: CompareFindings, *, width: int, colour: bool) -> str:
    """The comparison as text of at most `width` columns; escape codes only with `colour`."""
    console = Console(
        file=io.StringIO(), width=max(width, NARROWEST), force_terminal=colour,
        color_system="truecolor" if colour else None, no_color=not colour, markup=False, emoji=False, highlight=False,
        legacy_windows=False,
    )  # fmt: skip
    parts: list[RenderableType] = [_head(found), *_unlike(found.differences), _said(found.sentences)]
    parts += [_drawn(table) for table in tables(found)]
    with console.capture() as captured:
        for part in parts:
            console.print(part)
            console.print()
    lines = captured.get().splitlines()
    return "\n".join(line.rstrip() for line in lines).strip("\n") + "\n"


def _head(found: CompareFindings) -> RenderableType:
    lines = [Text.assemble((f"{name}  ", "bold"), (run_line(run), "dim")) for name, run in runs(found)]
    return Group(*lines)


def _unlike(differences: Sequence[Difference]) -> list[RenderableType]:
    blocks: list[RenderableType] = []
    for matters, title, style in ((True, NOT_COMPARABLE, "bold magenta"), (False, BESIDE, "bold")):
        lines = [visible(d.sentence, 400) for d in differences if d.matters is matters]
        if lines:
            listed = (Padding(Text(f"- {line}"), (0, 0, 0, 2)) for line in lines)
            blocks.append(Group(Text(title, style), *listed))
    return blocks


def _said(sentences: Sequence[str]) -> RenderableType:
    return Group(*(Text(f"- {visible(sentence, 600)}") for sentence in sentences))


def _drawn(table: Table) -> RenderableType:
    made = console_tables.table(table.title, table.columns, words=table.words)
    for row in table.rows:
        made.add_row(*map(Text, row))
    return Group(made, Text(table.note, "dim")) if table.note else made


# --- rows --------------------------------------------------------------------------------------------------

NOT_COMPARABLE = "NOT COMPARABLE: what follows is shown because it was asked for"
BESIDE = "What else differs"


def runs(found: CompareFindings) -> tuple[tuple[str, RunRef], ...]:
    """Both runs with their letter."""
    return (("A", found.a), ("B", found.b))


def run_line(run: RunRef) -> str:
    """`20260102T030405Z-demo, 2026-01-02 03:04 UTC: demo, poisson 4/s, n = 240, passed`."""
    began = datetime.fromtimestamp(run.started_ns / 1e9, UTC)
    told = f"{visible(run.scenario)}, {visible(run.load)}, n = {format_count(run.n)}, {VERDICT_WORDS[run.verdict]}"
    return f"{visible(run.run_id)}, {began:%Y-%m-%d %H:%M} UTC: {told}"


def tables(found: CompareFindings) -> tuple[Table, ...]:
    """The tables that have something in them, in their order."""
    made = (
        _metrics(found.metrics),
        _changes("Stages, mean per request", found.stages, STAGES_NOTE),
        _changes("Models, mean per request", found.models, ""),
        _shifts(found.shifts),
        _tail(found.tail),
    )
    return tuple(table for table in made if table.rows)


STAGES_NOTE = (
    "change is B less A, with its 95% interval; changes of means add up, the parts of transfer stand below it; "
    "a stage with ~ waits for others"
)


def _metrics(metrics: Sequence[MetricChange]) -> Table:
    rows = tuple(
        (label(m.metric), _figure(m.a, m.unit), _figure(m.b, m.unit), visible(m.reason, 400))
        for m in metrics
    )  # fmt: skip
    note = "failed requests rank as slowest, the mean is of the answered ones; 95% intervals, of the requests only"
    return Table("The whole request", ("", "A", "B", "in these two runs, B is"), rows, (0, 3), note)


def _figure(value: float | None, unit: str) -> str:
    return f"{in_unit(value, '')}/s" if unit == "1/s" and value is not None else in_unit(value, unit)


def label(name: str) -> str:
    """A metric or stage as it is shown."""
    return _LABELS.get(name, visible(name, 60))


def _changes(title: str, changes: Sequence[StageChange], note: str) -> Table:
    known = [value for c in changes for value in (c.a_s, c.b_s) if value is not None]
    decimals = decimals_for(max(known, default=None))
    rows: list[tuple[str, ...]] = []
    for c in changes:
        part = "  " if c.stage in TRANSFER else ""
        waits = "" if c.works or c.stage == LATENCY else " ~"
        figures = (ms(c.a_s, decimals), ms(c.b_s, decimals), _signed(c.change.value, decimals))
        rows.append((f"{part}{label(c.stage)}{waits}", *figures, _between(c.change, decimals), share(c.share)))
    columns: tuple[str, ...] = ("ms", "A", "B", "change", "interval", "of the change")
    if all(c.share is None for c in changes):  # of a change that is not known
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    refused: dict[str, list[str]] = {}
    for c in changes:
        if c.change.refusal is not None:
            refused.setdefault(visible(c.change.refusal), []).append(label(c.stage))
    why = [f"{', '.join(stages)}: {reason}" for reason, stages in refused.items()]
    return Table(title, columns, tuple(rows), (0,), _joined(note, *why))


def _shifts(shifts: Sequence[Shift]) -> Table:
    """Points that are known on one side at least; of the others why the first is missing, which needs least."""
    known = [s for s in shifts if s.a_s is not None or s.b_s is not None]
    decimals = decimals_for(max((value for s in known for value in (s.a_s, s.b_s) if value is not None), default=None))
    rows = tuple(
        (percentile(s.p), ms(s.a_s, decimals), ms(s.b_s, decimals), _signed(s.change.value, decimals),
         _between(s.change, decimals))
        for s in known
    )  # fmt: skip
    refused = [s for s in shifts if s.refusal is not None]
    listed = percentiles_listed([s.p for s in shifts], {s.p for s in refused})
    why = f"no {listed} ({visible(refused[0].refusal or '')})" if refused else ""
    note = "each interval for itself: with twelve of them one may miss by chance"
    return Table("Shift of the latency", ("ms", "A", "B", "change", "interval"), rows, (0,), _joined(note, why))


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _tail(tail: Sequence[tuple[str, float]]) -> Table:
    decimals = decimals_for(max((abs(value) for _, value in tail), default=None))
    rows = tuple((label(stage), _signed(value, decimals)) for stage, value in tail)
    note = "means of each stage in the requests around each run's own p95: they sum to the change of the p95"
    return Table("Change of the p95", ("ms", "B less A"), rows, (0,), note)


def _signed(seconds: float | None, decimals: int) -> str:
    if seconds is None:
        return MISSING
    shown = ms(abs(seconds), decimals)
    return f"{'-' if seconds < 0 else '+'}{shown}" if shown.strip("0.,") else shown


def _between(change: Estimate, decimals: int) -> str:
    if change.value is None or (change.low is None and change.high is None):
        return ""
    low, high = _signed(change.low, decimals), _signed(change.high, decimals)
    if change.high is None:
        return f"≥ {low}"
    return f"≤ {high}" if change.low is None else f"{low} … {high}"
