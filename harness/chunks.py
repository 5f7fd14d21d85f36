"""Rows of a model dataclass -> columns in memory -> Arrow chunks on disk, readable after a crash.

A chunk file is an Arrow IPC stream: record batches are appended and flushed, so a process that is killed loses
only what it had not flushed, and a half-written last batch is recognised and left out when reading back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import struct
import sys
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import pyarrow as pa

_ARROW: dict[object, pa.DataType] = {
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bool: pa.bool_(),
}


def schema_of(row_type: type) -> pa.Schema:
    """The Arrow schema of a model dataclass: int64, float64, string, bool; `X | None` is nullable."""
    hints = typing.get_type_hints(row_type)
    return pa.schema(_field(f.name, hints[f.name]) for f in dataclasses.fields(row_type))


def _field(name: str, hint: object) -> pa.Field:
    members = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    (base,) = [m for m in members if m is not type(None)]
    return pa.field(name, _ARROW[base], nullable=type(None) in members)


class ChunkWriter:
    """Appends rows (tuples in field order) to a chunk file. Not thread-safe: one writer, one owner.

    `sink` takes the bytes instead of the file; it is flushed and closed like one.

    A row that the schema cannot hold (a null where none may be, an integer beyond 64 bits, half a surrogate pair) is
    left out and counted in `rows_refused`; it does not take its neighbours with it.
    """

    def __init__(self, path: Path, row_type: type, sink: IO[bytes] | None = None) -> None:
        self.path = path
        self.rows_written = 0
        self.rows_refused = 0
        self._schema = schema_of(row_type)
        self._rows: list[tuple[object, ...]] = []
        self._file = sink or path.open("wb")
        self._stream = pa.ipc.new_stream(self._file, self._schema)

    def append(self, row: tuple[object, ...]) -> None:
        """Keep a row for the next flush; the hot path: nothing is converted here."""
        self._rows.append(row)

    def append_all(self, rows: list[tuple[object, ...]]) -> None:
        """Keep many rows for the next flush."""
        self._rows += rows

    def flush(self) -> int:
        """Write what was appended since the last flush as one record batch. Returns the number of rows written."""
        rows, self._rows = self._rows, []
        batch = self._converted(rows)
        written = int(batch.num_rows)
        if written:
            self._stream.write_batch(batch)
            self.rows_written += written
        self._file.flush()
        return written

    def close(self) -> None:
        """Flush and end the stream. A second call does nothing; the file is closed even when the disk is full."""
        if self._file.closed:
            return
        try:
            self.flush()
            self._stream.close()
        finally:
            self._file.close()

    def _converted(self, rows: list[tuple[object, ...]]) -> pa.RecordBatch:
        try:
            return _batch(rows, self._schema)
        except (pa.ArrowException, ValueError, OverflowError, TypeError):
            good = [row for row in rows if self._fits(row)]
            self.rows_refused += len(rows) - len(good)
            return _batch(good, self._schema)

    def _fits(self, row: tuple[object, ...]) -> bool:
        try:
            _batch([row], self._schema)
        except (pa.ArrowException, ValueError, OverflowError, TypeError):
            return False
        return True


def _batch(rows: list[tuple[object, ...]], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else ((),) * len(schema)
    arrays = [_array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    for array, field in zip(arrays, schema, strict=True):
        if array.null_count and not field.nullable:
            raise ValueError(f"column {field.name} holds a null")
    return pa.record_batch(arrays, schema=schema)


def _array(column: tuple[object, ...], arrow_type: pa.DataType) -> pa.Array:
    """What pa.array gives, in half its time for integers without a null and for one text all the way down."""
    n = len(column)
    if arrow_type == pa.int64():
        with contextlib.suppress(struct.error):  # a null, or beyond 64 bits
            return pa.Array.from_buffers(arrow_type, n, [None, pa.py_buffer(struct.pack(f"={n}q", *column))])
    elif arrow_type == pa.string() and n > 1 and column[0] is column[-1] and column.count(column[0]) == n:
        return pa.repeat(pa.scalar(column[0], arrow_type), n)
    return pa.array(column, type=arrow_type)


def read_chunks(paths: Iterable[Path], row_type: type) -> pa.Table:
    """All complete batches of the chunk files, in order; a torn tail (the writer was killed) is left out.

    Raises OSError for a file that cannot be opened: it is not the same as an empty one.
    """
    schema = schema_of(row_type)
    batches: list[pa.RecordBatch] = []
    for path in paths:
        batches.extend(_batches(path))
    return pa.Table.from_batches(batches, schema=schema)


def _batches(path: Path) -> list[pa.RecordBatch]:
    found: list[pa.RecordBatch] = []
    with path.open("rb") as file:
        try:
            with pa.ipc.open_stream(file) as stream:
                while True:
                    found.append(stream.read_next_batch())
        except (StopIteration, pa.ArrowInvalid, OSError):
            # StopIteration is the proper end; the others are a file cut off inside a batch or its head.
            return found


def convert_without_pandas() -> None:
    """For processes that only write rows. pyarrow imports pandas at its first conversion, to know pandas objects when
    it sees them: a second of CPU in the middle of the run, and memory, for rows that are never pandas objects."""
    if "pandas" in sys.modules:  # user code wants it: then pyarrow should know it too
        pa.array([0])
        return
    sys.meta_path.insert(0, _NoPandas)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(_NoPandas)


class _NoPandas:
    """An import finder that knows for certain there is no pandas."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)
