"""The W3C `traceparent` header, parsed by hand: no propagator, no current context, nothing that could leak in."""

from __future__ import annotations

import re
from typing import NamedTuple

# https://www.w3.org/TR/trace-context/#traceparent-header: lower-case hex, all-zero ids and version ff are invalid,
# a version above 00 may carry more fields.
_PATTERN = re.compile(
    rb"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})(?P<span>[0-9a-f]{16})"
    rb"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)


class TraceParent(NamedTuple):
    """Who called: 128-bit trace id, 64-bit id of the caller's span, and whether the caller records."""

    trace_id: int
    span_id: int
    sampled: bool


def parse(value: bytes) -> TraceParent | None:
    """The caller's ids, or None when the header is not a valid traceparent."""
    found = _PATTERN.fullmatch(value.strip(b" \t"))
    if found is None or (found["more"] is not None and found["version"] == b"00"):
        return None
    return TraceParent(int(found["trace"], 16), int(found["span"], 16), bool(int(found["flags"], 16) & 1))
