"""OTLP trace requests, protobuf or JSON, -> span rows; and the answers the protocol asks for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeAlias

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from harness.model import CLAIMS
from harness.spans.otlp_values import (
    INT64_MAX,
    MOST_PARTS,
    NAME_LENGTH,
    MalformedBody,
    Owner,
    fragment,
    fragments,
    hexadecimal,
    integer,
    joined,
    json_object,
    json_pairs,
    limited,
    member,
    members,
    owner_of,
    plain_pairs,
    text,
    to_json,
)

__all__ = ["Decoded", "Encoding", "MalformedBody", "SpanRow", "decode", "encode_answer", "encode_refusal"]

SpanRow: TypeAlias = tuple[
    str, str, str | None, str, str, str | None, int | None, int, int, str | None, str | None
]  # the fields of model.Span, in order
Encoding: TypeAlias = Literal["protobuf", "json"]

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_KIND_NAMES = {f"SPAN_KIND_{kind.upper()}": kind for kind in KINDS}
_ZERO_TRACE = "0" * 32
_ZERO_SPAN = "0" * 16

_STAGE = "harness.stage"
_STAGE_OF = {fragment(_STAGE, stage): stage for stage in CLAIMS}

# What is no attribute in OTLP is kept among them, under keys of ours.
_SCOPE, _EVENTS, _LINKS = "otel.scope.name", "otel.events", "otel.links"
_RESERVED = frozenset((_SCOPE, _EVENTS, _LINKS))
_OWN_SCOPE = "harness.instrument"
_MOST_EVENTS = 64
_EVENT_LENGTH = 128
_MOST_LINKS = 128


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
    `stage` is the attribute `harness.stage` when it names one. Among the attributes stand also the first events of a
    span, `"otel.events": [[name, ns], ...]`, its first links, `"otel.links": [[trace_id, span_id], ...]`, and
    `"otel.scope.name"`.
    """
    encoding = encoding_of(content_type)
    if encoding is None:
        raise MalformedBody("the content type is neither application/x-protobuf nor application/json")
    read = list(_from_protobuf(body) if encoding == "protobuf" else _from_json(body))
    rows = [row for row in read if row is not None]
    return Decoded(rows, len(read) - len(rows))


def encode_answer(
    encoding: Encoding, rejected: int = 0, reason: str = "", rejected_key: str = "rejectedSpans"
) -> bytes:
    """An ExportTraceServiceResponse; with partial_success when spans were rejected.

    That of metrics has the same fields, by another name in JSON: `rejected_key`.
    """
    if encoding == "json":
        partial = {"partialSuccess": {rejected_key: str(rejected), "errorMessage": reason}} if rejected else {}
        return to_json(partial).encode()
    answer = ExportTraceServiceResponse()
    if rejected:
        answer.partial_success.rejected_spans = rejected
        answer.partial_success.error_message = reason
    encoded: bytes = answer.SerializeToString()
    return encoded


def encode_refusal(encoding: Encoding, reason: str) -> bytes:
    """The body of a 4xx or 5xx answer: a google.rpc.Status with `reason` as its message."""
    if encoding == "json":
        return to_json({"message": reason}).encode()
    # A span's Status keeps its message under the same field number as google.rpc.Status.
    encoded: bytes = Status(message=reason).SerializeToString()
    return encoded


def _row(
    ids: tuple[str, str, str],
    name: str,
    kind: str,
    owner: Owner,
    start_ns: int,
    end_ns: int,
    stage: str | None,
    attributes: str | None,
) -> SpanRow | None:
    """One row, or None when the span cannot be used. `ids` are trace, span and parent in hex, empty when unset."""
    trace_id, span_id, parent_id = ids
    if len(trace_id) != 32 or len(span_id) != 16 or trace_id == _ZERO_TRACE or span_id == _ZERO_SPAN:
        return None
    if not 0 < start_ns <= end_ns <= INT64_MAX or len(parent_id) not in (0, 16):
        return None
    parent = parent_id if parent_id and parent_id != _ZERO_SPAN else None
    return (trace_id, span_id, parent, name, kind, owner[0], owner[1], start_ns, end_ns, stage, attributes)


def _scope(name: str) -> str | None:
    """The instrumentation scope as it is kept: none for our own, which is in almost every span of a run."""
    return name[:NAME_LENGTH] if name and name != _OWN_SCOPE else None


def _beside(events: Iterable[tuple[str, int]], links: Iterable[tuple[str, str]]) -> Iterator[tuple[str, object]]:
    """The events and links that are kept among the attributes."""
    happened = [(name[:_EVENT_LENGTH], at_ns) for name, at_ns in islice(events, _MOST_EVENTS) if 0 < at_ns <= INT64_MAX]
    if happened:
        yield _EVENTS, happened
    linked = [ids for ids in islice(links, _MOST_LINKS) if (len(ids[0]), len(ids[1])) == (32, 16)]
    if linked:
        yield _LINKS, linked


def _from_protobuf(body: bytes) -> Iterator[SpanRow | None]:
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise MalformedBody("the body is not an OTLP trace request in protobuf") from error
    room = limited(MOST_PARTS, len(request.resource_spans))
    for resource_spans in request.resource_spans:
        owner = owner_of(plain_pairs(resource_spans.resource.attributes))
        room = limited(room, len(resource_spans.scope_spans))
        for scope_spans in resource_spans.scope_spans:
            scope = _scope(scope_spans.scope.name)
            scope_member = fragment(_SCOPE, scope) if scope else None
            room = limited(room, len(scope_spans.spans))
            for span in scope_spans.spans:
                kept, kind = fragments(span.attributes), span.kind
                events, links = span.events, span.links
                if not _RESERVED.isdisjoint(kept):
                    kept = {key: value for key, value in kept.items() if key not in _RESERVED}
                if scope_member:
                    kept[_SCOPE] = scope_member
                if events or links:
                    happened = ((event.name, event.time_unix_nano) for event in events)
                    linked = ((link.trace_id.hex(), link.span_id.hex()) for link in links)
                    kept.update((key, fragment(key, value)) for key, value in _beside(happened, linked))
                yield _row(
                    (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()),
                    span.name,
                    KINDS[kind] if 0 <= kind < len(KINDS) else KINDS[0],
                    owner,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    _STAGE_OF.get(kept.get(_STAGE, "")),
                    joined(kept),
                )


def _from_json(body: bytes) -> Iterator[SpanRow | None]:
    request = json_object(body)
    for resource_spans in members(request, "resourceSpans"):
        owner = owner_of(json_pairs(members(member(resource_spans, "resource"), "attributes")))
        for scope_spans in members(resource_spans, "scopeSpans"):
            scope = _scope(text(member(scope_spans, "scope"), "name"))
            for span in members(scope_spans, "spans"):
                yield _json_row(span, owner, scope)


def _json_row(span: dict[str, Any], owner: Owner, scope: str | None) -> SpanRow | None:
    attributes = json_pairs(members(span, "attributes"))
    events, links = members(span, "events"), members(span, "links")
    if not _RESERVED.isdisjoint(attributes):
        attributes = {key: value for key, value in attributes.items() if key not in _RESERVED}
    if scope:
        attributes[_SCOPE] = scope
    if events or links:
        happened = ((text(event, "name"), integer(event.get("timeUnixNano"), "timeUnixNano")) for event in events)
        linked = ((hexadecimal(link.get("traceId")), hexadecimal(link.get("spanId"))) for link in links)
        attributes.update(_beside(happened, linked))
    stage = attributes.get(_STAGE)
    return _row(
        (hexadecimal(span.get("traceId")), hexadecimal(span.get("spanId")), hexadecimal(span.get("parentSpanId"))),
        text(span, "name"),
        _json_kind(span.get("kind")),
        owner,
        integer(span.get("startTimeUnixNano"), "startTimeUnixNano"),
        integer(span.get("endTimeUnixNano"), "endTimeUnixNano"),
        stage if isinstance(stage, str) and stage in CLAIMS else None,
        to_json(attributes) if attributes else None,
    )


def _json_kind(value: object) -> str:
    if isinstance(value, int) and 0 <= value < len(KINDS):
        return KINDS[value]
    return _KIND_NAMES.get(value, KINDS[0]) if isinstance(value, str) else KINDS[0]
