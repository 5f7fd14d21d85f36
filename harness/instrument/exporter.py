"""Finished requests, encoded by us and posted by the official OTLP/HTTP exporter.

Endpoint, headers, timeout, compression, certificates and retries are the exporter's, as the environment sets them; only
its encoding is left out, where its client takes bytes. Where it does not, it gets `ReadableSpan` objects.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext

from harness.instrument.encode import encoded, preamble, request
from harness.instrument.spans import Finished, spans_of

POST_BYTES = 1 << 20
"""A post is closed when it reaches this size, however few spans that are: receivers refuse what is too large."""
SLICE_BYTES = 1 << 15
PAUSE_S = 0.0002
"""Encoding steps aside this often, else it would hold the interpreter, and so the event loop, for milliseconds."""

Entry = Finished | ReadableSpan
Post = Callable[[bytes], object]
"""Posts a body; returns what went wrong, or None."""


class Sent(NamedTuple):
    """What became of some spans: `failure` is None when the collector took them."""

    spans: int
    failure: object


Send = Callable[[Sequence[Entry]], Iterator[Sent]]


def sender(exporter: SpanExporter, provider: TracerProvider) -> Send:
    """What posts the spans of some entries, in as many posts as it takes, and says what became of each."""
    post = _post_of(exporter)
    head = b"" if post is None else _preamble(provider.resource)

    def send(entries: Sequence[Entry]) -> Iterator[Sent]:
        made = [entry for entry in entries if isinstance(entry, ReadableSpan)]
        finished = [entry for entry in entries if isinstance(entry, Finished)]
        if post is not None:
            yield from _encoded_and_posted(finished, head, post)
        else:
            for done in finished:
                made += spans_of(done, provider)
        if made:
            ended = exporter.export(made)
            yield Sent(len(made), None if ended is SpanExportResult.SUCCESS else "the exporter gave up")

    return send


def _encoded_and_posted(finished: Iterable[Finished], head: bytes, post: Post) -> Iterator[Sent]:
    fields: list[bytes] = []
    spans = size = since_pause = 0
    for done in finished:
        try:
            field = encoded(done)
        except Exception as error:
            yield Sent(done.spans, error)
            continue
        fields.append(field)
        spans += done.spans
        size += len(field)
        since_pause += len(field)
        if since_pause >= SLICE_BYTES:
            time.sleep(PAUSE_S)
            since_pause = 0
        if size >= POST_BYTES:
            yield Sent(spans, post(request(head, fields)))
            fields, spans, size = [], 0, 0
    if fields:
        yield Sent(spans, post(request(head, fields)))


def _post_of(exporter: SpanExporter) -> Post | None:
    """The exporter's own client; it is not public, so it may be missing or be something else."""
    export = getattr(getattr(exporter, "_client", None), "export", None)
    if not callable(export):
        return None

    def post(body: bytes) -> object:
        ended = export(body)
        if ended.success:
            return None
        return ended.error or ended.reason or ended.status_code or "no answer"

    return post


def _preamble(resource: Resource) -> bytes:
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    nobody = ReadableSpan("", context=SpanContext(1, 1, is_remote=False), resource=resource, start_time=0, end_time=0)
    (only,) = encode_spans([nobody]).resource_spans
    return preamble(only.resource.SerializeToString(), only.schema_url)
