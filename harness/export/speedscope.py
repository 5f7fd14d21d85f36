"""Requests and flame graphs as a file for speedscope: each a profile of its own, in the file's `profiles`.

A request is an evented profile: what the client did, and inside of it what the service did. Spans that overlap without
nesting stand in a second profile of the request, because what is open in one has to nest. A flame graph is a sampled
profile: its paths, and how long each was the deepest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness import __version__
from harness.export.chosen import as_ids
from harness.export.lanes import lanes
from harness.export.rows import Shift, requests, spans
from harness.run_folder import RunFolder
from harness.views import Flame, FlameNode

SCHEMA = "https://www.speedscope.app/file-format-schema.json"
"""How the format is called in a file."""


@dataclass(frozen=True, slots=True)
class _Interval:
    label: str
    start_ns: int
    end_ns: int


@dataclass(slots=True)
class _Frames:
    """The frames that the profiles share, each once."""

    numbers: dict[tuple[str, str | None], int] = field(default_factory=dict)

    def number(self, label: str, where: str | None = None) -> int:
        return self.numbers.setdefault((label, where), len(self.numbers))

    def listed(self) -> list[dict[str, Any]]:
        found = []
        for label, where in self.numbers:
            file, _, line = (where or "").rpartition(":")
            frame: dict[str, Any] = {"name": label}
            if where is not None:
                frame |= {"file": file, "line": int(line)} if line.isdecimal() and line.isascii() else {"file": where}
            found.append(frame)
        return found


def render(
    folder: RunFolder, request_ids: Sequence[int], flames: Sequence[Flame] = (), shift: Shift | None = None
) -> str:
    """These requests and flame graphs as one JSON object. With `shift` spans are moved by it. Raises RunFolderError."""
    frames = _Frames()
    profiles = [profile for flame in flames for profile in _sampled(flame, frames)]
    for row, below in _requests(folder, request_ids, shift):
        profiles += _evented(row, below, frames)
    made = {
        "$schema": SCHEMA,
        "name": folder.run_id,
        "exporter": f"harness {__version__}",
        "shared": {"frames": frames.listed()},
        "profiles": profiles,
    }
    return json.dumps(made, separators=(",", ":"), allow_nan=False) + "\n"


# --- requests --------------------------------------------------------------------------------------------------------


def _requests(
    folder: RunFolder, request_ids: Sequence[int], shift: Shift | None
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each request, in the order asked for, with the spans of its trace."""
    ids = as_ids(request_ids).tolist()
    asked = requests(folder, ids)
    rows = {row["request_id"]: row for row in asked.to_pylist()}
    below: dict[str, list[dict[str, Any]]] = {}
    for part in spans(folder, asked):
        for span in (shift(part) if shift else part).to_pylist():
            below.setdefault(span["trace_id"], []).append(span)
    for number in ids:
        if number in rows:
            yield rows[number], below.get(rows[number]["trace_id"], [])


def _evented(row: dict[str, Any], below: Sequence[dict[str, Any]], frames: _Frames) -> Iterator[dict[str, Any]]:
    """A profile for each lane of the request: one, unless spans overlap."""
    whole = _Interval(row["name"], row["scheduled_ns"], max(row["done_ns"], row["scheduled_ns"]))
    inside = [whole, *_client_steps(row, whole, below), *_clipped(below, whole)]
    starts, ends = [one.start_ns for one in inside], [one.end_ns for one in inside]
    of_lane: dict[int, list[_Interval]] = {}
    for one, lane in zip(inside, lanes(starts, ends, [0] * len(inside)), strict=True):
        of_lane.setdefault(lane, []).append(one)
    length_s = (whole.end_ns - whole.start_ns) / 1e9
    for lane, members in sorted(of_lane.items()):
        beside = f", beside that ({lane + 1})" if lane else ""
        yield {
            "type": "evented",
            "name": f"request {row['request_id']}: {row['name']}, {length_s * 1000:,.1f} ms{beside}",
            "unit": "milliseconds",
            "startValue": 0,
            "endValue": length_s * 1000,
            "events": list(_events(members, whole.start_ns, frames)),
        }


def _client_steps(row: dict[str, Any], whole: _Interval, below: Sequence[dict[str, Any]]) -> Iterator[_Interval]:
    """What is known of the time outside the service: it is the ledger's, as far as the spans reach."""
    start, send = row["start_ns"], row["send_ns"]
    if send is None:
        yield from _some(_Interval("backlog", whole.start_ns, min(start, whole.end_ns)))
        return
    yield from _some(_Interval("backlog", whole.start_ns, min(start, send)))
    yield from _some(_Interval("connect", min(start, send), send))
    inside = _clipped(below, whole)
    if not inside:
        yield from _some(_Interval("unsplit", send, whole.end_ns))
        return
    yield from _some(_Interval("upload", send, max(send, min(one.start_ns for one in inside))))
    yield from _some(_Interval("download", max(one.end_ns for one in inside), whole.end_ns))


def _some(one: _Interval) -> Iterator[_Interval]:
    if one.end_ns > one.start_ns:
        yield one


def _clipped(below: Sequence[dict[str, Any]], whole: _Interval) -> list[_Interval]:
    """The spans as far as they lie inside the request; parents before their children."""
    found = []
    for span in below:
        start, end = max(span["start_ns"], whole.start_ns), min(span["end_ns"], whole.end_ns)
        if end > start:
            found.append(_Interval(span["name"], start, end))
    return sorted(found, key=lambda one: (one.start_ns, -one.end_ns))


def _events(members: Sequence[_Interval], zero_ns: int, frames: _Frames) -> Iterator[dict[str, Any]]:
    """Intervals that nest, as openings and closings in the order of time."""
    still_open: list[_Interval] = []
    for one in sorted(members, key=lambda one: (one.start_ns, -one.end_ns)):
        while still_open and still_open[-1].end_ns <= one.start_ns:
            yield _event("C", still_open.pop(), zero_ns, frames)
        still_open.append(one)
        yield _event("O", one, zero_ns, frames)
    while still_open:
        yield _event("C", still_open.pop(), zero_ns, frames)


def _event(kind: str, one: _Interval, zero_ns: int, frames: _Frames) -> dict[str, Any]:
    at_ns = one.start_ns if kind == "O" else one.end_ns
    return {"type": kind, "at": (at_ns - zero_ns) / 1e6, "frame": frames.number(one.label)}


# --- flame graphs ----------------------------------------------------------------------------------------------------


def _sampled(flame: Flame, frames: _Frames) -> Iterator[dict[str, Any]]:
    """The graph as one weighed stack a path; nothing for a graph without any time in it."""
    stacks: list[list[int]] = []
    weights: list[float] = []
    _walk(flame.root, (), frames, stacks, weights)
    total = sum(weights)
    if total > 0:
        yield {
            "type": "sampled",
            "name": f"{flame.title} (n = {flame.n:,})",
            "unit": "milliseconds",
            "startValue": 0,
            "endValue": total,
            "samples": stacks,
            "weights": weights,
        }


def _walk(
    node: FlameNode, above: tuple[int, ...], frames: _Frames, stacks: list[list[int]], weights: list[float]
) -> None:
    here = (*above, frames.number(node.label, node.where))
    own_s = node.weight_s - sum(child.weight_s for child in node.children)
    if own_s > 1e-9 * max(node.weight_s, 1e-9):
        stacks.append(list(here))
        weights.append(own_s * 1000)
    for child in node.children:
        _walk(child, here, frames, stacks, weights)
