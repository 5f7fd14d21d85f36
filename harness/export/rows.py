"""The rows of some requests, or of all, a part at a time: a run may be too large to be held."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.chunks import schema_of
from harness.errors import RunFolderError
from harness.model import STAGES, Sample, Span
from harness.run_folder import RunFolder
from harness.tables import read_columns, rows_of

Shift: TypeAlias = Callable[[pa.Table], pa.Table]
"""Spans on the service's clock -> the same spans on another one."""

Window: TypeAlias = tuple[int, int]
"""Epoch ns, from and until."""

_PART = 1 << 16
_SLACK_NS = 2_000_000_000
"""Room around a window: what a service does before and after an answer, and clocks that are not quite right."""


def samples(folder: RunFolder, request_ids: Sequence[int] | None) -> Iterator[pa.Table]:
    """The samples of these requests; of all when None. Raises RunFolderError."""
    if request_ids is None:
        yield from folder.parts("samples", Sample, _PART)
    elif folder.samples.is_file():
        yield rows_of(folder, "samples", request_ids)
    else:
        wanted = pa.array(np.asarray(request_ids, np.int64))
        for part in folder.parts("samples", Sample, _PART):
            yield part.filter(pc.is_in(part.column("request_id"), value_set=wanted))


def spans(folder: RunFolder, traces: pa.Array | None, window_ns: Window | None = None) -> Iterator[pa.Table]:
    """The spans of these traces; of all when None. `window_ns`: when they were going on, to find them sooner.

    Raises RunFolderError.
    """
    if traces is None:
        yield from folder.parts("spans", Span, _PART)
    else:
        yield from _found(folder, "trace_id", traces, window_ns)


def batches(folder: RunFolder, members: Sequence[pa.Table]) -> Iterator[pa.Table]:
    """The spans of the batches that `members` were in: they stand in traces of their own."""
    batch_ids: set[str] = set()
    begin, end = [], []
    for part in members:
        told = part.filter(pc.fill_null(pc.match_substring(part.column("attributes"), '"harness.batch_id"'), False))
        found = pc.extract_regex(told.column("attributes"), r'"harness\.batch_id": ?"(?P<batch>[0-9a-f]{16})"')
        batch_ids.update(row["batch"] for row in found.to_pylist() if row)
        begin += told.column("start_ns").to_pylist()
        end += told.column("end_ns").to_pylist()
    if batch_ids:
        for part in _found(folder, "span_id", pa.array(sorted(batch_ids), pa.string()), (min(begin), max(end))):
            attributes = pc.fill_null(part.column("attributes"), "")
            yield part.filter(pc.match_substring(attributes, '"otel.links"'))


def window_of(rows: Iterable[Mapping[str, Any]]) -> Window | None:
    """When samples were going on."""
    pairs = [(row["scheduled_ns"], row["done_ns"]) for row in rows]
    return (min(begin for begin, _ in pairs), max(end for _, end in pairs)) if pairs else None


def _found(folder: RunFolder, column: str, wanted: pa.Array, window_ns: Window | None) -> Iterator[pa.Table]:
    """The spans with one of these values. Groups of rows outside the window are looked into only where that left some
    value without any: the service's clock may be another one, or nothing came.
    """
    if not folder.spans.is_file():
        for part in folder.parts("spans", Span, _PART):
            yield part.filter(pc.is_in(part.column(column), value_set=wanted))
        return
    try:
        with pq.ParquetFile(folder.spans) as file:
            near = [group for group in range(file.num_row_groups) if _goes_on(file, group, window_ns)]
            parts = [*_look(file, near, column, wanted)]
            yield from parts
            came = {value for part in parts for value in part.column(column).unique().to_pylist()}
            if len(near) < file.num_row_groups and len(came) < len(wanted):
                yield from _look(file, sorted(set(range(file.num_row_groups)) - set(near)), column, wanted)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        message = f"the table 'spans' of {folder.path} cannot be read: {error}"
        raise RunFolderError(message, "it was damaged or written by another version; run the scenario again") from error


def _look(file: pq.ParquetFile, groups: Sequence[int], column: str, wanted: pa.Array) -> Iterator[pa.Table]:
    """Of a group in which there is none, only the one column is read."""
    schema = schema_of(Span)
    for group in groups:
        here = pc.is_in(file.read_row_group(group, columns=[column]).column(column), value_set=wanted)
        if pc.any(here).as_py():
            part = file.read_row_group(group, columns=schema.names).filter(here).select(schema.names).cast(schema)
            part.validate(full=True)
            yield part


def _goes_on(file: pq.ParquetFile, group: int, window_ns: Window | None) -> bool:
    """Whether a group of rows may hold spans of that time, as far as its statistics say."""
    if window_ns is None:
        return True
    places = [file.schema_arrow.get_field_index(name) for name in ("start_ns", "end_ns")]
    begin, end = (file.metadata.row_group(group).column(place).statistics for place in places)
    if begin is None or end is None or not begin.has_min_max or not end.has_min_max:
        return True
    return bool(begin.min <= window_ns[1] + _SLACK_NS and window_ns[0] - _SLACK_NS <= end.max)


class Ledger:
    """The known stages of these requests, of all when None, looked up by their id. Without a ledger: none."""

    def __init__(self, folder: RunFolder, request_ids: Sequence[int] | None = None) -> None:
        names = [f"{stage}_s" for stage in STAGES]
        if request_ids is None:
            frame = read_columns(folder, "ledger", ["request_id", *names])
        else:
            frame = rows_of(folder, "ledger", request_ids).select(["request_id", *names]).to_pandas()
        order = np.argsort(frame["request_id"].to_numpy(np.int64), kind="stable")
        self._ids = frame["request_id"].to_numpy(np.int64)[order]
        self._stages = frame[names].to_numpy(np.float64, na_value=np.nan)[order]

    def stages(self, request_ids: Sequence[int]) -> list[list[tuple[str, float]]]:
        """Of each request its known stages with their seconds, in the order they are shown."""
        wanted = np.asarray(request_ids, np.int64)
        if not len(self._ids):
            return [[] for _ in wanted]
        at = np.searchsorted(self._ids, wanted).clip(max=len(self._ids) - 1)
        values = np.where((self._ids[at] == wanted)[:, None], self._stages[at], np.nan)
        return [
            [(stage, value) for stage, value in zip(STAGES, row, strict=True) if not math.isnan(value)]
            for row in values.tolist()
        ]
