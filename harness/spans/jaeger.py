"""Jaeger's query API: v3 (`/api/v3/traces`, OTLP in JSON), else that of its web page (`/api/traces`), called legacy.

Both are asked for the spans as they were recorded: by default the query service moves spans that its clock-skew rule
takes for misplaced. v3 of Jaeger 1 and early 2 takes snake_case parameters, later ones prefer camelCase: both are sent,
and what is not known is ignored. The legacy API has microseconds, so that a span may seem to end up to 1 us outside its
parent; it is asked only where v3 does not answer. Other stores that speak one of the two (VictoriaTraces) are read the
same.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from harness.spans.otlp import Decoded, MalformedBody
from harness.spans.stored import SPAN_DIGITS, TRACE_DIGITS, Api, Query, documents, hex_id, merged, spans_of

_US_NS = 1_000
_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_KIND, _SCOPES = "span.kind", ("otel.scope.name", "otel.library.name")
_OWN_TAGS = {_KIND, *_SCOPES, "internal.span.format"}  # said elsewhere in OTLP
_VALUES = {"string": "stringValue", "bool": "boolValue", "int64": "intValue", "float64": "doubleValue",
           "binary": "bytesValue"}  # fmt: skip


# --- v3 ----------------------------------------------------------------------------------------------------


def read_v3(body: bytes, content_type: str) -> Decoded:
    """The spans of {"result": {"resourceSpans": [...]}}, once or several times in a row. Raises MalformedBody."""
    del content_type
    found = []
    for document in documents(body):
        chunk = document.get("result", document)
        spans = chunk.get("resourceSpans", []) if isinstance(chunk, dict) and "error" not in document else None
        if not isinstance(spans, list):
            raise MalformedBody("the answer holds no resourceSpans")
        found.append(spans_of(spans))
    return merged(found)


def _v3_trace(trace_id: str) -> Query:
    return f"/api/v3/traces/{trace_id}", {"rawTraces": "true", "raw_traces": "true"}


def _v3_search(service: str, from_ns: int, until_ns: int, limit: int) -> Query:
    after, before = _rfc3339(from_ns), _rfc3339(until_ns)
    return "/api/v3/traces", {
        "query.serviceName": service, "query.service_name": service,
        "query.startTimeMin": after, "query.start_time_min": after,
        "query.startTimeMax": before, "query.start_time_max": before,
        "query.searchDepth": str(limit), "query.search_depth": str(limit), "query.num_traces": str(limit),
        "query.rawTraces": "true", "query.raw_traces": "true",
    }  # fmt: skip


def _rfc3339(at_ns: int) -> str:
    seconds, rest = divmod(at_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


# --- legacy ------------------------------------------------------------------------------------------------


def read_legacy(body: bytes, content_type: str) -> Decoded:
    """The spans of {"data": [{"spans": [...], "processes": {...}}]}. Raises MalformedBody."""
    del content_type
    found = []
    for document in documents(body):
        traces = document.get("data")
        if traces is None and document.get("errors"):
            traces = []
        if not isinstance(traces, list) or not all(isinstance(trace, dict) for trace in traces):
            raise MalformedBody("the answer holds no list of traces")
        found += [spans_of(_resource_spans(trace)) for trace in traces]
    return merged(found)


def _legacy_trace(trace_id: str) -> Query:
    return f"/api/traces/{trace_id}", {"raw": "true"}


def _legacy_search(service: str, from_ns: int, until_ns: int, limit: int) -> Query:
    window = {"start": str(from_ns // _US_NS), "end": str(-(-until_ns // _US_NS))}
    return "/api/traces", {"service": service, "limit": str(limit), "raw": "true", **window}


def _resource_spans(trace: dict[str, Any]) -> list[Any]:
    """One trace as OTLP `resourceSpans`."""
    owners = trace.get("processes")
    owners = owners if isinstance(owners, dict) else {}
    groups: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for span in _dicts(trace.get("spans")):
        scopes = [tag.get("value") for tag in _dicts(span.get("tags")) if tag.get("key") in _SCOPES]
        groups[str(span.get("processID")), str(scopes[0]) if scopes else ""].append(_otlp_span(span))
    return [
        {
            "resource": {"attributes": _owner(owners.get(owner))},
            "scopeSpans": [{"scope": {"name": name}, "spans": all_}],
        }
        for (owner, name), all_ in groups.items()
    ]


def _owner(found: object) -> list[dict[str, Any]]:
    if not isinstance(found, dict):
        return []
    named = {"key": "service.name", "type": "string", "value": found.get("serviceName")}
    return _attributes([*_dicts(found.get("tags")), named])


def _otlp_span(span: dict[str, Any]) -> dict[str, Any]:
    tags = _dicts(span.get("tags"))
    references = _dicts(span.get("references"))
    start_us, length_us = _whole(span.get("startTime")), _whole(span.get("duration"))
    kinds = [_KINDS.get(str(tag.get("value")), 0) for tag in tags if tag.get("key") == _KIND]
    return {
        "traceId": hex_id(span.get("traceID"), TRACE_DIGITS),
        "spanId": hex_id(span.get("spanID"), SPAN_DIGITS),
        "parentSpanId": _parent(span, references),
        "name": span.get("operationName"),
        "kind": kinds[0] if kinds else 0,
        "startTimeUnixNano": start_us * _US_NS,
        "endTimeUnixNano": (start_us + length_us) * _US_NS,
        "attributes": _attributes([tag for tag in tags if tag.get("key") not in _OWN_TAGS]),
        "events": [event for log in _dicts(span.get("logs")) for event in _events(log)],
        "links": [_reference(r) for r in references if r.get("refType") == "FOLLOWS_FROM"],
    }


def _parent(span: dict[str, Any], references: list[dict[str, Any]]) -> object:
    """The first CHILD_OF in its own trace. Older versions have `parentSpanID` instead."""
    for reference in references:
        if reference.get("refType") == "CHILD_OF" and reference.get("traceID") == span.get("traceID"):
            return hex_id(reference.get("spanID"), SPAN_DIGITS)
    return hex_id(span.get("parentSpanID"), SPAN_DIGITS)


def _reference(reference: dict[str, Any]) -> dict[str, object]:
    return {
        "traceId": hex_id(reference.get("traceID"), TRACE_DIGITS),
        "spanId": hex_id(reference.get("spanID"), SPAN_DIGITS),
    }


def _events(log: dict[str, Any]) -> list[dict[str, object]]:
    names = [field.get("value") for field in _dicts(log.get("fields")) if field.get("key") == "event"]
    at_ns = _whole(log.get("timestamp")) * _US_NS
    return [{"name": name, "timeUnixNano": at_ns} for name in names if isinstance(name, str)]


def _attributes(tags: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tags as OTLP attributes. Integers beyond 2**53 come as text."""
    return [
        {"key": tag["key"], "value": {_VALUES.get(str(tag.get("type")), "stringValue"): tag.get("value")}}
        for tag in tags
        if isinstance(tag.get("key"), str) and tag.get("value") is not None
    ]


def _whole(value: object) -> int:
    """Microseconds; -1, which no span may have, for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def _dicts(items: object) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


V3 = Api("Jaeger v3", _v3_trace, read_v3, spans_between=_v3_search)
LEGACY = Api("Jaeger legacy", _legacy_trace, read_legacy, spans_between=_legacy_search)
APIS = (V3, LEGACY)
