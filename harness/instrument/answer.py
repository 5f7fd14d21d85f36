"""What a collector says of the spans it was sent. The official client takes every answer below 400 for consent and
keeps the body to itself; a redirect to a login page or a quota that is used up would count as exported.
"""

from __future__ import annotations

import json
from typing import Any

MAX_BODY_BYTES = 1 << 16
"""A longer answer is not looked into."""


class Watched:
    """The transport of an exporter's client, which remembers the last answer. Used by one thread at a time."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.last: Any = None

    @classmethod
    def around(cls, client: Any) -> Watched | None:
        """Put between a client and its transport; both are not public, so they may be something else."""
        transport = getattr(client, "_transport", None)
        if not callable(getattr(transport, "request", None)):
            return None
        client._transport = watched = cls(transport)
        return watched

    def request(self, *args: Any, **options: Any) -> Any:
        self.last = None
        self.last = self._transport.request(*args, **options)
        return self.last

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def refused(ended: Any, watched: Watched | None, spans: int) -> tuple[int, object]:
    """How many of `spans` the collector did not take, and why; `ended` is what the client says of the post."""
    if not ended.success:
        return spans, ended.error or ended.reason or ended.status_code or "no answer"
    status = ended.status_code
    if status is not None and not 200 <= status < 300:
        return spans, f"{status} {ended.reason or ''}".strip()
    answer, kind = _body(watched)
    if not answer:
        return 0, None
    if "html" in kind:
        return spans, "a web page answered, not a collector"
    if len(answer) > MAX_BODY_BYTES or kind.startswith("text/"):
        return 0, None
    try:
        lost, message = _rejected_in_json(answer) if "json" in kind else _rejected(answer)
    except Exception:
        return spans, "the answer is not one of a collector"
    return min(max(0, lost), spans), (message or "the collector refused some") if lost > 0 else None


def _body(watched: Watched | None) -> tuple[bytes, str]:
    """The last answer and its content type in lower case."""
    try:
        last = None if watched is None else watched.last
        if last is None:
            return b"", ""
        return last.content(), str(last.headers().get("content-type", "")).lower()
    except Exception:
        return b"", ""


def _rejected(answer: bytes) -> tuple[int, str]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    partial = ExportTraceServiceResponse.FromString(answer).partial_success
    return partial.rejected_spans, partial.error_message


def _rejected_in_json(answer: bytes) -> tuple[int, str]:
    partial = json.loads(answer).get("partialSuccess") or {}
    return int(partial.get("rejectedSpans", 0)), str(partial.get("errorMessage", ""))
