"""What a span tells beside its own interval, as columns, and the spans that are made of it.

A derived span is the child of the span it comes from. Its id depends on that span and its own name alone, so that
mapping a stored run again makes the same ones. Its attributes hold `harness.derived: true`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Rows = npt.NDArray[np.intp]
Instants = npt.NDArray[np.int64]

MARK = "harness.derived"
RESOURCE = "harness.resource"
MODEL = "harness.model"
NEVER = 0
"""Where an event did not happen."""

_MARKED = f'"{MARK}":true'


def raw(spans: pa.Table) -> pa.Table:
    """The spans without the derived ones."""
    made = containing(spans, _MARKED)
    return spans.filter(pa.array(~made)) if made.any() else spans


def derived(attributes: str | None) -> bool:
    """Whether these are the attributes of a derived span."""
    return attributes is not None and _MARKED in attributes


def containing(spans: pa.Table, text: str) -> npt.NDArray[np.bool_]:
    """Which spans have `text` in their attributes, as JSON."""
    found = pc.fill_null(pc.match_substring(spans.column("attributes"), text), False)
    return np.asarray(found.to_numpy(), dtype=np.bool_)


def having_event(spans: pa.Table, name: str) -> Rows:
    """The rows of the spans with this event."""
    return np.flatnonzero(containing(spans, f'["{name}",'))


def named(spans: pa.Table, *beginnings: str) -> Rows:
    """The rows of the spans whose name begins with one of these."""
    masks = [pc.starts_with(spans.column("name"), beginning).to_numpy() for beginning in beginnings]
    return np.flatnonzero(np.logical_or.reduce(masks))


def instants(spans: pa.Table, rows: Rows, column: str) -> Instants:
    """A column of instants at these rows."""
    return np.asarray(spans.column(column).to_numpy()[rows], dtype=np.int64)


def event_ns(spans: pa.Table, rows: Rows, name: str) -> Instants:
    """When the (first) event of this name happened, for these rows; NEVER when it did not."""
    found = _groups(spans, rows, rf'\["{re.escape(name)}",\s*(?P<it>\d{{1,19}})\]')
    return np.asarray(pc.fill_null(found.cast(pa.int64()), NEVER).to_numpy(zero_copy_only=False), dtype=np.int64)


def number(spans: pa.Table, rows: Rows, key: str) -> npt.NDArray[np.float64]:
    """A numeric attribute of these rows; NaN when it is not there."""
    found = _groups(spans, rows, rf'"{re.escape(key)}"\s*:\s*(?P<it>-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)\s*[,}}]')
    return np.asarray(pc.fill_null(found.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False), dtype=np.float64)


def words(spans: pa.Table, rows: Rows, key: str) -> list[str | None]:
    """A text attribute of these rows."""
    encoded = pc.dictionary_encode(quoted(spans, rows, key))
    known = [json.loads(text) for text in encoded.dictionary.to_pylist()]
    return [None if code is None else known[code] for code in encoded.indices.to_pylist()]


def quoted(spans: pa.Table, rows: Rows, key: str) -> pa.Array:
    """A text attribute of these rows as it stands in the JSON, in quotes; null when it is not there."""
    return _groups(spans, rows, rf'"{re.escape(key)}"\s*:\s*(?P<it>"(?:[^"\\]|\\.)*")')


def _groups(spans: pa.Table, rows: Rows, pattern: str) -> pa.Array:
    """The group `it` of the pattern in the attributes of these rows; null where it does not match.

    A quote inside a JSON text is escaped, so that `"key":` is found where it is a key and nowhere else.
    """
    text = _one(spans.column("attributes").take(pa.array(rows)))
    return pc.struct_field(pc.extract_regex(text, pattern), "it")


def _one(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    if isinstance(combined, pa.ChunkedArray):
        return combined.chunk(0) if combined.num_chunks else pa.array([], column.type)
    return combined


def parents(spans: pa.Table, rows: Rows, among: Rows) -> Rows:
    """For each of `rows`, the row of its parent if that is one of `among`, else -1."""
    ids = _one(spans.column("span_id").take(pa.array(among)))
    found = pc.index_in(spans.column("parent_id").take(pa.array(rows)), value_set=ids)
    where: Rows = pc.fill_null(found, -1).to_numpy().astype(np.intp)
    return np.where(where >= 0, among[where], -1) if len(among) else where


def added(
    spans: pa.Table,
    rows: Rows,
    name: str,
    stage: str,
    start_ns: Instants,
    end_ns: Instants,
    about: tuple[str, Sequence[str | None]] | None = None,
    keep: npt.NDArray[np.bool_] | None = None,
) -> pa.Table:
    """The spans and behind them one more below each of `rows`, of these intervals clipped to it.

    `about` is an attribute with its value for each row. Those that `keep` leaves out are not made, nor those that end
    before they start.
    """
    lower, upper = instants(spans, rows, "start_ns"), instants(spans, rows, "end_ns")
    usable = (end_ns >= start_ns) & (end_ns >= lower) & (start_ns <= upper) & (True if keep is None else keep)
    which = np.flatnonzero(usable)
    if not len(which):
        return spans
    source = spans.take(pa.array(rows[which]))
    ids = source.column("span_id").to_pylist()
    columns = {
        "trace_id": source.column("trace_id"),
        "span_id": [blake2b(f"{each}/{name}".encode(), digest_size=8).hexdigest() for each in ids],
        "parent_id": ids,
        "name": pa.repeat(name, len(which)),
        "kind": pa.repeat("internal", len(which)),
        "service": source.column("service"),
        "pid": source.column("pid"),
        "start_ns": np.maximum(start_ns, lower)[which],
        "end_ns": np.minimum(end_ns, upper)[which],
        "stage": pa.repeat(stage, len(which)),
        "attributes": _texts(about, which),
    }
    return pa.concat_tables([spans, pa.table(columns, schema=spans.schema)])


def _texts(about: tuple[str, Sequence[str | None]] | None, which: Rows) -> list[str]:
    if about is None:
        return [_text({})] * len(which)
    key, values = about
    known: dict[str | None, str] = {None: _text({})}
    for value in set(values) - {None}:
        known[value] = _text({key: value})
    return [known[values[row]] for row in which]


def _text(attributes: dict[str, object]) -> str:
    return json.dumps({MARK: True, **attributes}, separators=(",", ":"))
