"""What arrived for a few requests, looked at as a whole: whose spans, how they hang together, what no stage claims."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from harness.spans.presets.preset import Rules

Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Left:
    """Spans of one name that stand for no stage.

    `open_s` is the part of `total_s` that no stage has, `held_s` the part that goes to a stage only because a span
    around all of the user's code stands for it: both can be told better.
    """

    name: str
    count: int
    total_s: float
    open_s: float
    held_s: float


@dataclass(frozen=True, slots=True)
class Arrived:
    """`traces` holds the spans of the requests, by trace id; the others are counted as foreign.

    An orphan's parent is neither the caller nor a span that came; several roots are server spans one after the other.
    """

    traces: Mapping[str, tuple[Row, ...]]
    foreign_spans: int
    foreign_traces: int
    foreign_services: tuple[str, ...]
    orphans: tuple[tuple[str, int], ...]
    several_roots: int
    left: tuple[Left, ...]


def look(spans: pa.Table, trace_ids: Collection[str], holders: Rules = ()) -> Arrived:
    """Spans with their stages mapped, of which those of `trace_ids` are the requests'. `holders` are of the preset."""
    own = pc.is_in(spans.column("trace_id"), value_set=pa.array(list(trace_ids), pa.string()))
    traces: dict[str, list[Row]] = defaultdict(list)
    for row in spans.filter(own).to_pylist():
        traces[row["trace_id"]].append(row)
    foreign = spans.filter(pc.invert(own))
    services = sorted(name for name in pc.unique(foreign.column("service")).to_pylist() if name is not None)
    orphans: Counter[str] = Counter()
    several = 0
    for rows in traces.values():
        lost, roots = _tops(rows)
        orphans.update(lost)
        several += roots > 1
    return Arrived(
        traces={trace_id: tuple(rows) for trace_id, rows in traces.items()},
        foreign_spans=foreign.num_rows,
        foreign_traces=pc.count_distinct(foreign.column("trace_id")).as_py(),
        foreign_services=tuple(services),
        orphans=tuple(orphans.most_common()),
        several_roots=several,
        left=_left(traces.values(), holders),
    )


def _tops(rows: Collection[Row]) -> tuple[list[str], int]:
    """The names of the orphans in a trace, and the number of its roots."""
    known = {row["span_id"] for row in rows}
    tops = sorted((row for row in rows if row["parent_id"] not in known), key=_began)
    servers = [row for row in tops if row["kind"] == "server"]
    if not tops:  # a circle
        return [], 0
    root = (servers or tops)[0]
    lost = [row["name"] for row in tops if row["parent_id"] not in (None, root["parent_id"])]
    return lost, 1 + sum(row["start_ns"] >= root["end_ns"] for row in servers)


def _began(row: Row) -> tuple[int, int]:
    return row["start_ns"], -row["end_ns"]


def _left(traces: Iterable[Collection[Row]], holders: Rules) -> tuple[Left, ...]:
    """What stands for no stage, with the longest unexplained time first. Roots hold every stage and count for none."""
    found: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for rows in traces:
        staged = sorted((row for row in rows if row["stage"] is not None), key=_began)
        claimed = [(row["start_ns"], row["end_ns"]) for row in staged]
        exactly = [(row["start_ns"], row["end_ns"]) for row in staged if not _holds(row, holders)]
        for row in rows:
            if row["stage"] is None and row["kind"] != "server":
                start, end = row["start_ns"], row["end_ns"]
                said, sure = _covered(start, end, claimed), _covered(start, end, exactly)
                found[row["name"]].append((end - start, end - start - said, said - sure))
    left = [
        Left(name, len(each), *(sum(lengths) / 1e9 for lengths in zip(*each, strict=True)))
        for name, each in found.items()
    ]
    return tuple(sorted(left, key=lambda each: (-each.open_s, -each.held_s, -each.total_s, each.name)))


def _holds(row: Row, holders: Rules) -> bool:
    return any(fnmatchcase(row["name"], pattern) for _, patterns in holders for pattern in patterns)


def _covered(start: int, end: int, claimed: Iterable[tuple[int, int]]) -> int:
    """How much of [start, end) the intervals cover, which are sorted by their beginning."""
    covered, reached = 0, start
    for begin, stop in claimed:
        begin, stop = max(begin, reached), min(stop, end)
        if stop > begin:
            covered += stop - begin
            reached = stop
    return covered
