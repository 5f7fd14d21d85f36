"""Finished requests, encoded by us and posted by the official OTLP/HTTP exporter.

Endpoint, headers, timeout, compression, certificates and retries are the exporter's, as the environment sets them; only
its encoding is left out, where its client takes bytes. Where it does not, it gets `ReadableSpan` objects.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext

from harness.instrument.answer import Watched, refused
from harness.instrument.encode import encoded, preamble, request
from harness.instrument.spans import Finished, spans_of

POST_BYTES = 1 << 20
"""A post is closed when it reaches this size, however few spans that are: receivers refuse what is too large."""
SLICE_BYTES = 1 << 15
PAUSE_S = 0.0002
"""Encoding steps aside this often, else it would hold the interpreter, and so the event loop, for milliseconds."""

Entry = Finished | ReadableSpan


class Parcel(NamedTuple):
    """Spans ready to be posted, as bytes: a collector that hangs must not keep the objects of requests alive, which
    every full garbage collection would have to walk through. `made` only where the exporter takes nothing else.
    """

    spans: int
    ours: bytes = b""  # fields of our `ScopeSpans`
    foreign: bytes = b""  # an `ExportTraceServiceRequest` of its own
    made: tuple[ReadableSpan, ...] = ()
    failure: object = None  # why these cannot be sent

    @property
    def size(self) -> int:
        return len(self.ours) + len(self.foreign) + sum(map(size_of, self.made))


class Sent(NamedTuple):
    """What became of a post: how many of its spans are lost, and why."""

    lost: int
    failure: object


class Sender(NamedTuple):
    """`pack` makes parcels of entries; `post` sends some parcels at once."""

    pack: Callable[[Sequence[Entry]], Iterator[Parcel]]
    post: Callable[[Sequence[Parcel]], Sent]


def size_of(entry: Entry) -> int:
    """About the memory that an entry takes: its strings, and a flat rate for the rest."""
    if not isinstance(entry, Finished):
        return 1_000
    marks = entry.marks
    size = 400 + 200 * len(marks) + len(entry.path) + len(entry.name) + len(entry.method)
    for mark in marks:
        size += len(mark.name)
        attributes = mark.attributes
        if attributes:
            for value in attributes.values():
                if type(value) is str:
                    size += len(value)
    return size


def sender(exporter: SpanExporter, provider: TracerProvider) -> Sender:
    """What sends spans by way of `exporter`, as bytes if its client takes them."""
    client = getattr(exporter, "_client", None)
    if not callable(getattr(client, "export", None)):
        return _of_objects(exporter, provider)
    watched = Watched.around(client)
    head = _preamble(provider.resource)

    def post(parcels: Sequence[Parcel]) -> Sent:
        spans = sum(parcel.spans for parcel in parcels)
        fields = [parcel.ours for parcel in parcels if parcel.ours]
        body = request(head, fields) if fields else b""
        body += b"".join(parcel.foreign for parcel in parcels)  # messages one behind the other are one message
        ended = client.export(body)  # type: ignore[union-attr]
        lost, failure = refused(ended, watched, spans)
        return Sent(lost, failure)

    return Sender(_packed, post)


def _of_objects(exporter: SpanExporter, provider: TracerProvider) -> Sender:
    def pack(entries: Sequence[Entry]) -> Iterator[Parcel]:
        for entry in entries:
            made = spans_of(entry, provider) if isinstance(entry, Finished) else [entry]
            yield Parcel(len(made), made=tuple(made))

    def post(parcels: Sequence[Parcel]) -> Sent:
        spans = [span for parcel in parcels for span in parcel.made]
        taken = exporter.export(spans) is SpanExportResult.SUCCESS
        return Sent(0, None) if taken else Sent(len(spans), "the exporter gave up")

    return Sender(pack, post)


def _packed(entries: Sequence[Entry]) -> Iterator[Parcel]:
    fields: list[bytes] = []
    spans = size = since_pause = 0
    for entry in entries:
        if not isinstance(entry, Finished):
            yield _foreign(entry)
            continue
        try:
            field = encoded(entry)
        except Exception as error:
            yield Parcel(entry.spans, failure=error)
            continue
        fields.append(field)
        spans += entry.spans
        size += len(field)
        since_pause += len(field)
        if since_pause >= SLICE_BYTES:
            time.sleep(PAUSE_S)
            since_pause = 0
        if size >= POST_BYTES:
            yield Parcel(spans, b"".join(fields))
            fields, spans, size = [], 0, 0
    if fields:
        yield Parcel(spans, b"".join(fields))


def _foreign(span: ReadableSpan) -> Parcel:
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    try:
        return Parcel(1, foreign=encode_spans([span]).SerializePartialToString())
    except Exception as error:
        return Parcel(1, failure=error)


def _preamble(resource: Resource) -> bytes:
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    nobody = ReadableSpan("", context=SpanContext(1, 1, is_remote=False), resource=resource, start_time=0, end_time=0)
    (only,) = encode_spans([nobody]).resource_spans
    return preamble(only.resource.SerializeToString(), only.schema_url)
