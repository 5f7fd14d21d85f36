"""What trace stores have in common: how one is asked, and OTLP as JSON with whatever ids it writes.

OTLP/JSON wants hexadecimal ids. Stores that print their protobuf messages (Tempo, older Jaegers) write base64; some
call the list of spans `instrumentationLibrarySpans`, as OTLP did before 1.0, or leave out leading zeros.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from harness.spans.otlp import Decoded, MalformedBody, decode

JSON = "application/json"
TRACE_DIGITS, SPAN_DIGITS = 32, 16

MOST_DOCUMENTS = 100_000
"""Documents (or parts of a protobuf message) of one answer. An empty one takes two bytes and some microseconds."""
_MOST_HOLDERS, _MOST_MEMBERS = 4_000_000, 8_000_000
"""Objects and lists of one answer, and what separates their members: parsed, two bytes of text can be two hundred in
memory. 64 MiB of spans have half of each."""

Query: TypeAlias = tuple[str, dict[str, str]]
"""A path below the base URL of the store, and its parameters."""

_HEX = re.compile(r"[0-9a-fA-F]+")
_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Api:
    """One query API of a store. `read` makes spans of a body and its content type; it raises MalformedBody.

    With `spans_between` a search (service, from_ns, until_ns, limit) brings whole traces; with `ids_between` (from_ns,
    until_ns, limit) it brings their ids, which `ids` reads.
    """

    name: str
    trace: Callable[[str], Query]
    read: Callable[[bytes, str], Decoded]
    spans_between: Callable[[str, int, int, int], Query] | None = None
    ids_between: Callable[[int, int, int], Query] | None = None
    ids: Callable[[bytes], list[str]] | None = None


def documents(body: bytes) -> Iterator[dict[str, Any]]:
    """The JSON objects of a body, which may be several in a row. Raises MalformedBody."""
    check_parts(body)
    try:
        text = body.decode()
        at, count = _past_space(text, 0), 0
        while at < len(text):
            count += 1
            if count > MOST_DOCUMENTS:
                raise MalformedBody(f"the answer has more than {MOST_DOCUMENTS:,} parts")
            document, at = _DECODER.raw_decode(text, at)
            at = _past_space(text, at)
            if not isinstance(document, dict):
                raise MalformedBody("the answer is not a JSON object")
            yield document
    except (ValueError, RecursionError) as error:
        if isinstance(error, MalformedBody):
            raise
        raise MalformedBody("the answer is not JSON") from error


def check_parts(body: bytes) -> None:
    """Raise MalformedBody when parsing this JSON would take much more memory than spans of its size do."""
    if body.count(b"{") + body.count(b"[") > _MOST_HOLDERS or body.count(b",") > _MOST_MEMBERS:
        raise MalformedBody("the answer has too many parts")


def _past_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def spans_of(resource_spans: list[Any]) -> Decoded:
    """The spans of OTLP `resourceSpans`, already parsed, with ids in hexadecimal or base64. Raises MalformedBody."""
    plain = [_renamed(each) if isinstance(each, dict) else each for each in resource_spans]
    try:
        body = json.dumps({"resourceSpans": plain}).encode()
    except (RecursionError, ValueError) as error:
        raise MalformedBody("the answer is nested too deeply, or its numbers are too long") from error
    return decode(body, JSON)


def merged(parts: list[Decoded]) -> Decoded:
    """All of them as one."""
    return Decoded([row for part in parts for row in part.rows], sum(part.rejected for part in parts))


def _renamed(resource_spans: dict[str, Any]) -> dict[str, Any]:
    scopes = resource_spans.get("scopeSpans") or resource_spans.get("instrumentationLibrarySpans")
    return {"resource": resource_spans.get("resource"), "scopeSpans": _each(scopes, _scope)}


def _scope(scope: dict[str, Any]) -> dict[str, Any]:
    return {**scope, "spans": _each(scope.get("spans"), _span)}


def _span(span: dict[str, Any]) -> dict[str, Any]:
    return {**span, **_ids(span), "parentSpanId": hex_id(span.get("parentSpanId"), SPAN_DIGITS),
            "links": _each(span.get("links"), lambda link: {**link, **_ids(link)})}  # fmt: skip


def _ids(holder: dict[str, Any]) -> dict[str, object]:
    return {
        "traceId": hex_id(holder.get("traceId"), TRACE_DIGITS),
        "spanId": hex_id(holder.get("spanId"), SPAN_DIGITS),
    }


def _each(items: object, change: Callable[[dict[str, Any]], dict[str, Any]]) -> object:
    """A list with its objects changed; what is no such list is left for the decoder to refuse."""
    return [change(item) if isinstance(item, dict) else item for item in items] if isinstance(items, list) else items


def hex_id(value: object, digits: int) -> object:
    """An id in hexadecimal, padded: from hexadecimal, or from base64 of as many bytes. Anything else as it is."""
    if not isinstance(value, str) or not value or len(value) > digits:
        return value
    if _HEX.fullmatch(value):
        return value.lower().zfill(digits)
    try:
        raw = base64.b64decode(value.replace("-", "+").replace("_", "/") + "=" * (-len(value) % 4), validate=True)
    except ValueError:
        return value
    return raw.hex() if 2 * len(raw) == digits else value
