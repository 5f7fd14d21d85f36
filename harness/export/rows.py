"""The rows of some requests, or of all, a part at a time: a run may be too large to be held."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.errors import RunFolderError
from harness.model import STAGES, Sample, Span
from harness.run_folder import RunFolder
from harness.tables import read_columns, rows_of

Shift: TypeAlias = Callable[[pa.Table], pa.Table]
"""Spans on the service's clock -> the same spans on another one."""

_PART = 1 << 16


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


def spans(folder: RunFolder, traces: pa.Array | None) -> Iterator[pa.Table]:
    """The spans of these traces; of all when None. Raises RunFolderError."""
    if traces is None:
        yield from folder.parts("spans", Span, _PART)
    else:
        yield from _found(folder, "trace_id", traces)


def batches(folder: RunFolder, members: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The spans of the batches that `members` were in: they stand in traces of their own."""
    batch_ids: set[str] = set()
    for part in members:
        column = pc.drop_null(part.column("attributes"))
        hits = column.filter(pc.match_substring(column, '"harness.batch_id"'))
        found = pc.extract_regex(hits, r'"harness\.batch_id": ?"(?P<batch>[0-9a-f]{16})"')
        batch_ids.update(row["batch"] for row in found.to_pylist() if row)
    if batch_ids:
        for part in _found(folder, "span_id", pa.array(sorted(batch_ids), pa.string())):
            attributes = pc.fill_null(part.column("attributes"), "")
            yield part.filter(pc.match_substring(attributes, '"otel.links"'))


def _found(folder: RunFolder, column: str, wanted: pa.Array) -> Iterator[pa.Table]:
    """The spans with one of these values; where there are none, only that column is read."""
    if not folder.spans.is_file():
        for part in folder.parts("spans", Span, _PART):
            yield part.filter(pc.is_in(part.column(column), value_set=wanted))
        return
    try:
        with pq.ParquetFile(folder.spans) as file:
            for group in range(file.num_row_groups):
                values = file.read_row_group(group, columns=[column]).column(column)
                here = pc.is_in(values, value_set=wanted.cast(values.type))
                if pc.any(here).as_py():
                    part = file.read_row_group(group).filter(here)
                    part.validate(full=True)
                    yield part
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        message = f"the table 'spans' of {folder.path} cannot be read: {error}"
        raise RunFolderError(message, "it was damaged or written by another version; run the scenario again") from error


class Ledger:
    """The known stages of each request, looked up by its id. Without a ledger: none."""

    def __init__(self, folder: RunFolder) -> None:
        names = [f"{stage}_s" for stage in STAGES]
        frame = read_columns(folder, "ledger", ["request_id", *names])
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
