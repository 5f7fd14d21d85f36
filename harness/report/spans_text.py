"""What came back for single requests: each span, the stage it was mapped to and why, and what nobody claimed."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import pyarrow as pa

from harness.findings import Summary
from harness.model import SERVER_STAGES, SpanSpec, Split
from harness.report import spans_doubts
from harness.report.text import visible
from harness.spans.arrived import Arrived, look
from harness.spans.looks import attributes_of
from harness.spans.mapping import MARKS, preset_taken, reasons
from harness.spans.presets import BY_NAME, recognise
from harness.spans.presets.derive import MODEL, RESOURCE, containing, derived
from harness.units import format_count, format_duration

SHOWN_SPANS = 60
_ON_THE_WAY = ("span_store", "span_source", "receiver", "rejected_spans", "late_spans")
_NAMED_BY = {"queue": RESOURCE, "inference": MODEL}
_SOURCES = {
    Split.MARKS: "measured by harness.instrument",
    Split.SPANS: "from plain spans",
    Split.DURATIONS: "from a Server-Timing header of the service's own",
}


def render(ledger: pd.DataFrame, spans: pa.Table, summary: Summary, spec: SpanSpec | None = None) -> str:
    """One request of each name: its stages, and its spans as a tree, from the ledger rows and mapped spans of a run."""
    asked = spec or SpanSpec()
    preset = preset_taken(spans, asked)
    spec = replace(asked, preset=preset)
    arrived = look(spans, [str(each) for each in ledger["trace_id"]], BY_NAME[preset].holders if preset else ())
    why = dict(zip(spans.column("span_id").to_pylist(), reasons(spans, spec), strict=True))
    lines = [f"server halves: {summary.span_source}", *_counted(arrived), *_brought(summary)]
    in_vain = _in_vain(spans, asked, why.values())
    if in_vain:
        spec = replace(spec, preset=None)
    lines += in_vain or _preset(preset, recognised=not asked.preset)
    if spec.preset is None:
        lines += _likely(spans, arrived)
    for name, rows in ledger[ledger["ok"]].groupby("name", sort=False):
        shown = _shown(rows, arrived)
        trace = arrived.traces.get(str(shown["trace_id"]), ())
        lines += ["", f"{visible(str(name))}: {format_duration(float(shown['latency_s']))}"]
        lines += _split(shown, trace) + _tree(trace, why)
    return "\n".join([*lines, *_failures(summary), *spans_doubts.render(arrived, ledger, spec)])


def _counted(arrived: Arrived) -> list[str]:
    own = sum(not derived(row["attributes"]) for rows in arrived.traces.values() for row in rows)
    if not own and not arrived.foreign_spans:
        return []
    foreign = (
        f"; {_many(arrived.foreign_spans, 'span')} in traces of their own (batches, background work)"
        if arrived.foreign_spans
        else ""
    )
    if not own:
        return [f"spans: none of these requests{foreign}"]
    return [f"spans: {format_count(own)}, in the traces of {_many(len(arrived.traces), 'request')}{foreign}"]


def _brought(summary: Summary) -> list[str]:
    """What went wrong on the way of the spans, as the run says it."""
    found = [warning for warning in summary.warnings if warning.code in _ON_THE_WAY]
    return [line for each in found for line in (visible(each.message, 300), f"  {visible(each.hint, 300)}")]


def _in_vain(spans: pa.Table, asked: SpanSpec, why: Iterable[str | None]) -> list[str]:
    """Why the scenario's preset does nothing."""
    name = asked.preset
    if name is None:
        return []
    if asked.source in ("server-timing", "none"):
        return [f"`preset: {name}` maps spans, and `source: {asked.source}` takes none: leave one of the two out"]
    maps = any(reason is not None and reason.startswith("preset ") for reason in why)
    if maps or not spans.num_rows or BY_NAME[name].known_by(spans) or containing(spans, MARKS).any():
        return []
    return [f"no span looks like {name}: take `preset: {name}` out"]


def _many(count: int, noun: str) -> str:
    return f"{format_count(count)} {noun}{'' if count == 1 else 's'}"


def _preset(name: str | None, recognised: bool) -> list[str]:
    if name is None:
        return []
    known = BY_NAME[name]
    how = f", recognised by its spans; to keep it: `spans: {{preset: {name}}}`" if recognised else ""
    says = f"it tells {known.tells}", f"it cannot tell more: {known.silent}"
    return [f"preset {name}{how}", *(line for text in says for line in _wrapped(text))]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent="  ", subsequent_indent="    ")


def _likely(spans: pa.Table, arrived: Arrived) -> list[str]:
    """A preset that would claim more than the scenario's own stages do."""
    name = recognise(spans) if arrived.left else None
    return [f"these look like the spans of {name}: `preset: {name}` maps them, beside your `stages`"] if name else []


def _shown(rows: pd.DataFrame, arrived: Arrived) -> pd.Series:
    """The last request, since the first pays for warming up; the last one with spans when some have none."""
    with_spans = rows[rows["trace_id"].isin(list(arrived.traces))]
    return (rows if with_spans.empty else with_spans).iloc[-1]


def _split(row: pd.Series, trace: Sequence[Mapping[str, Any]]) -> list[str]:
    """The stages of one request, where they came from, and which ones nobody recorded: those are not zero."""
    if row["split"] == Split.NONE.value:
        return ["  no server half: the service sent no spans and no Server-Timing for it"]
    seen = {span["stage"] for span in trace}
    silent = [stage for stage in SERVER_STAGES if stage not in seen and not row[f"{stage}_s"] > 0]
    known = [stage for stage in ("transfer", *SERVER_STAGES, "other") if stage not in silent]
    lengths = [(stage, row[f"{stage}_s"]) for stage in known if not pd.isna(row[f"{stage}_s"])]
    parts = "  ".join(f"{stage} {format_duration(float(seconds))}" for stage, seconds in lengths)
    missing = f"; nothing recorded as {', '.join(silent)}" if silent else ""
    return [f"  {parts}", f"  ({_SOURCES[Split(row['split'])]}{missing})"]


def _failures(summary: Summary) -> list[str]:
    failed = [f"{visible(n.name)}: {n.failed} of {n.ok + n.failed} failed" for n in summary.names if n.failed]
    if not failed:
        return []
    what = ", ".join(f"{visible(text)} ({format_count(count)})" for text, count in summary.counts.errors)
    return ["", *failed, f"what went wrong: {what}"]


def _tree(rows: Sequence[Mapping[str, Any]], why: Mapping[str, str | None]) -> list[str]:
    children: dict[object, list[Mapping[str, Any]]] = defaultdict(list)
    known = {row["span_id"] for row in rows}
    for row in sorted(rows, key=lambda row: (row["start_ns"], -row["end_ns"])):
        children[row["parent_id"] if row["parent_id"] in known else None].append(row)
    lines: list[str] = []
    waiting = [(row, 1) for row in reversed(children[None])]
    while waiting and len(lines) < SHOWN_SPANS:
        row, depth = waiting.pop()
        lines.append(_line(row, depth, why.get(row["span_id"])))
        waiting.extend((child, depth + 1) for child in reversed(children.get(row["span_id"], [])))
    if waiting:
        lines.append("  ...")
    return lines


def _line(row: Mapping[str, Any], depth: int, reason: str | None) -> str:
    label = "  " * min(depth, 12) + visible(str(row["name"]), 60)
    stage = row["stage"] or ("server window" if row["kind"] == "server" else "-")
    named = attributes_of(row["attributes"]).get(_NAMED_BY.get(stage, ""))
    shown = f"{stage} ({visible(str(named), 40)})" if named else stage
    because = f"  <- {visible(reason, 80)}" if reason is not None else ""
    return f"{label:<44} {format_duration((row['end_ns'] - row['start_ns']) / 1e9):>10}  {shown}{because}"
