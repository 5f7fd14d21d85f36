"""Requests as trace events in JSON, for Perfetto (or chrome://tracing): the client and each process of the service.

Complete events have to nest on each (pid, tid): requests and spans that overlap stand in lanes of their own. `ts` and
`dur` are microseconds with their nanoseconds behind the point; 0 is the first instant of what is exported.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.export.chosen import as_ids
from harness.export.lanes import lanes
from harness.export.rows import Ledger, Shift, requests, spans_and_batches
from harness.model import Sample
from harness.run_folder import RunFolder
from harness.tables import read_columns

MOST_REQUESTS = 50_000
"""More are more than the viewers hold."""

MOST_POINTS = 20_000
"""Points of a counter: the viewers draw one after the other."""

_CLIENT = 1
_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False, allow_nan=False).encode
Place: TypeAlias = tuple[int, int, int, int]
"""Where a span stands: pid, tid, start, end."""


@dataclass(frozen=True, slots=True)
class _Slice:
    """One complete event before it has a lane."""

    owner: str
    start_ns: int
    end_ns: int
    name: str
    category: str
    details: str  # JSON


def render(folder: RunFolder, request_ids: Sequence[int], shift: Shift | None = None) -> str:
    """The requests as one JSON object. With `shift` the service's spans are moved by it. Raises RunFolderError."""
    return "".join(pieces(folder, request_ids, shift))


def pieces(folder: RunFolder, request_ids: Sequence[int], shift: Shift | None = None) -> Iterator[str]:
    """What `render` gives, piece by piece."""
    ids = as_ids(request_ids)
    asked = requests(folder, ids.tolist())
    rows = asked.to_pylist()
    recorded = [
        row for part in spans_and_batches(folder, asked) for row in (shift(part) if shift else part).to_pylist()
    ]
    instants = [row["scheduled_ns"] for row in rows] + [row["start_ns"] for row in recorded]
    zero_ns = min(instants, default=0)
    notes = {"run": folder.run_id, "zero_unix_ns": str(zero_ns), "requests": len(rows)}
    yield f'{{"displayTimeUnit":"ms","otherData":{_to_json(notes)},"traceEvents":[\n'
    yield _process(_CLIENT, "harness", 0)
    client = _client_slices(folder, rows)
    sent: dict[str, Place] = {}
    for one, (text, place) in zip(client, _placed(client, _CLIENT, "requests", zero_ns), strict=True):
        yield text
        if one.category == "request":
            sent[one.owner] = place
    service_places: dict[tuple[str, str], Place] = {}
    for pid, (process, members) in enumerate(_by_process(recorded).items(), _CLIENT + 1):
        yield _process(pid, process, pid)
        found = _placed([_service_slice(row) for row in members], pid, "spans", zero_ns)
        for row, (text, place) in zip(members, found, strict=True):
            yield text
            service_places[row["trace_id"], row["span_id"]] = place
    yield from _arrows(rows, recorded, sent, service_places, zero_ns)
    yield from _in_flight(folder, rows, zero_ns)
    yield '{"ph":"M","pid":1,"tid":0,"name":"process_labels","args":{"labels":"client"}}\n]}\n'


def _us(ns: int) -> str:
    """Nanoseconds as microseconds, exactly."""
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    return f"{sign}{ns // 1000}.{ns % 1000:03d}"


def _process(pid: int, name: str, order: int) -> str:
    return (
        f'{{"ph":"M","pid":{pid},"tid":0,"name":"process_name","args":{{"name":{_to_json(name)}}}}},\n'
        f'{{"ph":"M","pid":{pid},"tid":0,"name":"process_sort_index","args":{{"sort_index":{order}}}}},\n'
    )


def _placed(slices: Sequence[_Slice], pid: int, what: str, zero_ns: int) -> Iterator[tuple[str, Place]]:
    """Each slice as an event in its lane; before the first one of a lane, the lane's name."""
    starts, ends = [one.start_ns for one in slices], [one.end_ns for one in slices]
    named: set[int] = set()
    for one, lane in zip(slices, lanes(starts, ends, [one.owner for one in slices]), strict=True):
        tid = lane + 1
        text = ""
        if lane not in named:
            named.add(lane)
            text = (
                f'{{"ph":"M","pid":{pid},"tid":{tid},"name":"thread_name","args":{{"name":"{what} {tid}"}}}},\n'
                f'{{"ph":"M","pid":{pid},"tid":{tid},"name":"thread_sort_index","args":{{"sort_index":{tid}}}}},\n'
            )
        text += (
            f'{{"ph":"X","pid":{pid},"tid":{tid},"ts":{_us(one.start_ns - zero_ns)}'
            f',"dur":{_us(one.end_ns - one.start_ns)},"name":{_to_json(one.name)},"cat":{_to_json(one.category)}'
            f',"args":{one.details}}},\n'
        )
        yield text, (pid, tid, one.start_ns, one.end_ns)


# --- the client ------------------------------------------------------------------------------------------------------


def steps_of(row: dict[str, Any]) -> list[tuple[str, int, int]]:
    """What the client did in one request, one after the other: (name, start, end), inside [scheduled, done]."""
    until = [
        ("backlog", row["start_ns"]), ("connect", row["send_ns"]), ("send", row["sent_ns"]),
        ("wait", row["first_byte_ns"]), ("receive", row["done_ns"]),
    ]  # fmt: skip
    found, at = [], row["scheduled_ns"]
    for name, instant in until:
        # The first byte is seen by the reader, the end by the kernel: they may be the wrong way round.
        end = max(at, min(row["done_ns"] if instant is None else instant, row["done_ns"]))
        if end > at:
            found.append((name, at, end))
        if instant is None:  # it never got farther
            break
        at = end
    return found


def _client_slices(folder: RunFolder, rows: Sequence[dict[str, Any]]) -> list[_Slice]:
    found = []
    ids = [row["request_id"] for row in rows]
    stages = Ledger(folder, ids).stages(ids)
    for row, known in zip(rows, stages, strict=True):
        owner = str(row["request_id"])
        told = {key: row[key] for key in ("request_id", "trace_id", "phase", "status", "error", "failed_checks")}
        told |= {f"{stage}_ms": round(seconds * 1000, 6) for stage, seconds in known}
        details = _to_json({key: value for key, value in told.items() if value is not None})
        done_ns = max(row["done_ns"], row["scheduled_ns"])
        found.append(_Slice(owner, row["scheduled_ns"], done_ns, row["name"], "request", details))
        found += [_Slice(owner, start, end, name, "client", "{}") for name, start, end in steps_of(row)]
    return found


def _in_flight(folder: RunFolder, rows: Sequence[dict[str, Any]], zero_ns: int) -> Iterator[str]:
    """How many requests of the run were in flight, as long as those that are exported: exact at each point."""
    if not rows:
        return
    begin, end = min(row["scheduled_ns"] for row in rows), max(row["done_ns"] for row in rows)
    starts, ends = _instants(folder)
    before = int((starts < begin).sum()) - int((ends < begin).sum())
    starts, ends = (np.sort(each[(each >= begin) & (each <= end)]) for each in (starts, ends))
    changes = np.unique(np.concatenate((starts, ends)))
    if len(changes) > MOST_POINTS:
        changes = changes[np.linspace(0, len(changes) - 1, MOST_POINTS).astype(np.int64)]
    counts = before + np.searchsorted(starts, changes, "right") - np.searchsorted(ends, changes, "right")
    for at_ns, count in zip(changes.tolist(), counts.tolist(), strict=True):
        yield (
            f'{{"ph":"C","pid":{_CLIENT},"tid":0,"ts":{_us(at_ns - zero_ns)},"name":"in flight"'
            f',"args":{{"requests":{count}}}}},\n'
        )


def _instants(folder: RunFolder) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """When each request was scheduled and done, ns."""
    if folder.samples.is_file():
        frame = read_columns(folder, "samples", ["scheduled_ns", "done_ns"])
        return frame["scheduled_ns"].to_numpy(np.int64), frame["done_ns"].to_numpy(np.int64)
    table = folder.read_table("samples", Sample)
    return table.column("scheduled_ns").to_numpy(), table.column("done_ns").to_numpy()


# --- the service -----------------------------------------------------------------------------------------------------


def _by_process(recorded: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in recorded:
        name = row["service"] or "service"
        found.setdefault(name if row["pid"] is None else f"{name} (process {row['pid']})", []).append(row)
    return dict(sorted(found.items()))


def _service_slice(row: dict[str, Any]) -> _Slice:
    owner, end_ns = row["trace_id"], max(row["end_ns"], row["start_ns"])
    told = {key: row[key] for key in ("trace_id", "span_id", "parent_id", "kind", "stage") if row[key] is not None}
    details = _to_json(told)[:-1] + _attributes(row["attributes"]) + "}"
    return _Slice(owner, row["start_ns"], end_ns, row["name"], row["stage"] or "span", details)


@lru_cache(8192)
def _attributes(text: str | None) -> str:
    """Attributes as another member of an object."""
    if text is None:
        return ""
    try:
        return f',"attributes":{_to_json(json.loads(text))}'
    except (ValueError, RecursionError):  # the folder was written by something else, NaN is among them
        return f',"attributes":{_to_json(text)}'


def links_of(row: dict[str, Any]) -> list[tuple[str, str]]:
    """(trace, span) of what a span is linked to."""
    if row["attributes"] is None or '"otel.links"' not in row["attributes"]:
        return []
    try:
        return [(str(trace), str(span)) for trace, span in json.loads(row["attributes"])["otel.links"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return []


# --- arrows ----------------------------------------------------------------------------------------------------------


def _arrows(
    rows: Sequence[dict[str, Any]],
    recorded: Sequence[dict[str, Any]],
    sent: dict[str, Place],
    places: dict[tuple[str, str], Place],
    zero_ns: int,
) -> Iterator[str]:
    """From a request to the service's answer to it, and from the members of a batch to the batch."""
    number = 0
    client_of = {(row["trace_id"], row["span_id"]): sent[str(row["request_id"])] for row in rows}
    for row in recorded:
        to = places[row["trace_id"], row["span_id"]]
        found = [client_of.get((row["trace_id"], row["parent_id"] or ""))]
        found += [places.get(link) for link in links_of(row)]
        for kind, origin in enumerate(found):
            if origin is not None and origin[2] <= to[2]:
                number += 1
                name = "batch" if kind else "request"
                yield from _arrow(name, number, origin, to, zero_ns)


def _arrow(name: str, number: int, origin: Place, to: Place, zero_ns: int) -> Iterator[str]:
    """From where the origin was when the other one began, or ended before: an arrow begins inside of a slice."""
    begin_ns = max(origin[2], min(to[2], origin[3] - 1))
    for phase, (pid, tid), at_ns in (("s", origin[:2], begin_ns), ("f", to[:2], to[2])):
        bound = ',"bp":"e"' if phase == "f" else ""
        yield (
            f'{{"ph":"{phase}","pid":{pid},"tid":{tid},"ts":{_us(at_ns - zero_ns)},"id":{number},"name":"{name}"'
            f',"cat":"{name}"{bound}}},\n'
        )
