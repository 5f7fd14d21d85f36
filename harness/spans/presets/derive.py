"""What a span tells beside its own interval, as columns, and the spans that are made of it.

A derived span is the child of the span it comes from. Its id depends on that span and its own name alone, so that
mapping a stored run again makes the same ones. Its attributes hold `harness.derived: true`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.spans.looks import attributes_of

Rows = npt.NDArray[np.intp]
Instants = npt.NDArray[np.int64]

MARK = "harness.derived"
RESOURCE = "harness.resource"
MODEL = "harness.model"
EVENTS = "otel.events"
NEVER = 0
"""Where an event did not happen."""

_AT_ONCE = 1 << 16
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
    return np.flatnonzero(containing(spans, f'["{name}"'))


def named(spans: pa.Table, *beginnings: str) -> Rows:
    """The rows of the spans whose name begins with one of these."""
    masks = [pc.starts_with(spans.column("name"), beginning).to_numpy() for beginning in beginnings]
    return np.flatnonzero(np.logical_or.reduce(masks))


def instants(spans: pa.Table, rows: Rows, column: str) -> Instants:
    """A column of instants at these rows."""
    return np.asarray(spans.column(column).to_numpy()[rows], dtype=np.int64)


def values(spans: pa.Table, rows: Rows, *keys: str) -> list[list[object]]:
    """The values of some attributes at these rows, None where one is not there: a list for each key."""
    found: list[list[object]] = [[] for _ in keys]
    texts = spans.column("attributes")
    if not np.array_equal(rows, np.arange(len(texts))):
        texts = texts.take(pa.array(rows))
    for start in range(0, len(rows), _AT_ONCE):
        for text in texts.slice(start, _AT_ONCE).to_pylist():
            attributes = attributes_of(text)
            for key, column in zip(keys, found, strict=True):
                column.append(attributes.get(key))
    return found


def events(spans: pa.Table, rows: Rows, *names: str) -> list[Instants]:
    """When the (first) event of each name happened, for these rows; NEVER when it did not."""
    (happened,) = values(spans, rows, EVENTS)
    found = np.full((len(names), len(rows)), NEVER, dtype=np.int64)
    place = {name: number for number, name in enumerate(names)}
    for row, each in enumerate(happened):
        for name, at_ns in reversed(_pairs(each)):
            if name in place:
                found[place[name], row] = at_ns
    return list(found)


def _pairs(happened: object) -> list[tuple[str, int]]:
    """The events of a span as the receiver stores them; nothing else is taken for one."""
    pairs = happened if isinstance(happened, list) else []
    return [
        (pair[0], pair[1])
        for pair in pairs
        if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and _is_instant(pair[1])
    ]


def _is_instant(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63


def as_numbers(column: Sequence[object]) -> npt.NDArray[np.float64]:
    """Values as numbers, NaN for what is none."""
    if set(map(type, column)) <= {float, type(None)}:
        return np.array(column, dtype=np.float64)
    plain = (isinstance(value, int | float) and not isinstance(value, bool) for value in column)
    found = [_float(value) if is_number else np.nan for value, is_number in zip(column, plain, strict=True)]
    return np.array(found, dtype=np.float64)


def _float(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        return np.nan


def as_words(column: Sequence[object]) -> list[str | None]:
    """Values as texts, None for what is none."""
    return [value if isinstance(value, str) else None for value in column]


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
    source = spans.select(["trace_id", "span_id", "service", "pid"]).take(pa.array(rows[which]))
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
    key, told = about
    known: dict[str | None, str] = {None: _text({})}
    for value in set(told) - {None}:
        known[value] = _text({key: value})
    return [known[told[row]] for row in which]


def _text(attributes: dict[str, object]) -> str:
    return json.dumps({MARK: True, **attributes}, separators=(",", ":"))
