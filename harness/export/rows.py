"""The rows of some requests, or of all, a part at a time: a run may be too large to be held."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from harness.chunks import schema_of
from harness.model import STAGES, Sample, Span
from harness.run_folder import RunFolder
from harness.tables import read_columns, typed_rows_of
from harness.waterfall.stored_spans import SLACK_NS, Window, found_spans

Shift: TypeAlias = Callable[[pa.Table], pa.Table]
"""Spans on the service's clock -> the same spans on another one."""

_PART = 1 << 14
_FEW = 64
_MANY = 50_000
"""More requests are looked for in every row: their spans may be too many to be held."""


def samples(folder: RunFolder, request_ids: Sequence[int] | None) -> Iterator[pa.Table]:
    """The samples of these requests; of all when None. Raises RunFolderError."""
    if request_ids is None:
        yield from folder.parts("samples", Sample, _PART)
    elif folder.samples.is_file():
        yield typed_rows_of(folder, "samples", request_ids)
    else:
        wanted = pa.array(np.asarray(request_ids, np.int64))
        for part in folder.parts("samples", Sample, _PART):
            yield part.filter(pc.is_in(part.column("request_id"), value_set=wanted))


def requests(folder: RunFolder, request_ids: Sequence[int]) -> pa.Table:
    """Whole rows of model.Sample of these requests. Raises RunFolderError."""
    return pa.concat_tables([schema_of(Sample).empty_table(), *samples(folder, request_ids)])


def spans(folder: RunFolder, asked: pa.Table | None) -> Iterator[pa.Table]:
    """The spans of these requests, rows with trace_id, scheduled_ns and done_ns; of all when None.

    Raises RunFolderError.
    """
    if asked is not None and asked.num_rows <= _MANY:
        yield found_spans(folder, "trace_id", asked.column("trace_id").to_pylist(), _windows(asked))
        return
    for part in folder.parts("spans", Span, _PART):
        if asked is None:
            yield part
        else:
            yield part.filter(pc.is_in(part.column("trace_id"), value_set=asked.column("trace_id").combine_chunks()))


def _windows(asked: pa.Table) -> list[Window]:
    """When each request was going on; of many when all of them were."""
    begin, end = (asked.column(name).to_numpy() for name in ("scheduled_ns", "done_ns"))
    if len(begin) > _FEW:
        begin, end = begin.min(keepdims=True), end.max(keepdims=True)
    return [(since - SLACK_NS, until + SLACK_NS) for since, until in zip(begin.tolist(), end.tolist(), strict=True)]


@dataclass(slots=True)
class Batches:
    """The batches that spans were in: theirs stand in traces of their own."""

    _ids: set[str] = field(default_factory=set)
    _windows: list[Window] = field(default_factory=list)

    def note(self, members: pa.Table) -> None:
        """Keep the batches of these spans in mind."""
        told = pc.match_substring(members.column("attributes"), '"harness.batch_id"')
        own = members.filter(pc.fill_null(told, False))
        if not own.num_rows:
            return
        found = pc.extract_regex(own.column("attributes"), r'"harness\.batch_id": ?"(?P<batch>[0-9a-f]{16})"')
        self._ids.update(row["batch"] for row in found.to_pylist() if row)
        ends = pc.min(own.column("start_ns")).as_py(), pc.max(own.column("end_ns")).as_py()
        self._windows.append((ends[0] - SLACK_NS, ends[1] + SLACK_NS))

    def spans(self, folder: RunFolder) -> pa.Table:
        """Raises RunFolderError."""
        found = found_spans(folder, "span_id", sorted(self._ids), self._windows)
        return found.filter(pc.match_substring(pc.fill_null(found.column("attributes"), ""), '"otel.links"'))


def spans_and_batches(folder: RunFolder, asked: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The spans of these requests, and those of the batches that they were in. Raises RunFolderError."""
    batches = Batches()
    own = pa.concat_tables([schema_of(Span).empty_table(), *spans(folder, asked)])
    batches.note(own)
    return own, batches.spans(folder)


class Ledger:
    """The known stages of these requests, of all when None, looked up by their id. Without a ledger: none."""

    def __init__(self, folder: RunFolder, request_ids: Sequence[int] | None = None) -> None:
        rows = None if request_ids is None else typed_rows_of(folder, "ledger", request_ids)

        def column(name: str) -> pd.Series[float]:  # one after the other: together they are hundreds of megabytes
            return read_columns(folder, "ledger", [name])[name] if rows is None else rows.column(name).to_pandas()

        known = column("request_id").to_numpy(np.int64)
        self._stages = np.empty((len(known), len(STAGES)), np.float64)
        for place, stage in enumerate(STAGES):
            self._stages[:, place] = column(f"{stage}_s").to_numpy(np.float64, na_value=np.nan)
        self._order = np.argsort(known, kind="stable")
        self._ids = known[self._order]

    def stages(self, request_ids: Sequence[int]) -> list[list[tuple[str, float]]]:
        """Of each request its known stages with their seconds, in the order they are shown."""
        wanted = np.asarray(request_ids, np.int64)
        if not len(self._ids):
            return [[] for _ in wanted]
        at = np.searchsorted(self._ids, wanted).clip(max=len(self._ids) - 1)
        values = np.where((self._ids[at] == wanted)[:, None], self._stages[self._order[at]], np.nan)
        return [
            [(stage, value) for stage, value in zip(STAGES, row, strict=True) if math.isfinite(value)]
            for row in values.tolist()
        ]
