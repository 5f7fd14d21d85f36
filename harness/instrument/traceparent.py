"""The W3C `traceparent` header, parsed by hand: no propagator, no current context, nothing that could leak in."""

from __future__ import annotations

import re
from typing import NamedTuple

# https://www.w3.org/TR/trace-context/#traceparent-header: lower-case hex, all-zero ids and version ff are invalid,
# a version above 00 may carry more fields.
_PATTERN = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class TraceParent(NamedTuple):
    """Who called: 128-bit trace id, 64-bit id of the caller's span, and whether the caller records."""

    trace_id: int
    span_id: int
    sampled: bool


def parse(value: bytes) -> TraceParent | None:
    """The caller's ids, or None when the header is not a valid traceparent."""
    found = _PATTERN.fullmatch(value) or _PATTERN.fullmatch(value.strip(b" \t"))
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    trace_id, span_id = int(trace, 16), int(span, 16)
    if not trace_id or not span_id:
        return None
    return TraceParent(trace_id, span_id, int(flags, 16) & 1 == 1)
