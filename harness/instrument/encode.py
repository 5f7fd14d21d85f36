"""Finished requests -> the bytes of an OTLP `ExportTraceServiceRequest`.

Written by hand, for the few shapes our spans have: going through `ReadableSpan` and the protobuf classes takes ten
times the CPU, in the process that is being measured. Field numbers: opentelemetry/proto/trace/v1/trace.proto and
common/v1/common.proto; a tag is (field number << 3) | wire type.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

from harness.instrument.ids import new_span_ids
from harness.instrument.marks import Mark
from harness.instrument.spans import (
    INT64,
    KNOWN_ATTRIBUTES,
    SCOPE,
    Finished,
    Value,
    mark_attributes,
    root_attributes,
    root_failed,
)

MAX_KEPT = 4_096
"""Names and values already encoded; the memory is emptied when it is full, so that odd names cannot fill it."""
_LONGEST_KEPT = 64  # characters
_LARGEST_KEPT = 1_024

LONGEST_TEXT = 4_096  # characters
"""What is longer is cut: a name always here, a value where the environment does not say less."""
_longest_value = LONGEST_TEXT

_TRACE_ID, _SPAN_ID, _PARENT_ID = b"\x0a\x10", b"\x12\x08", b"\x22\x08"
_NAME, _ATTRIBUTE = b"\x2a", b"\x4a"
_INTERNAL, _SERVER = b"\x30\x01", b"\x30\x02"
_FLAGS = b"\x85\x01" + struct.pack("<I", 0x100)  # it is known whether the parent is remote: it is not
_FLAGS_REMOTE = b"\x85\x01" + struct.pack("<I", 0x300)
_UNSET = b"\x7a\x00"
_times = struct.Struct("<BQBQ").pack  # start_time_unix_nano and end_time_unix_nano with their tags
_START, _END = 0x39, 0x41
_double = struct.Struct("<Bd").pack

_OURS = frozenset({"harness.stage", "harness.cpu_ns", "error.type", *(f"harness.{key}" for key in KNOWN_ATTRIBUTES)})

_kept: dict[tuple[object, ...], bytes] = {}


def cut_values_at(characters: int) -> None:
    """Set the length of the longest value for this process."""
    global _longest_value
    _longest_value = characters
    _kept.clear()


def request(resource_spans: bytes, spans: Iterable[bytes]) -> bytes:
    """The body of one post. `resource_spans` is what `preamble` made."""
    scope = _field(b"\x0a", _field(b"\x0a", SCOPE.name.encode()))
    return _field(b"\x0a", resource_spans + _field(b"\x12", scope + b"".join(spans)))


def preamble(resource: bytes, schema_url: str) -> bytes:
    """The part of every post that says which process this is; `resource` is an encoded `Resource`."""
    return _field(b"\x0a", resource) + (_field(b"\x1a", schema_url.encode()) if schema_url else b"")


def encoded(done: Finished, ids: Callable[[int], list[bytes]] = new_span_ids) -> bytes:
    """The spans of one request as fields of a `ScopeSpans`: the children, then the root."""
    record = done.record
    end = record.start if record.end is None else record.end
    shift = record.epoch_ns - record.start
    trace = _TRACE_ID + record.trace_id.to_bytes(16, "big")
    root_id = record.root_id.to_bytes(8, "big")
    span_ids = dict(zip(map(id, done.marks), ids(len(done.marks)), strict=True))
    fields: list[bytes] = []
    for mark in done.marks:
        parent = mark.parent
        while parent is not None and id(parent) not in span_ids:
            parent = parent.parent
        parent_id = root_id if parent is None else span_ids[id(parent)]
        stop = end if mark.end is None or mark.end > end else mark.end
        span = trace + _SPAN_ID + span_ids[id(mark)] + _PARENT_ID + parent_id
        span += _times(_START, mark.start + shift, _END, stop + shift) + _said(mark)
        fields.append(_field(b"\x12", span))
    span = trace + _SPAN_ID + root_id + _times(_START, record.epoch_ns, _END, end + shift)
    fields.append(_field(b"\x12", span + _root(done)))
    return b"".join(fields)


def _said(mark: Mark) -> bytes:
    """All of a child but its ids and times."""
    attributes = mark.attributes or {}
    if not _OURS.isdisjoint(attributes):  # the service says what we say: the last word counts
        span = _kept.get((mark.name, None)) or _head(mark.name, None)
        for key, value in mark_attributes(mark).items():
            span += _attribute(key, value)
        return span + (_UNSET if mark.error is None else _failed(mark.error))
    span = _kept.get((mark.name, mark.stage)) or _head(mark.name, mark.stage)
    if mark.cpu_ns is not None:
        span += _attribute("harness.cpu_ns", mark.cpu_ns)
    if mark.error is not None:
        span += _attribute("error.type", mark.error)
    for key, own in attributes.items():
        if own is not None:
            span += _attribute(f"harness.{key}" if key in KNOWN_ATTRIBUTES else key, own)  # type: ignore[arg-type]
    return span + (_UNSET if mark.error is None else _failed(mark.error))


def _head(name: str, stage: str | None) -> bytes:
    head = _INTERNAL + _FLAGS + _field(_NAME, _text(name))
    if stage is not None:
        head += _attribute("harness.stage", stage)
    return _keep((name, stage), head) if len(name) <= _LONGEST_KEPT else head


def _root(done: Finished) -> bytes:
    """All of a root but its ids, without the parent's, and its times."""
    record = done.record
    span = _SERVER + _field(_NAME, _text(done.name))
    if record.parent_id is None:
        span += _FLAGS
    else:
        span += _FLAGS_REMOTE + _PARENT_ID + record.parent_id.to_bytes(8, "big")
    for key, value in root_attributes(done).items():
        if value is not None:
            span += _attribute(key, value)
    return span + (_failed(record.error or "") if root_failed(record) else _UNSET)


def _failed(description: str) -> bytes:
    """A `Status` of an error."""
    message = _field(b"\x12", _text(description)) if description else b""
    return _field(b"\x7a", message + b"\x18\x02")


def _attribute(key: str, value: Value) -> bytes:
    """One `KeyValue` of a span."""
    kind = type(value)
    known = _kept.get((key, value, kind))  # the type is part of it, since 1 == True == 1.0
    if known is not None:
        return known
    name = _kept.get((key,)) or _key(key)
    made = _field(_ATTRIBUTE, name + _field(b"\x12", _any_value(value)))
    short = (kind is str and len(value) <= _LONGEST_KEPT) or (kind is int and 0 <= value < _LARGEST_KEPT)  # type: ignore[arg-type,operator]
    if short and len(key) <= _LONGEST_KEPT:
        _keep((key, value, kind), made)
    return made


def _key(key: str) -> bytes:
    made = _field(b"\x0a", _text(key))
    return _keep((key,), made) if len(key) <= _LONGEST_KEPT else made


def _any_value(value: Value) -> bytes:
    """An `AnyValue`; a number too large for one becomes text."""
    if isinstance(value, str):
        return _field(b"\x0a", _text(value, _longest_value))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, float):
        return _double(0x21, value)
    if 0 <= value < 2**63:
        return b"\x18" + _varint(value)
    if int(value) not in INT64:
        return _field(b"\x0a", _text(_digits(value), _longest_value))
    return b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)  # two's complement


def _keep(key: tuple[object, ...], made: bytes) -> bytes:
    if len(_kept) >= MAX_KEPT:
        _kept.clear()
    _kept[key] = made
    return made


def _digits(number: int) -> str:
    try:
        return str(int(number))
    except ValueError:  # more digits than Python turns into text
        return hex(number)


def _text(value: str, at_most: int = LONGEST_TEXT) -> bytes:
    return (value if len(value) <= at_most else value[:at_most]).encode("utf-8", "replace")


def _field(tag: bytes, content: bytes) -> bytes:
    """A length-delimited field."""
    length = len(content)
    return tag + (_SHORT[length] if length < 128 else _varint(length)) + content


_SHORT = [bytes([number]) for number in range(128)]


def _varint(number: int) -> bytes:
    """Seven bits a byte, the low ones first; the top bit says that there are more."""
    if number < 128:
        return _SHORT[number]
    if number < 1 << 14:
        return bytes((number & 127 | 128, number >> 7))
    if number < 1 << 28:
        return bytes((number & 127 | 128, number >> 7 & 127 | 128)) + _varint(number >> 14)
    low = (number & 127 | 128, number >> 7 & 127 | 128, number >> 14 & 127 | 128, number >> 21 & 127 | 128)
    return bytes(low) + _varint(number >> 28)
