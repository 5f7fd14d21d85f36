"""OTLP bodies that are damaged, absurd or meant to do harm: the same ones for the same seed."""

from __future__ import annotations

import copy
import gzip
import json
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from support.otlp_seeds import NOW, seeds_of

MIB = 2**20
PROTOBUF, JSON = "application/x-protobuf", "application/json"

NUMBERS: tuple[Any, ...] = (
    None, True, -1, 0, -0.0, 0.1, 1e308, float("inf"), float("-inf"), float("nan"), 2**63 - 1, 2**63, -(2**63) - 1,
    2**64, 10**400, "9" * 4300, "9" * 5000, "-1", "1e3", "0x10", " 7 ", "1_0", "\u0663", "NaN", "Infinity", "",
    "x" * 70_000,
)  # fmt: skip
SHAPES: tuple[Any, ...] = (
    [], {}, [[]], [None], [{}], {"": {}}, "\ud800", "\x00", "\u202e", "<script>", {"values": [{"stringValue": 1}]},
    {"stringValue": "a", "intValue": "b"}, {"doubleValue": "NaN"}, {"intValue": 2**70}, {"kvlistValue": {"values": 3}},
    {"bytesValue": "no base64"}, ["a"] * 1000,
)  # fmt: skip
_UNSIGNED = (0, 1, NOW, NOW + 1, 2**63 - 1, 2**63, 2**64 - 1)
_DOUBLES = (0.0, -0.0, 0.1, 5e-324, 1.7e308, float("inf"), float("-inf"), float("nan"))
_TEXTS = ("", "a", "\x00", "\u202e", "日本", "x" * 70_000, '"},{', "\\ud800")
TOKENS = (
    b"NaN", b"-Infinity", b"1e999", b"-1e-999", b"1" * 5000, b'"\\ud800"', b"\\u0000", b"[" * 3000, b'{"a":' * 3000,
    b"\xff\xfe", b"\xef\xbb\xbf", b"null", b"}{", b'"', b"\x00", b",,", b'"key":1,"key":2',
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Body:
    """What is posted, how it is called, and whether it says it is gzipped."""

    content: bytes
    content_type: str
    signal: str  # traces | metrics
    gzipped: bool


def bodies(seed: int, count: int) -> Iterator[Body]:
    """`count` mutated bodies; about a quarter can still be read."""
    chance = random.Random(seed)
    seeds = {signal: seeds_of(signal) for signal in ("traces", "metrics")}
    for _ in range(count):
        signal = "traces" if chance.random() < 0.8 else "metrics"
        protobuf, in_json = seeds[signal]
        what = chance.random()
        if what < 0.35:
            content, content_type = _damaged(chance, chance.choice(protobuf), protobuf, _BYTES), PROTOBUF
        elif what < 0.5:
            content, content_type = _refilled(chance, chance.choice(protobuf), signal), PROTOBUF
        elif what < 0.75:
            content, content_type = _damaged(chance, chance.choice(in_json), in_json, (*_BYTES, _token)), JSON
        else:
            content, content_type = _reshaped(chance, chance.choice(in_json)), JSON
        if chance.random() < 0.02:
            content_type = JSON if content_type == PROTOBUF else PROTOBUF
        gzipped = chance.random() < 0.1
        if gzipped:
            content = gzip.compress(content, 1)
            if chance.random() < 0.3:
                content = chance.choice(_BYTES)(chance, content, [content])
        yield Body(content, content_type, signal, gzipped or chance.random() < 0.01)


def bombs(gib: int) -> Iterator[tuple[str, Body]]:
    """Small on the wire, large in memory; `gib` is what the largest would inflate to."""
    zeros = _zeros_gzipped(gib)
    cases = {
        f"{gib} GiB of zeros": zeros,
        "zeros to the limit": gzip.compress(bytes(64 * MIB), 1),
        "gzip in gzip": gzip.compress(zeros, 1),
        "two members": gzip.compress(b"\x0a\x00") * 2,
        "a million empty members": gzip.compress(b"") * 10**6,
        "trailing garbage": gzip.compress(b"\x0a\x00") + b"garbage" * 1000,
        "cut off": zeros[:-1000],
    }
    for name, content in cases.items():
        yield name, Body(content, PROTOBUF, "traces", gzipped=True)
    yield "empty spans", Body(_field(1, _field(2, b"\x12\x00" * (MIB // 8))), PROTOBUF, "traces", gzipped=False)
    yield "empty objects", Body(b'{"resourceSpans":[' + b"{}," * (MIB // 4) + b"{}]}", JSON, "traces", gzipped=False)
    yield "nested arrays", Body(b'{"resourceSpans":' + b"[" * 16 * MIB, JSON, "traces", gzipped=False)
    yield "a number of a megabyte", Body(b'{"resourceSpans":' + b"9" * MIB + b"}", JSON, "traces", gzipped=False)


def _zeros_gzipped(gib: int) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = deflate.compress(bytes(4 * MIB)) + deflate.flush(zlib.Z_FULL_FLUSH)  # may be repeated: it refers to nothing
    return gzip.compress(b"")[:10] + block * (256 * gib)


# --- mutations ---------------------------------------------------------------------------------------------

Mutation = Callable[[random.Random, bytes, list[bytes]], bytes]


def _damaged(chance: random.Random, content: bytes, others: list[bytes], mutations: tuple[Mutation, ...]) -> bytes:
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        content = chance.choice(mutations)(chance, content, others)
    return content


def _flipped(chance: random.Random, content: bytes, others: list[bytes]) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(1, 6) if changed else 0):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(chance: random.Random, content: bytes, others: list[bytes]) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _spliced(chance: random.Random, content: bytes, others: list[bytes]) -> bytes:
    other = chance.choice(others)
    return content[: chance.randrange(len(content) + 1)] + other[chance.randrange(len(other) + 1) :]


def _repeated(chance: random.Random, content: bytes, others: list[bytes]) -> bytes:
    begin = chance.randrange(len(content) + 1)
    end = chance.choice((len(content), min(len(content), begin + chance.randint(1, 64))))
    return content[:end] + content[begin:end] * chance.choice((1, 2, 50)) + content[end:]


def _lengthened(chance: random.Random, content: bytes, others: list[bytes]) -> bytes:
    """A field that says it is huge."""
    where = chance.randrange(len(content) + 1)
    length = _varint(chance.choice((2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, len(content))))
    return content[:where] + bytes([chance.randrange(1, 16) << 3 | 2]) + length + content[where:]


def _nested(chance: random.Random, content: bytes, others: list[bytes]) -> bytes:
    """A span whose attribute holds lists in lists, down to thousands."""
    value = b"\x0a\x01x"
    for _ in range(chance.choice((20, 90, 110, 2000))):
        value = _field(5, _field(1, value))
    span = _field(1, b"\x0a" * 16) + _field(2, b"\x01" * 8) + _field(9, _field(1, b"deep") + _field(2, value))
    return content + _field(1, _field(2, _field(2, span)))


def _typed(chance: random.Random, content: bytes, others: list[bytes]) -> bytes:
    """Another wire type where a field may begin."""
    changed = bytearray(content)
    for _ in range(3 if changed else 0):
        where = chance.randrange(len(changed))
        changed[where] = changed[where] & ~7 | chance.randrange(8)
    return bytes(changed)


def _noise(chance: random.Random, content: bytes, others: list[bytes]) -> bytes:
    where = chance.randrange(len(content) + 1)
    return content[:where] + chance.randbytes(chance.choice((1, 8, 300))) + content[where:]


_BYTES: tuple[Mutation, ...] = (_flipped, _flipped, _cut, _spliced, _repeated, _lengthened, _nested, _typed, _noise)


def _token(chance: random.Random, content: bytes, others: list[bytes]) -> bytes:
    where = chance.randrange(len(content) + 1)
    return content[:where] + chance.choice(TOKENS) + content[where + chance.choice((0, 0, 1, 5)) :]


def _reshaped(chance: random.Random, content: bytes) -> bytes:
    """Valid JSON, with another value or none in some places."""
    whole = {"": json.loads(content)}
    for _ in range(chance.choice((1, 1, 2, 5))):
        holder, key = chance.choice(list(_places(whole)))
        what = chance.random()
        if what < 0.1 and len(whole) == 1 and key != "":
            del holder[key]
        elif what < 0.2:
            holder[key] = [holder[key]] * chance.choice((1, 2, 30))
        else:
            holder[key] = copy.deepcopy(chance.choice(NUMBERS if what < 0.6 else SHAPES))
    return json.dumps(whole[""]).encode()


def _refilled(chance: random.Random, content: bytes, signal: str) -> bytes:
    """Valid protobuf, with other values in some fields."""
    if signal == "metrics":
        metrics = ExportMetricsServiceRequest.FromString(content)
        for metric in metrics.resource_metrics[0].scope_metrics[0].metrics:
            metric.name = chance.choice(_TEXTS)
            for point in metric.gauge.data_points:
                point.time_unix_nano, point.as_double = chance.choice(_UNSIGNED), chance.choice(_DOUBLES)
        encoded: bytes = metrics.SerializeToString()
        return encoded
    traces = ExportTraceServiceRequest.FromString(content)
    for span in traces.resource_spans[0].scope_spans[0].spans:
        span.trace_id = chance.randbytes(chance.choice((16, 16, 0, 15, 17, 500)))
        span.parent_span_id = chance.choice((b"", bytes(8), b"\x01" * 8, b"\x01"))
        span.name, span.kind = chance.choice(_TEXTS), chance.choice((0, 5, 6, -1, 2**31 - 1))
        span.start_time_unix_nano, span.end_time_unix_nano = chance.choice(_UNSIGNED), chance.choice(_UNSIGNED)
        span.events.add(name=chance.choice(_TEXTS), time_unix_nano=chance.choice(_UNSIGNED))
        span.links.add(trace_id=chance.randbytes(chance.choice((16, 3))), span_id=chance.randbytes(8))
        value = AnyValue(double_value=chance.choice(_DOUBLES))
        span.attributes.add(key=chance.choice((*_TEXTS, "otel.links", "harness.stage")), value=value)
    encoded = traces.SerializeToString()
    return encoded


def _places(found: Any) -> Iterator[tuple[Any, Any]]:
    """(object or array, key) of every value."""
    for key in list(found) if isinstance(found, dict) else range(len(found)):
        yield found, key
        if isinstance(found[key], dict | list) and len(found[key]) < 100:
            yield from _places(found[key])


def _varint(number: int) -> bytes:
    pieces = bytearray()
    while number > 127:
        pieces.append(number & 127 | 128)
        number >>= 7
    return bytes([*pieces, number])


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content
