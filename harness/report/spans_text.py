"""What came back for single requests: each span, the stage it was mapped to, and what no rule claimed."""

from __future__ import annotations

import json
from collections import defaultdict

import pandas as pd
import pyarrow as pa

from harness.findings import Summary
from harness.model import SERVER_STAGES, Split
from harness.report.text import visible
from harness.spans.mapping import unclaimed
from harness.units import format_count, format_duration

SHOWN_SPANS = 60


def render(ledger: pd.DataFrame, spans: pa.Table, summary: Summary) -> str:
    """One request of each name: its stages, and its spans as a tree, from the ledger rows and mapped spans of a run."""
    lines = [f"server halves: {summary.span_source}"]
    by_trace = defaultdict(list)
    for row in spans.to_pylist():
        by_trace[row["trace_id"]].append(row)
    for name, rows in ledger[ledger["ok"]].groupby("name", sort=False):
        shown = rows.iloc[-1]  # the last one: the first pays for warming up
        lines += ["", f"{visible(str(name))}: {format_duration(float(shown['latency_s']))}"]
        lines += _split(shown) + _tree(by_trace.get(shown["trace_id"], []))
    return "\n".join(lines + _failures(summary) + _left_over(spans))


def _split(row: pd.Series) -> list[str]:
    """The stages of one request on one line, and where they came from."""
    sources = {
        Split.MARKS: "measured by harness.instrument", Split.SPANS: "from plain spans",
        Split.DURATIONS: "from a Server-Timing header of the service's own",
    }  # fmt: skip
    if row["split"] == Split.NONE.value:
        return ["  no server half: the service sent no spans and no Server-Timing for it"]
    known = [(stage, row[f"{stage}_s"]) for stage in ("transfer", *SERVER_STAGES, "other")]
    parts = "  ".join(f"{stage} {format_duration(float(seconds))}" for stage, seconds in known if not pd.isna(seconds))
    return [f"  {parts}", f"  ({sources[Split(row['split'])]})"]


def _failures(summary: Summary) -> list[str]:
    failed = [f"{visible(n.name)}: {n.failed} of {n.ok + n.failed} failed" for n in summary.names if n.failed]
    if not failed:
        return []
    what = ", ".join(f"{visible(text)} ({format_count(count)})" for text, count in summary.counts.errors)
    return ["", *failed, f"what went wrong: {what}"]


def _left_over(spans: pa.Table) -> list[str]:
    left = unclaimed(spans)
    if not left:
        return []
    names = ", ".join(f"{visible(name)} ({format_count(count)})" for name, count in left[:12])
    return [
        "",
        f"claimed by no stage: {names}",
        "if one of them is work, map it: `spans: {stages: {inference: [NAME]}}`",
    ]


def _tree(rows: list[dict[str, object]]) -> list[str]:
    children: dict[object, list[dict[str, object]]] = defaultdict(list)
    known = {row["span_id"] for row in rows}
    for row in sorted(rows, key=lambda r: str(r["start_ns"]).zfill(20)):
        children[row["parent_id"] if row["parent_id"] in known else None].append(row)
    lines: list[str] = []
    waiting = [(row, 1) for row in reversed(children[None])]
    while waiting and len(lines) < SHOWN_SPANS:
        row, depth = waiting.pop()
        lines.append(_line(row, depth))
        waiting.extend((child, depth + 1) for child in reversed(children.get(row["span_id"], [])))
    if waiting:
        lines.append("  ...")
    return lines


def _line(row: dict[str, object], depth: int) -> str:
    start, end = row["start_ns"], row["end_ns"]
    assert isinstance(start, int) and isinstance(end, int)  # noqa: S101, PT018 - columns of model.Span
    label = "  " * depth + visible(str(row["name"]))
    stage = row["stage"] or ("server window" if row["kind"] == "server" else "-")
    model = json.loads(str(row["attributes"] or "{}")).get("harness.model")
    shown = f"{stage} ({visible(str(model))})" if model else stage
    return f"{label:<44} {format_duration((end - start) / 1e9):>10}  {shown}"
