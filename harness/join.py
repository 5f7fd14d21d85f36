"""Samples + spans -> the server half of each request.

The join key is the trace id the client made. The root of a request is the earliest server span whose parent is the
client's own span, or a span that nobody sent us (a proxy in between may own it). A request without a complete set
of spans falls back to the `Server-Timing` header of its own answer, which cannot be lost separately.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from harness.instrument.host import UNKNOWN
from harness.model import Split
from harness.spans import server_timing

OTLP = "otlp"
SERVER_TIMING = "server-timing"


@dataclass(frozen=True, slots=True, eq=False)
class Interval:
    """A span that claims time, ns since the epoch on the server's clock; `parent` is its nearest claiming ancestor."""

    stage: str
    start: int
    end: int
    parent: Interval | None
    model: str | None = None
    batch_id: str | None = None
    batch_size: int | None = None


@dataclass(frozen=True, slots=True)
class ServerHalf:
    """What the server said about one request, on the server's clock.

    `start_ns`/`end_ns` are None when only durations are known; `total_s` is the window's length in every case.
    The work is in `intervals` (spans) or, already added up, in `totals` (seconds per stage, from the header).
    `answered_ns` is the instant the first part of the answer was given away; where that is not known, `worked_until_ns`
    is the end of the last stage, which comes before it unless the service works on in the background.
    """

    split: Split
    channel: str
    host: str | None
    total_s: float
    start_ns: int | None = None
    end_ns: int | None = None
    answered_ns: int | None = None
    worked_until_ns: int | None = None
    intervals: tuple[Interval, ...] = ()
    totals: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Joined:
    """`halves[i]` belongs to sample i (None: no server half). The counts are traces, except where said."""

    halves: tuple[ServerHalf | None, ...]
    several_roots: int  # server spans side by side in one trace: a retry, or a context leak in the service
    trailing: int  # spans that begin after the root has ended: background work, or a context leak
    streamed: int  # requests whose header left before the work was done, and that have no spans
    incomplete: int  # a root came, but fewer child spans than it announced
    foreign: int  # traces that no request of this run started
    spans: int  # spans read


def join(samples: Mapping[str, Sequence[object]], spans: pa.Table, source: str = "auto") -> Joined:
    """The server half of every sample.

    `samples` maps the columns trace_id, span_id and server_timing to equally long sequences; `spans` is a table of
    model.Span rows with stages mapped; `source` is auto | otlp | server-timing | none.
    """
    traces = _by_trace(spans) if source in ("auto", "otlp") else {}
    counted = {"several_roots": 0, "trailing": 0, "streamed": 0, "incomplete": 0}
    halves: list[ServerHalf | None] = []
    for trace_id, span_id, header in zip(
        samples["trace_id"], samples["span_id"], samples["server_timing"], strict=True
    ):
        half = _from_spans(traces.pop(trace_id, ()), str(span_id), counted)
        if half is None and source in ("auto", "server-timing") and header is not None:
            half = _from_header(str(header), str(trace_id), counted)
        halves.append(half)
    return Joined(tuple(halves), foreign=len(traces), spans=spans.num_rows, **counted)


@dataclass(frozen=True, slots=True)
class _Row:
    span_id: str
    parent_id: str | None
    kind: str
    start_ns: int
    end_ns: int
    stage: str | None
    attributes: str | None


def _by_trace(spans: pa.Table) -> dict[object, Sequence[_Row]]:
    names = ("span_id", "parent_id", "kind", "start_ns", "end_ns", "stage", "attributes")
    found: dict[object, dict[str, _Row]] = defaultdict(dict)
    columns = [spans.column(name).to_pylist() for name in names]
    for trace_id, *values in zip(spans.column("trace_id").to_pylist(), *columns, strict=True):
        row = _Row(*values)
        found[trace_id].setdefault(row.span_id, row)  # an exporter that retries may deliver a span twice
    return {trace_id: tuple(rows.values()) for trace_id, rows in found.items()}


def _from_spans(rows: Sequence[_Row], client_span_id: str, counted: dict[str, int]) -> ServerHalf | None:
    root = _root(rows, client_span_id, counted)
    if root is None:
        return None
    attributes = _attributes(root)
    split = Split.MARKS if attributes.get("harness.split") == "marks" else Split.SPANS
    announced = attributes.get("harness.spans")
    if isinstance(announced, int) and len(_below(rows, root)) < announced:
        counted["incomplete"] += 1
        return None
    intervals = _intervals(rows, root)
    work_ended = max((i.end for i in intervals if i.end <= root.end_ns), default=None)
    return ServerHalf(
        split=split,
        channel=OTLP,
        host=_host(attributes.get("harness.host")),
        total_s=(root.end_ns - root.start_ns) / 1e9,
        start_ns=root.start_ns,
        end_ns=root.end_ns,
        answered_ns=_instant(attributes.get("harness.first_send_ns")),
        worked_until_ns=work_ended,
        intervals=intervals,
    )


def _root(rows: Sequence[_Row], client_span_id: str, counted: dict[str, int]) -> _Row | None:
    known = {row.span_id for row in rows}
    tops = [row for row in rows if row.parent_id == client_span_id or row.parent_id not in known]
    servers = [row for row in tops if row.kind == "server"]
    candidates = servers or [row for row in tops if row.parent_id == client_span_id]
    if not candidates:
        return None
    # A framework's own telemetry may stand around our instrumentation: ours knows more.
    marked = [row for row in candidates if _attributes(row).get("harness.split") == "marks"]
    # Among spans that start together the longest one is the outermost.
    root = min(marked or candidates, key=lambda row: (row.start_ns, -row.end_ns))
    if any(row.start_ns >= root.end_ns for row in candidates):
        counted["several_roots"] += 1
    elif any(row.start_ns >= root.end_ns for row in rows):
        counted["trailing"] += 1
    return root


def _below(rows: Sequence[_Row], root: _Row) -> list[_Row]:
    """The spans that hang under the root, directly or not."""
    children: dict[str | None, list[_Row]] = defaultdict(list)
    for row in rows:
        children[row.parent_id].append(row)
    found: list[_Row] = []
    seen = {root.span_id}
    waiting = [root.span_id]
    while waiting:
        for row in children.get(waiting.pop(), ()):
            if row.span_id not in seen:
                seen.add(row.span_id)
                found.append(row)
                waiting.append(row.span_id)
    return found


def _intervals(rows: Sequence[_Row], root: _Row) -> tuple[Interval, ...]:
    """The spans that claim a stage, each with its nearest staged ancestor as parent; the others are transparent."""
    by_id = {row.span_id: row for row in rows}
    made: dict[str, Interval] = {}
    known: dict[str, _Row | None] = {}
    staged = [row for row in rows if row.stage is not None and row is not root]
    for row in staged:
        chain: dict[str, _Row] = {}  # from the row up to an interval that is made, or to the end
        node: _Row | None = row
        while node is not None and node.span_id not in made and node.span_id not in chain:
            chain[node.span_id] = node
            node = _staged_ancestor(node, by_id, root, known)
        parent = made.get(node.span_id) if node is not None else None
        for link in reversed(chain.values()):
            parent = made[link.span_id] = _interval(link, parent)
    return tuple(made[row.span_id] for row in staged)


def _staged_ancestor(row: _Row, by_id: Mapping[str, _Row], root: _Row, known: dict[str, _Row | None]) -> _Row | None:
    """The nearest ancestor with a stage, below the root. `known` keeps the answer for every span passed on the way."""
    passed = [row.span_id]
    parent = by_id.get(row.parent_id or "")
    seen = {row.span_id}
    found: _Row | None = None
    while parent is not None and parent is not root and parent.span_id not in seen:
        if parent.stage is not None or parent.span_id in known:
            found = parent if parent.stage is not None else known[parent.span_id]
            break
        seen.add(parent.span_id)
        passed.append(parent.span_id)
        parent = by_id.get(parent.parent_id or "")
    known.update(dict.fromkeys(passed, found))
    return found


def _interval(row: _Row, parent: Interval | None) -> Interval:
    attributes = _attributes(row)
    model = attributes.get("harness.model", attributes.get("model.name"))
    batch_id = attributes.get("harness.batch_id")
    batch_size = attributes.get("harness.batch_size")
    return Interval(
        stage=row.stage or "",
        start=row.start_ns,
        end=row.end_ns,
        parent=parent,
        model=str(model) if model is not None else None,
        batch_id=str(batch_id) if batch_id is not None else None,
        batch_size=batch_size if isinstance(batch_size, int) else None,
    )


def _from_header(header: str, trace_id: str, counted: dict[str, int]) -> ServerHalf | None:
    half = server_timing.parse(header)
    if half is None or (half.trace_id is not None and half.trace_id != trace_id):
        return None
    if half.streamed:
        counted["streamed"] += 1
        return None
    start_ns = half.window_start_ns
    end_ns = start_ns + round(half.total_s * 1e9) if start_ns is not None else None
    return ServerHalf(
        split=half.split,
        channel=SERVER_TIMING,
        host=_host(half.host),
        total_s=half.total_s,
        start_ns=start_ns,
        end_ns=end_ns,
        answered_ns=end_ns,
        totals=half.stages,
    )


def _host(key: object) -> str | None:
    """The key of the server's kernel; a service that cannot tell says "-"."""
    return key if isinstance(key, str) and key != UNKNOWN else None


def _attributes(row: _Row) -> dict[str, object]:
    if row.attributes is None:
        return {}
    try:
        parsed = json.loads(row.attributes)
    except (ValueError, RecursionError):  # a run folder that was edited, or a hostile one
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _instant(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
