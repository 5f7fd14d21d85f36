"""Samples and spans of a run that is on -> ledger rows, as soon as a request's server half is there or late."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness import ledger as ledgers
from harness.chunks import schema_of
from harness.instrument.host import host_key
from harness.join import join
from harness.model import LedgerRow, Sample, Span, SpanSpec, columns
from harness.spans.mapping import recognise, stages_of

COLUMNS = (*columns(LedgerRow), "span_id", "scheduled_ns", "done_ns", "status", "what")
WITH_HEADER_S, WITHOUT_S = 3.0, 8.0
"""How long spans are waited for: the header of the answer says the same; plain OpenTelemetry exports every 5 s."""
SILENT_S = 20.0
"""A service that sent no span in so long sends none."""
SIBLINGS_S = 0.9  # after the root came: other processes of the service may export a little later
_KEPT_S = 120.0  # spans may come long before the answer of a slow request
_MOST_SPANS = 300_000
_NO_SPANS_YET = ("server-timing", "none", "jaeger", "tempo", "file")
"""Sources whose spans are not here while the run is on."""
_RANDOM = slice(8, 16)  # digits of a trace id: not those that name the run, nor those that decide what is recorded


class Settling:
    """Holds samples until they can be split. One owner; `now_s` is a monotonic clock.

    Only requests below `ratio` are split, chosen by their trace ids, so that their spans are known when they come; the
    rows of others have split "none".
    """

    def __init__(self, spec: SpanSpec, loopback: bool) -> None:
        self.ratio = 1.0
        self._spec = spec
        self._loopback = loopback
        self._samples, self._came_s = schema_of(Sample).empty_table(), np.empty(0)
        self._spans, self._spans_came_s = schema_of(Span).empty_table(), np.empty(0)
        self._any_span = False
        self._began_s: float | None = None

    @property
    def pending(self) -> NDArray[np.int64]:
        """The ids of the requests that wait."""
        ids: NDArray[np.int64] = self._samples.column("request_id").to_numpy()
        return ids

    def forget(self) -> None:
        """Drop everything that waits."""
        self._samples, self._came_s = self._samples.slice(0, 0), np.empty(0)
        self._spans, self._spans_came_s = self._spans.slice(0, 0), np.empty(0)

    def take_spans(self, spans: pa.Table, now_s: float) -> None:
        """Spans that have come; those of requests that are not chosen are dropped."""
        if not spans.num_rows:
            return
        self._any_span = True
        kept = spans.filter(self._chosen(spans))
        self._spans = pa.concat_tables([self._spans, kept])
        self._spans_came_s = np.append(self._spans_came_s, np.full(kept.num_rows, now_s))
        self._drop(np.arange(self._spans.num_rows) >= self._spans.num_rows - _MOST_SPANS)

    def take_samples(self, samples: pa.Table, now_s: float) -> list[pd.DataFrame]:
        """Requests that have ended, none of them censored. The rows of those that nobody has to wait for."""
        if self._began_s is None and samples.num_rows:
            self._began_s = now_s
        chosen = self._chosen(samples)
        held = samples.filter(chosen)
        self._samples = pa.concat_tables([self._samples, held])
        self._came_s = np.append(self._came_s, np.full(held.num_rows, now_s))
        if held.num_rows == samples.num_rows:
            return []
        return [self._rows(samples.filter(pc.invert(chosen)), self._spans.slice(0, 0), "none")]

    def settled(self, now_s: float, everything: bool = False) -> list[pd.DataFrame]:
        """The rows of the requests whose server half has come, or has not come in time."""
        if not self._samples.num_rows:
            self._drop(now_s - self._spans_came_s < _KEPT_S)
            return []
        due = np.ones(self._samples.num_rows, np.bool_) if everything else self._due(now_s)
        if not due.any():
            return []
        samples = self._samples.filter(pa.array(due))
        self._samples, self._came_s = self._samples.filter(pa.array(~due)), self._came_s[~due]
        own = pc.is_in(self._spans.column("trace_id"), value_set=samples.column("trace_id").combine_chunks())
        spans = self._spans.filter(own)
        self._drop(~_flags(own) & (now_s - self._spans_came_s < _KEPT_S))
        return [self._rows(samples, spans, self._spec.source)]

    def _due(self, now_s: float) -> NDArray[np.bool_]:
        waited = now_s - self._came_s
        patience = np.where(_flags(pc.is_valid(self._samples.column("server_timing"))), WITH_HEADER_S, WITHOUT_S)
        silent = not self._any_span and self._began_s is not None and now_s - self._began_s > SILENT_S
        if self._spec.source in _NO_SPANS_YET or silent:
            patience[:] = 0.0
        roots = pc.and_(
            pc.equal(self._spans.column("kind"), "server"), pa.array(now_s - self._spans_came_s >= SIBLINGS_S)
        )
        there = self._spans.column("trace_id").filter(roots).combine_chunks()
        whole = _flags(pc.is_in(self._samples.column("trace_id"), value_set=there))
        return whole | (waited >= patience)

    def _drop(self, keep: NDArray[np.bool_]) -> None:
        if not keep.all():
            self._spans, self._spans_came_s = self._spans.filter(pa.array(keep)), self._spans_came_s[keep]

    def _chosen(self, table: pa.Table) -> pa.ChunkedArray:
        if self.ratio >= 1:
            return pc.is_valid(table.column("trace_id"))
        digits = pc.utf8_slice_codeunits(table.column("trace_id"), _RANDOM.start, _RANDOM.stop)
        return pc.less(digits, f"{int(self.ratio * (1 << 32)):08x}")

    # --- rows ----------------------------------------------------------------------------------------------

    def _rows(self, samples: pa.Table, spans: pa.Table, source: str) -> pd.DataFrame:
        """As a report makes them; `queue_est_s` alone needs the whole run and stays in `upload_s`."""
        joined = join(samples, [self._mapped(spans)] if spans.num_rows else [], source)
        rows = ledgers.build(samples, joined, host_key(), self._loopback).rows
        return rows.assign(
            span_id=samples.column("span_id").to_pandas(),
            scheduled_ns=samples.column("scheduled_ns").to_numpy(),
            done_ns=samples.column("done_ns").to_numpy(),
            status=samples.column("status").to_pandas().astype("Int64"),
            what=failures(samples),
        )

    def _mapped(self, spans: pa.Table) -> pa.Table:
        """With their stages; a preset nobody asked for is recognised as in harness.mapped, from the spans so far."""
        mapped = stages_of(spans, self._spec)
        if self._spec.preset is None and not self._spec.stages:
            if pc.any(pc.is_valid(mapped.column("stage"))).as_py():
                return mapped
            preset = recognise(spans)
            if preset is not None:
                self._spec = replace(self._spec, preset=preset)
                return stages_of(spans, self._spec)
        return mapped


def failures(samples: pa.Table) -> NDArray[np.object_]:
    """What went wrong with each request, in the words of the load process; None when it is ok."""
    what = np.full(samples.num_rows, None, np.object_)
    errors, checks = samples.column("error"), samples.column("failed_checks")
    rows = np.flatnonzero(_flags(pc.or_(pc.is_valid(errors), pc.is_valid(checks))))
    bad = samples.select(["error", "failed_checks", "status"]).take(pa.array(rows)).to_pylist() if len(rows) else []
    for row, one in zip(rows, bad, strict=True):
        failed = one["failed_checks"]
        what[row] = one["error"] or (
            f"status {one['status']}" if failed.startswith("status") else f"check failed: {failed}"
        )
    return what


def _flags(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    flags: NDArray[np.bool_] = column.to_numpy().astype(np.bool_)
    return flags
