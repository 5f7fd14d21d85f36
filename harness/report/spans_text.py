"""What came back for single requests: each span, the stage it was mapped to, and what no rule claimed."""

from __future__ import annotations

from collections import defaultdict

import pandas as pd
import pyarrow as pa

from harness.report.text import visible
from harness.spans.mapping import unclaimed
from harness.units import format_count, format_duration

SHOWN_SPANS = 60


def render(ledger: pd.DataFrame, spans: pa.Table, source: str) -> str:
    """One request of each name as a tree of spans, from the ledger rows and the mapped spans of a run."""
    lines = [f"server halves: {source}"]
    by_trace = defaultdict(list)
    for row in spans.to_pylist():
        by_trace[row["trace_id"]].append(row)
    answered = ledger[ledger["ok"]]
    for name, rows in answered.groupby("name", sort=False):
        first = rows.iloc[-1]  # the last one: the first pays for warming up
        lines.append("")
        lines.append(f"{visible(str(name))}: {format_duration(float(first['latency_s']))}, split from {first['split']}")
        lines.extend(_tree(by_trace.get(first["trace_id"], [])) or ["  no spans (the split came on the answer itself)"])
    if answered.empty:
        lines.append("no request was answered as expected; `harness run` shows the errors")
    left = unclaimed(spans)
    if left:
        names = ", ".join(f"{visible(name)} ({format_count(count)})" for name, count in left[:12])
        lines += ["", f"claimed by no stage: {names}", "map them with `spans: {stages: {inference: [NAME]}}`"]
    return "\n".join(lines)


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
    return f"{label:<44} {format_duration((end - start) / 1e9):>10}  {stage}"
