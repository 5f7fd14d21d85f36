"""Spans of asked traces as a store gives them: each kept once, and which traces are whole."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.chunks import ChunkWriter
from harness.spans.otlp import Decoded, SpanRow

_SERVER = "server"
_ANNOUNCED = "harness.spans"
_ROWS_AT_A_TIME = 5_000
EXPORT_INTERVAL_NS = 6_000_000_000
"""Plain OpenTelemetry exports every five seconds, unless it is told otherwise."""


@dataclass(slots=True)
class _Trace:
    spans: set[str] = field(default_factory=set)
    servers: int = 0
    announced: int | None = None
    fresh: bool = False  # when it was read last, its request had just ended

    @property
    def whole(self) -> bool:
        """Its server span is there, and as many others as its server spans announce.

        Where none announces any (plain OpenTelemetry), another process may still have some to export.
        """
        return self.servers > 0 and len(self.spans) - self.servers >= (self.announced or 0) and not self.fresh


class Gathered:
    """What has come of the asked traces; their spans go to `writer` as they come. One owner."""

    def __init__(self, asked: Sequence[str], writer: ChunkWriter) -> None:
        self._writer = writer
        self._traces = {trace_id: _Trace() for trace_id in asked}
        self._missing = dict.fromkeys(asked)
        self.services: set[str] = set()  # of server spans
        self.spans = 0
        self._unwritten = 0

    def take(self, decoded: Decoded) -> int:
        """Keep the spans of asked traces that are new. Returns how many."""
        before = self.spans
        now_ns = time.time_ns()
        for row in decoded.rows:
            trace = self._traces.get(row[0])
            if trace is None:
                continue
            if row[1] not in trace.spans:
                self._keep(row, trace)
            if row[4] == _SERVER:
                trace.fresh = trace.announced is None and 0 <= now_ns - row[8] < EXPORT_INTERVAL_NS
            if trace.whole:
                self._missing.pop(row[0], None)
            else:
                self._missing[row[0]] = None
        self._unwritten += self.spans - before
        if self._unwritten >= _ROWS_AT_A_TIME:
            self._writer.flush()
            self._unwritten = 0
        return self.spans - before

    def _keep(self, row: SpanRow, trace: _Trace) -> None:
        trace.spans.add(row[1])
        if row[4] == _SERVER:
            trace.servers += 1
            said = _announced(row[10])
            if said is not None:
                trace.announced = (trace.announced or 0) + said
            if row[5]:
                self.services.add(row[5])
        self._writer.append(row)
        self.spans += 1

    def missing(self) -> list[str]:
        """The traces that are not whole."""
        return list(self._missing)

    @property
    def left(self) -> int:
        """How many traces are not whole."""
        return len(self._missing)

    @property
    def whole(self) -> int:
        return len(self._traces) - len(self._missing)

    @property
    def begun(self) -> int:
        """How many traces have any span."""
        return sum(1 for trace in self._traces.values() if trace.spans)


def _announced(attributes: str | None) -> int | None:
    if attributes is None or _ANNOUNCED not in attributes:
        return None
    said = json.loads(attributes).get(_ANNOUNCED)
    return said if isinstance(said, int) and 0 <= said < 1_000_000 else None
