"""OTLP trace requests, protobuf or JSON, -> span rows; and the answers the protocol asks for. Pure.

OTLP/JSON is not the proto3 JSON mapping: ids are hexadecimal, where protobuf's own JSON reader would take them for
base64 and silently return other ids. It is therefore read by hand.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Status

SpanRow: TypeAlias = tuple[
    str, str, str | None, str, str, str | None, int | None, int, int, str | None, str | None
]  # the fields of model.Span, in order
Encoding: TypeAlias = Literal["protobuf", "json"]

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_KIND_NAMES = {f"SPAN_KIND_{kind.upper()}": kind for kind in KINDS}
_INT64_MAX = 2**63 - 1
_ZERO_TRACE = "0" * 32
_ZERO_SPAN = "0" * 16
# A resource is repeated in each of its rows: without a limit one long name would multiply into gigabytes.
_SERVICE_LENGTH = 255
_DEEPEST_VALUE = 24

_to_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class MalformedBody(ValueError):  # noqa: N818 - reads as the condition it reports
    """The body is not an OTLP trace request; the message is a short reason."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The usable spans of one body as rows in the field order of model.Span, and how many were not usable."""

    rows: list[SpanRow]
    rejected: int


def encoding_of(content_type: str) -> Encoding | None:
    """The OTLP encoding a Content-Type names, whatever its parameters and case; None for any other type."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "application/x-protobuf":
        return "protobuf"
    return "json" if media_type == "application/json" else None


def decode(body: bytes, content_type: str) -> Decoded:
    """The spans of an ExportTraceServiceRequest. Raises MalformedBody when the body cannot be read as one.

    Spans that cannot be used (ids of a wrong length or all zero, no start, an end before the start) are counted.
    """
    encoding = encoding_of(content_type)
    if encoding is None:
        raise MalformedBody("the content type is neither application/x-protobuf nor application/json")
    read = list(_from_protobuf(body) if encoding == "protobuf" else _from_json(body))
    rows = [row for row in read if row is not None]
    return Decoded(rows, len(read) - len(rows))


def encode_answer(encoding: Encoding, rejected: int = 0, reason: str = "") -> bytes:
    """An ExportTraceServiceResponse; with partial_success when spans were rejected."""
    if encoding == "json":
        partial = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": reason}} if rejected else {}
        return _to_json(partial).encode()
    answer = ExportTraceServiceResponse()
    if rejected:
        answer.partial_success.rejected_spans = rejected
        answer.partial_success.error_message = reason
    encoded: bytes = answer.SerializeToString()
    return encoded


def encode_refusal(encoding: Encoding, reason: str) -> bytes:
    """The body of a 4xx or 5xx answer: a google.rpc.Status with `reason` as its message."""
    if encoding == "json":
        return _to_json({"message": reason}).encode()
    # A span's Status keeps its message under the same field number as google.rpc.Status.
    encoded: bytes = Status(message=reason).SerializeToString()
    return encoded


def _row(
    ids: tuple[str, str, str],
    name: str,
    kind: str,
    owner: tuple[str | None, int | None],
    start_ns: int,
    end_ns: int,
    attributes: str | None,
) -> SpanRow | None:
    """One row, or None when the span cannot be used. `ids` are trace, span and parent in hex, empty when unset."""
    trace_id, span_id, parent_id = ids
    if len(trace_id) != 32 or len(span_id) != 16 or trace_id == _ZERO_TRACE or span_id == _ZERO_SPAN:
        return None
    if not 0 < start_ns <= end_ns <= _INT64_MAX or len(parent_id) not in (0, 16):
        return None
    parent = parent_id if parent_id and parent_id != _ZERO_SPAN else None
    return (trace_id, span_id, parent, name, kind, *owner, start_ns, end_ns, None, attributes)


def _owner(attributes: dict[str, object]) -> tuple[str | None, int | None]:
    """(service, pid) of a resource."""
    service, pid = attributes.get("service.name"), attributes.get("process.pid")
    named = service[:_SERVICE_LENGTH] if isinstance(service, str) and service else None
    numbered = isinstance(pid, int) and not isinstance(pid, bool) and 0 <= pid <= _INT64_MAX
    return named, pid if numbered else None  # type: ignore[return-value]


def _float(value: float) -> float | str:
    # JSON has no word for these; the spelling is that of protobuf's JSON mapping.
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


# --- protobuf ----------------------------------------------------------------------------------------------


def _from_protobuf(body: bytes) -> Iterator[SpanRow | None]:
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise MalformedBody("the body is not an OTLP trace request in protobuf") from error
    for resource_spans in request.resource_spans:
        owner = _owner(_plain_pairs(resource_spans.resource.attributes))
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                attributes, kind = span.attributes, span.kind
                yield _row(
                    (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()),
                    span.name,
                    KINDS[kind] if 0 <= kind < len(KINDS) else KINDS[0],
                    owner,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    _to_json(_plain_pairs(attributes)) if attributes else None,
                )


def _plain_pairs(pairs: Iterable[Any], depth: int = 0) -> dict[str, object]:
    return {pair.key: _plain(pair.value, depth) for pair in pairs}


def _plain(value: Any, depth: int) -> object:
    """An AnyValue as what JSON can say: bytes as base64, NaN and infinities as text."""
    which = value.WhichOneof("value")
    if which == "string_value":
        return value.string_value
    if which == "double_value":
        return _float(value.double_value)
    if which == "array_value":
        return "..." if depth >= _DEEPEST_VALUE else [_plain(v, depth + 1) for v in value.array_value.values]
    if which == "kvlist_value":
        return "..." if depth >= _DEEPEST_VALUE else _plain_pairs(value.kvlist_value.values, depth + 1)
    if which == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    if which == "bool_value":
        return value.bool_value
    return value.int_value if which == "int_value" else None


# --- JSON --------------------------------------------------------------------------------------------------


def _from_json(body: bytes) -> Iterator[SpanRow | None]:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedBody("the body is not JSON") from error
    if not isinstance(request, dict):
        raise MalformedBody("the body is not a JSON object")
    for resource_spans in _objects(request, "resourceSpans"):
        owner = _owner(_json_pairs(_objects(_object(resource_spans, "resource"), "attributes")))
        for scope_spans in _objects(resource_spans, "scopeSpans"):
            for span in _objects(scope_spans, "spans"):
                attributes = _json_pairs(_objects(span, "attributes"))
                yield _row(
                    (_hex(span.get("traceId")), _hex(span.get("spanId")), _hex(span.get("parentSpanId"))),
                    _text(span, "name"),
                    _json_kind(span.get("kind")),
                    owner,
                    _integer(span.get("startTimeUnixNano"), "startTimeUnixNano"),
                    _integer(span.get("endTimeUnixNano"), "endTimeUnixNano"),
                    _to_json(attributes) if attributes else None,
                )


def _object(holder: dict[str, Any], key: str) -> dict[str, Any]:
    found = holder.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise MalformedBody(f"{key} is not an object")
    return found


def _objects(holder: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = holder.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise MalformedBody(f"{key} is not an array of objects")
    return found


def _text(holder: dict[str, Any], key: str) -> str:
    found = holder.get(key)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise MalformedBody(f"{key} is not a string")
    # JSON can escape half a surrogate pair, which is no text and could not be stored.
    return found if found.isascii() else found.encode("utf-8", "replace").decode()


def _hex(value: object) -> str:
    """A hexadecimal id in lower case; "-" (no id has this length) for anything else, so that the span is rejected."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return "-"
    try:
        plain = bytes.fromhex(value).hex()
    except ValueError:
        return "-"
    return plain if len(plain) == len(value) else "-"  # fromhex skips spaces, an id has none


def _integer(value: object, what: str) -> int:
    """A 64-bit number, which OTLP/JSON writes as a string or as a number."""
    if value is None:
        return 0
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        if isinstance(value, str) and value.isascii():
            return int(value)
        if isinstance(value, float):
            return int(value)
    except (ValueError, OverflowError):
        pass
    raise MalformedBody(f"{what} is not an integer")


def _json_kind(value: object) -> str:
    if isinstance(value, int) and 0 <= value < len(KINDS):
        return KINDS[value]
    return _KIND_NAMES.get(value, KINDS[0]) if isinstance(value, str) else KINDS[0]


def _json_pairs(pairs: list[dict[str, Any]], depth: int = 0) -> dict[str, object]:
    return {_text(pair, "key"): _json_plain(_object(pair, "value"), depth) for pair in pairs}


def _json_plain(value: dict[str, Any], depth: int) -> object:
    if "stringValue" in value:
        return _text(value, "stringValue")
    if "intValue" in value:
        return _integer(value["intValue"], "intValue")
    if "doubleValue" in value:
        return _json_double(value["doubleValue"])
    if "boolValue" in value:
        return value["boolValue"] is True
    if "arrayValue" in value:
        values = _objects(_object(value, "arrayValue"), "values")
        return "..." if depth >= _DEEPEST_VALUE else [_json_plain(v, depth + 1) for v in values]
    if "kvlistValue" in value:
        return (
            "..."
            if depth >= _DEEPEST_VALUE
            else _json_pairs(_objects(_object(value, "kvlistValue"), "values"), depth + 1)
        )
    return _text(value, "bytesValue") if "bytesValue" in value else None


def _json_double(value: object) -> object:
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return value
    try:
        return _float(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise MalformedBody("doubleValue is not a number") from error
