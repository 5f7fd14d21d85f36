"""Samples + spans -> the server half of each request, in columns.

The join key is the trace id the client made. The root of a request is the earliest server span whose parent is the
client's own span, or a span that nobody sent us (a proxy in between may own it). A request without a complete set
of spans falls back to the `Server-Timing` header of its own answer, which cannot be lost separately.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.model import CLAIMS, Split
from harness.spans import tree
from harness.spans.columns import UNKNOWN, columns_of, numbers_of
from harness.spans.forest import Forest, forest_of
from harness.spans.header_columns import read_headers
from harness.spans.hops import NOT_MOVED, Moved
from harness.spans.looks import encoded
from harness.spans.tree import NONE, Rows

OTLP = "otlp"
SERVER_TIMING = "server-timing"
CHANNELS = (OTLP, SERVER_TIMING)
SPLITS = tuple(Split)

_MARKS, _SPANS, _DURATIONS, _NONE = (SPLITS.index(s) for s in (Split.MARKS, Split.SPANS, Split.DURATIONS, Split.NONE))


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """The spans that claim time of a request, ns since the epoch on the server's clock, in order of (request, start).

    `parent` is the row of the nearest ancestor that claims time, -1 without one. `*_of` are positions in the tuple of
    that name, -1 for none; `stage` is one in CLAIMS.
    """

    request: NDArray[np.int32]
    stage: NDArray[np.int8]
    start_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    parent: NDArray[np.int64]
    model_of: NDArray[np.int32]
    resource_of: NDArray[np.int32]
    batch_of: NDArray[np.int32]
    batch_size: NDArray[np.int32]
    wait_of: NDArray[np.int32]
    cpu_ns: NDArray[np.int64]  # of its thread, spans inside it included; -1: not measured
    models: tuple[str, ...]
    resources: tuple[str, ...]
    batches: tuple[str, ...]
    waits: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.request)


@dataclass(frozen=True, slots=True, eq=False)
class Halves:
    """What the server said about each sample, on the server's clock. Row i belongs to sample i.

    Instants are -1 where they are not known; `total_s` is the window's length in every case. The work is in `intervals`
    (spans) or, already added up, in `seconds` (from the header: a column for each of CLAIMS). `answered_ns` is the
    instant the first part of the answer was given away.
    """

    channel: NDArray[np.int8]  # position in CHANNELS, -1: no server half
    split: NDArray[np.int8]  # position in SPLITS
    host_of: NDArray[np.int32]  # position in `hosts`, -1: the server did not tell
    hosts: tuple[str, ...]
    process_of: NDArray[np.int32]  # position in `processes`, -1: the spans do not tell
    processes: tuple[str, ...]
    total_s: NDArray[np.float64]
    start_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    answered_ns: NDArray[np.int64]
    seconds: NDArray[np.float64]
    intervals: Intervals

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which samples have a server half."""
        return self.channel >= 0


@dataclass(frozen=True, slots=True)
class Stray:
    """The spans that begin after the root of their trace has ended: when, on the server's clock."""

    request: NDArray[np.int32]
    start_ns: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Joined:
    """The server halves, and what was strange about them. Counts are traces, except where said."""

    halves: Halves
    stray: Stray
    several_roots: int  # server spans side by side in one trace: a proxy sent the request twice
    trailing: int  # spans that begin after the root has ended: background work, or a context leak
    streamed: int  # requests whose header left before the work was done, and that have no spans
    incomplete: int  # a root came, but not all that belongs below it
    rootless: int  # spans came, but none of them can be the root
    orphans: int  # spans whose parent never came, roots left out
    duplicates: int  # spans that came more than once
    foreign: int  # traces that no request of this run started
    spans: int  # spans read
    moved: Moved = NOT_MOVED  # calls to other services whose clock was moved onto their caller's
    leaked: int = 0  # requests without a server half during which another trace went on: see ledger.Ledger
    outlived: int = 0  # requests that the service worked on for after the client had its answer

    @property
    def dropping(self) -> bool:
        """Whether traces have holes: then what is missing was lost on the way, not left out by a sampler."""
        return bool(self.orphans or self.rootless or self.incomplete)


def join(samples: pa.Table, spans: Iterable[pa.Table], source: str = "auto") -> Joined:
    """The server half of every sample.

    `samples` has the columns trace_id, span_id and server_timing; `spans` are tables of model.Span rows with their
    stages mapped; `source` is a value of SpanSpec.source.
    """
    trace_ids = samples.column("trace_id")
    columns = columns_of(spans if source not in (SERVER_TIMING, "none") else (), trace_ids.combine_chunks())
    forest = forest_of(columns, numbers_of(samples.column("span_id")))
    came = np.unique(forest.request)
    rootless = int((forest.root[came] == NONE).sum())
    incomplete = forest.incomplete()
    if forest.orphans or rootless or incomplete.any():
        incomplete |= forest.lacking(encoded(samples.column("name"))[1])
    halves = _from_spans(forest, np.where(incomplete, NONE, forest.root))
    streamed = 0
    if source in ("auto", SERVER_TIMING):
        halves, streamed = _with_headers(halves, samples)
    late = forest.late()
    beside = np.unique(forest.request[late & forest.candidate])
    return Joined(
        halves=halves,
        stray=Stray(forest.request[late], forest.spans.start_ns[late]),
        several_roots=len(beside),
        trailing=len(np.setdiff1d(forest.request[late], beside)),
        streamed=streamed,
        incomplete=int(incomplete.sum()),
        rootless=rootless,
        orphans=forest.orphans,
        duplicates=forest.duplicates,
        foreign=columns.foreign,
        spans=columns.read,
        moved=forest.moved,
    )


# --- from spans --------------------------------------------------------------------------------------------


def _from_spans(forest: Forest, root: Rows) -> Halves:
    spans, n = forest.spans, len(root)
    has = root != NONE
    rows = root[has]
    intervals = _intervals(forest, has)

    def of_root(values: NDArray[Any]) -> NDArray[np.int64]:
        found = np.full(n, UNKNOWN, np.int64)
        found[has] = values[rows]
        return found

    start_ns, answered_ns = of_root(spans.start_ns), of_root(spans.answered_ns)
    given_ns = of_root(np.where(spans.streamed, spans.sent_ns, spans.answered_ns))
    end_ns = _closing(start_ns, of_root(spans.end_ns), given_ns, intervals)
    split = np.full(n, _NONE, np.int8)
    split[has] = np.where(spans.marked[rows], _MARKS, _SPANS)
    return Halves(
        channel=np.where(has, CHANNELS.index(OTLP), NONE).astype(np.int8),
        split=split,
        host_of=of_root(spans.host_of).astype(np.int32),
        hosts=spans.hosts,
        process_of=of_root(spans.process_of).astype(np.int32),
        processes=spans.processes,
        total_s=np.where(has, (end_ns - start_ns) / 1e9, 0.0),
        start_ns=start_ns,
        end_ns=end_ns,
        answered_ns=answered_ns,
        seconds=np.zeros((n, len(CLAIMS))),
        intervals=intervals,
    )


def _closing(
    start_ns: NDArray[np.int64], end_ns: NDArray[np.int64], given_ns: NDArray[np.int64], intervals: Intervals
) -> NDArray[np.int64]:
    """Where the window of work ends: when the answer, or the last part of a streamed one, was given away.

    Pushing it into the socket is sending, not work, and a header leaves before it. If a stage went on after that, the
    window ends with the root.
    """
    works = intervals.stage != CLAIMS.index("download")
    worked = np.full(len(end_ns), UNKNOWN, np.int64)
    np.maximum.at(worked, intervals.request[works], intervals.end_ns[works])
    trimmed = (given_ns >= start_ns) & (given_ns != UNKNOWN) & (given_ns <= end_ns) & (worked <= given_ns)
    return np.where(trimmed, given_ns, end_ns)


def _intervals(forest: Forest, has_half: NDArray[np.bool_]) -> Intervals:
    """The spans with a stage, each with its nearest staged ancestor as parent; the others are transparent."""
    spans = forest.spans
    staged = (spans.stage >= 0) & ~forest.is_root
    above = tree.nearest(forest.parent, staged)
    rows = np.flatnonzero(staged & has_half[forest.request])
    rows = rows[np.lexsort((spans.start_ns[rows], spans.request[rows]))]
    place = np.full(len(staged) + 1, NONE, np.int64)  # the last entry is where NONE points to
    place[rows] = np.arange(len(rows))
    return Intervals(
        request=spans.request[rows],
        stage=spans.stage[rows],
        start_ns=spans.start_ns[rows],
        end_ns=spans.end_ns[rows],
        parent=place[above[rows]],
        model_of=spans.model_of[rows],
        resource_of=spans.resource_of[rows],
        batch_of=spans.batch_of[rows],
        batch_size=spans.batch_size[rows],
        wait_of=spans.wait_of[rows],
        cpu_ns=spans.cpu_ns[rows],
        models=spans.models,
        resources=spans.resources,
        batches=spans.batches,
        waits=spans.waits,
    )


# --- from headers ------------------------------------------------------------------------------------------


def _with_headers(halves: Halves, samples: pa.Table) -> tuple[Halves, int]:
    """The requests without spans get what their answer's header says. Also: how many of them were streamed."""
    text = samples.column("server_timing")
    rows = np.flatnonzero(~halves.known & pc.is_valid(text).to_numpy())
    if not len(rows):
        return halves, 0
    wanted = pa.array(rows)
    read = read_headers(text.take(wanted), samples.column("trace_id").take(wanted))
    streamed = int((read.usable & read.streamed).sum())
    kept = read.usable & ~read.streamed
    rows, start_ns = rows[kept], read.start_ns[kept]
    end_ns = np.where(start_ns == UNKNOWN, UNKNOWN, start_ns + np.rint(read.total_s[kept] * 1e9).astype(np.int64))
    hosts = {host: number for number, host in enumerate(halves.hosts)}
    named = [hosts.setdefault(h, len(hosts)) if h is not None else NONE for h in read.hosts[kept].tolist()]
    changed: dict[str, Any] = {
        "channel": CHANNELS.index(SERVER_TIMING),
        "split": np.where(read.marked[kept], _MARKS, _DURATIONS),
        "host_of": np.array(named, np.int32),
        "total_s": read.total_s[kept],
        "start_ns": start_ns,
        "end_ns": end_ns,
        "answered_ns": end_ns,
        "seconds": read.seconds[kept],
    }
    columns: dict[str, Any] = {name: _put(getattr(halves, name), rows, values) for name, values in changed.items()}
    return replace(halves, hosts=tuple(hosts), **columns), streamed


def _put(column: NDArray[Any], rows: NDArray[np.intp], values: object) -> NDArray[Any]:
    changed = column.copy()
    changed[rows] = values
    return changed
