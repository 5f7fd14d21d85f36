"""Which traces of a run should have a server half, and which of them are whole by now. In columns: a run may have
millions of spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.spans.tail import Tail

_RANDOM = slice(18, 32)
"""The digits of a trace id that decide whether its traceparent asks to be recorded; see harness.load.trace_ids."""
_RANDOM_BITS = 56
_ANNOUNCED = r'"harness\.spans": ?(?P<spans>[0-9]{1,9})'


@dataclass(frozen=True, slots=True)
class Asked:
    """The traces of answered requests that asked to be recorded, in no order.

    `without_header` are those whose answer carries no Server-Timing to fall back on. `window` is from the first start
    to the last end of all requests, ns since the epoch on the client's clock; None without one.
    """

    traces: pa.Array
    without_header: int
    window: tuple[int, int] | None

    def __len__(self) -> int:
        return len(self.traces)


def asked_traces(sample_chunks: Sequence[Path], sampled: float) -> Asked:
    """Read from the chunk files of samples. `sampled` is the share of requests that ask to be recorded."""
    found: list[pa.Array] = []
    without_header = 0
    starts: list[int] = []
    ends: list[int] = []
    for path in sample_chunks:
        for batch in Tail(path).new():
            starts.append(pc.min(batch.column("start_ns")).as_py())
            ends.append(pc.max(batch.column("done_ns")).as_py())
            wanted = pc.and_(pc.is_valid(batch.column("status")), _recorded(batch.column("trace_id"), sampled))
            found.append(batch.column("trace_id").filter(wanted))
            without_header += pc.sum(pc.and_(wanted, pc.is_null(batch.column("server_timing")))).as_py() or 0
    traces = pc.unique(pa.chunked_array(found, pa.string()))
    return Asked(traces, without_header, (min(starts), max(ends)) if starts else None)


def _recorded(trace_ids: pa.Array, sampled: float) -> pa.Array:
    limit = round(sampled * (1 << _RANDOM_BITS))
    if limit >= 1 << _RANDOM_BITS:
        return pc.is_valid(trace_ids)
    digits = pc.utf8_slice_codeunits(trace_ids, _RANDOM.start, _RANDOM.stop)
    return pc.less(digits, f"{limit:014x}")  # of hexadecimal digits of one length the order is that of the numbers


class Progress:
    """How much of each asked trace has arrived.

    A trace is whole when it has a server span and as many others as its server spans announce: plain OpenTelemetry
    announces nothing, but exports spans as they end, the server's last. A span that an exporter delivered twice counts
    twice: it may end a wait too early, which costs no more than the second that is waited in any case.
    """

    def __init__(self, traces: pa.Array) -> None:
        self._traces = traces
        self._servers = np.zeros(len(traces), dtype=np.bool_)
        self._others = np.zeros(len(traces), dtype=np.int64)
        self._announced = np.zeros(len(traces), dtype=np.int64)
        self._said = np.zeros(len(traces), dtype=np.bool_)
        self.services: set[str | None] = set()
        self.spans = 0  # of asked traces

    def take(self, batches: list[pa.RecordBatch]) -> None:
        """Count the spans of `batches` in; those of other traces are passed over."""
        if not batches or not len(self._traces):
            return
        spans = pa.Table.from_batches(batches).select(["trace_id", "kind", "service", "attributes"])
        trace_of = pc.fill_null(pc.index_in(spans.column("trace_id"), value_set=self._traces), -1).to_numpy()
        ours = trace_of >= 0
        self.spans += int(np.count_nonzero(ours))
        self.services.update(pc.unique(spans.column("service").filter(pa.array(ours))).to_pylist())
        server = pc.equal(spans.column("kind"), "server").to_numpy() & ours
        self._others += np.bincount(trace_of[ours & ~server], minlength=len(self._traces))
        self._servers[trace_of[server]] = True
        said = pc.extract_regex(spans.column("attributes").filter(pa.array(server)), _ANNOUNCED)
        counts = pc.cast(pc.struct_field(said, "spans"), pa.int64())
        self._said[trace_of[server][pc.is_valid(counts).to_numpy()]] = True
        np.add.at(self._announced, trace_of[server], pc.fill_null(counts, 0).to_numpy())

    @property
    def whole(self) -> int:
        """How many traces are whole."""
        return int(np.count_nonzero(self._servers & (self._others >= self._announced)))

    @property
    def sure(self) -> bool:
        """Whether nothing can be missing of whole traces: it was announced, or one service records all there is."""
        return len(self.services) <= 1 or bool(self._said.all())

    @property
    def begun(self) -> int:
        """How many traces have any span."""
        return int(np.count_nonzero(self._servers | (self._others > 0)))
