"""The tables of a run as CSV (RFC 4180: a head line, CRLF, texts in quotes, nothing for what is missing), a part at a
time.

A spreadsheet takes a cell that begins with = + - @ or a tab for a formula. Names and errors come from outside: such a
text gets an apostrophe in front. Numbers stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from harness.chunks import schema_of
from harness.run_folder import RunFolder
from harness.tables import TABLES

NAMES = ("samples", "ledger", "model_calls", "waits", "vitals")
"""Tables that are exported; spans go to OTLP."""

_FORMULA = r"^[=+\-@\t\r\n]"
_PART = 1 << 16


def write(folder: RunFolder, table: str, file: IO[bytes], request_ids: Sequence[int] | None = None) -> int:
    """Write one table; only the rows of these requests, where it has a column for them. Returns the number of rows.

    Raises RunFolderError, and OSError when the file cannot be written.
    """
    schema = schema_of(TABLES[table])
    rows = 0
    file.write(_lines(schema.empty_table(), head=True))
    for part in _parts(folder, table, request_ids):
        rows += part.num_rows
        file.write(_lines(_defused(part), head=False))
    return rows


def _parts(folder: RunFolder, table: str, request_ids: Sequence[int] | None) -> Iterator[pa.Table]:
    wanted = None if request_ids is None else pa.array(np.asarray(request_ids, np.int64))
    for part in folder.parts(table, TABLES[table], _PART):
        if wanted is None or "request_id" not in part.column_names:
            yield part
        else:
            yield part.filter(pc.is_in(part.column("request_id"), value_set=wanted))


def _lines(part: pa.Table, *, head: bool) -> bytes:
    """The rows as lines that end in CRLF; line breaks inside of quotes stay as they are."""
    written = pa.BufferOutputStream()
    csv.write_csv(part, written, csv.WriteOptions(include_header=head))
    text: bytes = written.getvalue().to_pybytes()
    if text.count(b"\n") == part.num_rows + head:
        return text.replace(b"\n", b"\r\n")
    quoted = text.split(b'"')  # every other piece is outside of quotes; two quotes in a text have nothing between them
    quoted[::2] = [piece.replace(b"\n", b"\r\n") for piece in quoted[::2]]
    return b'"'.join(quoted)


def _defused(part: pa.Table) -> pa.Table:
    for at, field in enumerate(part.schema):
        if field.type == pa.string():
            column = part.column(at)
            risky = pc.match_substring_regex(column, _FORMULA)
            if pc.any(risky).as_py():
                part = part.set_column(at, field, pc.if_else(risky, _with_apostrophe(column), column))
    return part


def _with_apostrophe(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.binary_join_element_wise("'", column, "")
