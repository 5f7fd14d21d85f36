"""Grafana Tempo's query API: `/api/v2/traces/<id>`, in older versions `/api/traces/<id>` (v1); `/api/search`.

v2 answers {"trace": {"resourceSpans": [...]}, ...}, v1 {"batches": [...]}, both in protobuf's own JSON with base64 ids;
or protobuf, where v2 wraps the trace in another message. A search brings ids and summaries, never whole traces, so
that every trace is one request; its window is in whole seconds.
"""

from __future__ import annotations

from functools import partial

from harness.spans.otlp import Decoded, MalformedBody, decode
from harness.spans.stored import MOST_DOCUMENTS, TRACE_DIGITS, Api, Query, documents, hex_id, merged, spans_of

_PROTOBUF = ("application/protobuf", "application/x-protobuf")
_SECOND_NS = 1_000_000_000
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


def read_trace(wrapped: bool, body: bytes, content_type: str) -> Decoded:
    """The spans of one trace; `wrapped` is whether protobuf has it in a TraceByIDResponse. Raises MalformedBody."""
    if content_type.partition(";")[0].strip().lower() in _PROTOBUF:
        parts = _first_fields(body) if wrapped else [body]
        return merged([decode(part, _PROTOBUF[1]) for part in parts])
    found = []
    for document in documents(body):
        trace = document.get("trace", document) or {}
        spans = (trace.get("resourceSpans") or trace.get("batches")) if isinstance(trace, dict) else None
        if isinstance(spans, list):
            found.append(spans_of(spans))
        elif spans is not None or not isinstance(trace, dict):
            raise MalformedBody("the answer is not a trace")
    return merged(found)


def read_ids(body: bytes) -> list[str]:
    """The ids of the traces a search found, in hexadecimal. Raises MalformedBody."""
    found: list[str] = []
    for document in documents(body):
        traces = document.get("traces") or []
        if not isinstance(traces, list):
            raise MalformedBody("the answer is not a list of traces")
        ids = [hex_id(each.get("traceID"), TRACE_DIGITS) for each in traces if isinstance(each, dict)]
        found += [each for each in ids if isinstance(each, str)]
    return found


def _search(from_ns: int, until_ns: int, limit: int) -> Query:
    window = {"start": str(from_ns // _SECOND_NS), "end": str(-(-until_ns // _SECOND_NS))}
    return "/api/search", {"q": "{ kind = server }", "limit": str(limit), "spss": "1", **window}


V2 = Api("Tempo v2", lambda trace_id: (f"/api/v2/traces/{trace_id}", {}), partial(read_trace, True),
         ids_between=_search, ids=read_ids)  # fmt: skip
V1 = Api("Tempo v1", lambda trace_id: (f"/api/traces/{trace_id}", {}), partial(read_trace, False),
         ids_between=_search, ids=read_ids)  # fmt: skip
APIS = (V2, V1)


# --- protobuf's wire format --------------------------------------------------------------------------------


def _first_fields(message: bytes) -> list[bytes]:
    """The contents of field 1 of a message, which is all that is needed of TraceByIDResponse. Raises MalformedBody."""
    found: list[bytes] = []
    at = fields = 0
    while at < len(message):
        fields += 1
        if fields > MOST_DOCUMENTS:
            raise MalformedBody(f"the answer has more than {MOST_DOCUMENTS:,} parts")
        key, at = _varint(message, at)
        wire = key & 7
        if wire == _VARINT:
            _, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        elif wire == _BYTES:
            length, at = _varint(message, at)
            if key >> 3 == 1:
                found.append(message[at : at + length])
            at += length
        else:
            raise MalformedBody("the answer is not protobuf")
    if at > len(message):
        raise MalformedBody("the answer is cut off")
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise MalformedBody("the answer is not protobuf")
