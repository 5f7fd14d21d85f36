"""The spans of a few requests out of a run of millions: found by when they were, then by their trace ids.

A sealed table is in the order of arrival, in groups of rows whose earliest begin and latest end are written beside
them. Only groups that were going on at the time of a request can hold its spans; the others are asked for its trace
ids only where that found nothing, or less than a service said there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.chunks import schema_of
from harness.errors import RunFolderError
from harness.mapped import with_preset
from harness.model import Span, SpanSpec
from harness.run_folder import RunFolder
from harness.spans.mapping import stages_of

Window = tuple[int, int]
"""Epoch ns on the service's clock, with room for what is not known of it."""

SLACK_NS = 2_000_000_000
"""Room around a request: what a service does before and after it, and clocks that are not quite right."""
_ANNOUNCED = r'"harness\.spans": ?(?P<n>[0-9]{1,9})[,}]'
_TIMES = ("start_ns", "end_ns")


def spans_of(folder: RunFolder, trace_ids: Sequence[str], windows_ns: Sequence[Window], spec: SpanSpec) -> pa.Table:
    """Rows of model.Span of these traces, stages mapped. `windows_ns`: when each trace was going on, about.

    Raises RunFolderError.
    """
    return _mapped(folder, found_spans(folder, "trace_id", trace_ids, windows_ns), spec)


def found_spans(folder: RunFolder, column: str, values: Sequence[str], windows_ns: Sequence[Window]) -> pa.Table:
    """Rows of model.Span as stored: those with one of these trace ids, or span ids. `windows_ns`: as of `spans_of`.

    Raises RunFolderError.
    """
    if not len(values):
        return schema_of(Span).empty_table()
    path = folder.path / "spans.parquet"
    wanted = pa.array(list(dict.fromkeys(values)), pa.string())
    try:
        if path.is_file():
            with pq.ParquetFile(path, read_dictionary=[column]) as file:
                return _Search(file, column, wanted).all(list(windows_ns))
        parts = folder.parts("spans", Span)
        matching = [part.filter(pc.is_in(part.column(column), value_set=wanted)) for part in parts]
        return pa.concat_tables([schema_of(Span).empty_table(), *matching])
    except (OSError, ValueError, KeyError, MemoryError, pa.ArrowException) as error:
        message = f"the table 'spans' of {folder.path} cannot be read: {str(error)[:200]}"
        raise RunFolderError(message, "it was damaged or written by another version; run it again") from error


def _mapped(folder: RunFolder, found: pa.Table, spec: SpanSpec) -> pa.Table:
    """With their stages. Which preset the whole run looks like is asked only where these spans do not say it."""
    mapped = stages_of(found, spec)
    if not mapped.num_rows or pc.any(pc.is_valid(mapped.column("stage"))).as_py():
        return mapped
    taken = with_preset(folder, spec)
    return mapped if taken == spec else stages_of(found, taken)


class _Search:
    """One search for the spans whose `column` is `wanted`: every group of rows is looked into once at most."""

    def __init__(self, file: pq.ParquetFile, column: str, wanted: pa.Array) -> None:
        self._file = file
        self._column = column
        self._wanted = wanted
        self._left = set(range(file.num_row_groups))
        self._found: list[pa.Table] = [schema_of(Span).empty_table()]

    def all(self, windows: list[Window]) -> pa.Table:
        times = _times_of(self._file)
        while windows:
            fresh = self._look({group for group in self._left if _goes_on(times[group], windows)})
            windows = _reach(fresh)
        if self._left and not self._complete():
            self._look(set(self._left))
        return pa.concat_tables(self._found)

    def _look(self, groups: Iterable[int]) -> pa.Table:
        self._left.difference_update(groups)
        found = pa.concat_tables([schema_of(Span).empty_table(), *map(self._of_group, sorted(groups))])
        self._found.append(found)
        return found

    def _of_group(self, group: int) -> pa.Table:
        schema = schema_of(Span)
        ids = self._file.read_row_group(group, columns=[self._column]).column(self._column)
        here = pc.is_in(ids, value_set=self._wanted)
        if not pc.any(here, min_count=0).as_py():
            return schema.empty_table()
        rows = self._file.read_row_group(group, columns=schema.names).filter(here)
        table = rows.select(schema.names).cast(schema)
        table.validate(full=True)
        return table

    def _complete(self) -> bool:
        """Whether each value has something, and its traces as many spans as their services said there are."""
        found = pa.concat_tables(self._found)
        if self._column != "trace_id":
            return bool(pc.count_distinct(found.column(self._column)).as_py() == len(self._wanted))
        digits = pc.struct_field(pc.extract_regex(found.column("attributes"), _ANNOUNCED), "n")
        said = pc.add(pc.cast(digits, pa.int64()), 1)  # below the span that says it
        counted = found.select(["trace_id"]).append_column("said", said).group_by("trace_id")
        each = counted.aggregate([("said", "sum"), ("trace_id", "count")])
        whole = pc.all(pc.less_equal(pc.fill_null(each.column("said_sum"), 0), each.column("trace_id_count")))
        return each.num_rows == len(self._wanted) and bool(whole.as_py())


def _times_of(file: pq.ParquetFile) -> list[Window | None]:
    """(earliest begin, latest end) of each group of rows; None where that was not written."""
    places = [file.schema_arrow.get_field_index(name) for name in _TIMES]
    if min(places) < 0:
        raise KeyError("start_ns and end_ns")
    found: list[Window | None] = []
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        begin, end = (group.column(place).statistics for place in places)
        known = begin is not None and end is not None and begin.has_min_max and end.has_min_max
        found.append((begin.min, end.max) if known else None)
    return found


def _goes_on(times: Window | None, windows: Iterable[Window]) -> bool:
    return times is None or any(times[0] <= until and since <= times[1] for since, until in windows)


def _reach(found: pa.Table) -> list[Window]:
    """When the traces of what was found go on: work behind an answer may have more in other groups."""
    ends = found.group_by("trace_id").aggregate([("start_ns", "min"), ("end_ns", "max")])
    pairs = zip(ends.column("start_ns_min").to_pylist(), ends.column("end_ns_max").to_pylist(), strict=True)
    return [(begin - SLACK_NS, end + SLACK_NS) for begin, end in pairs]
