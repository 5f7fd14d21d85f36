"""A run as OTLP in JSON lines, as an OpenTelemetry collector reads and writes files: one trace request a line.

The service's spans are given as they were recorded, on the service's clock. Each request is a client span beside them:
their parent, which the service never saw. Ids are hexadecimal, integers of 64 bits text, enumerations numbers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import pyarrow as pa

from harness import __version__
from harness.export.rows import Batches, Ledger, Shift, requests, samples, spans
from harness.model import STAGES
from harness.run_folder import RunFolder
from harness.spans.otlp import KINDS

LINE_SPANS = 512
LINE_LENGTH = 1 << 20
"""A line ends after so many spans or characters: receivers have limits."""

Owner: TypeAlias = tuple[str | None, int | None, str]
"""Service, process and scope of a span."""

_INTEGERS = (
    ("harness.request_id", "request_id"), ("harness.step", "step"), ("http.response.status_code", "status"),
    ("harness.bytes_sent", "bytes_sent"), ("harness.bytes_received", "bytes_received"),
)  # fmt: skip
_TEXTS = (("harness.phase", "phase"), ("harness.worker", "worker"), ("harness.done_source", "done_source"))
_SECONDS = {
    stage: f'{{"key":"harness.stages.{stage}","value":{{"doubleValue":%s}}}}' for stage in STAGES
}  # fmt: skip
_HAPPENED = {
    f"{name}_ns": f'{{"timeUnixNano":"%d","name":"{name}"}}'
    for name in ("start", "resolved", "tcp", "connected", "send", "sent", "first_byte")
}
"""What is told of a request, and how: written out, because a run may have a million of them."""

_CLIENT, _ERROR = KINDS.index("client"), 2
_KIND_OF = {kind: number for number, kind in enumerate(KINDS)}
_LARGEST = 1 << 63
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def _to_json(text: str) -> str:
    """A JSON text that strict readers take: half a surrogate pair is none."""
    return _encode(text if text.isascii() else text.encode("utf-8", "replace").decode())


def lines(folder: RunFolder, request_ids: Sequence[int] | None = None, shift: Shift | None = None) -> Iterator[str]:
    """The spans of these requests, of all when None, and those of their batches; each line ends in a line break.

    With `shift` the service's spans are moved by it, e.g. onto the client's clock. Raises RunFolderError.
    """
    yield from _client_lines(folder, request_ids)
    asked, batches = None if request_ids is None else requests(folder, request_ids), Batches()
    for part in spans(folder, asked):
        if asked is not None:
            batches.note(part)
        yield from _service_lines(shift(part) if shift else part)
    found = batches.spans(folder)
    yield from _service_lines(shift(found) if shift else found)


# --- the client ------------------------------------------------------------------------------------------------------


def _client_lines(folder: RunFolder, request_ids: Sequence[int] | None) -> Iterator[str]:
    ledger = Ledger(folder, request_ids)
    resource = _pairs({"service.name": "harness", "service.version": __version__, "harness.run_id": folder.run_id})
    head, tail = _request_of(resource, "harness")
    for part in samples(folder, request_ids):
        for at in range(0, part.num_rows, LINE_SPANS):
            rows = part.slice(at, LINE_SPANS).to_pylist()
            stages = ledger.stages([row["request_id"] for row in rows])
            yield head + ",".join(_client_span(row, known) for row, known in zip(rows, stages, strict=True)) + tail


def _client_span(row: dict[str, Any], stages: Iterable[tuple[str, float]]) -> str:
    """From the instant it was scheduled until its answer was there; its steps are events."""
    why = _why_failed(row)
    attributes = [_integer(key, row[name]) for key, name in _INTEGERS if row[name] is not None]
    attributes += [_text(key, row[name]) for key, name in _TEXTS]
    attributes += [_SECONDS[stage] % repr(seconds) for stage, seconds in stages]
    events = [_HAPPENED[name] % row[name] for name in _HAPPENED if row[name] is not None]
    status = ""
    if why is not None:
        attributes.append(_text("error.type", why))
        status = f',"status":{{"code":{_ERROR},"message":{_to_json(why)}}}'
    return (
        f'{{"traceId":{_to_json(row["trace_id"])},"spanId":{_to_json(row["span_id"])},"name":{_name(row["name"])}'
        f',"kind":{_CLIENT},"startTimeUnixNano":"{row["scheduled_ns"]}"'
        f',"endTimeUnixNano":"{max(row["done_ns"], row["scheduled_ns"])}"'
        f',"attributes":[{",".join(attributes)}],"events":[{",".join(events)}]{status}}}'
    )


def _integer(key: str, value: int) -> str:
    return f'{{"key":"{key}","value":{{"intValue":"{value}"}}}}'


def _text(key: str, value: str) -> str:
    return f'{{"key":"{key}","value":{{"stringValue":{_name(value)}}}}}'


def _why_failed(row: dict[str, Any]) -> str | None:
    if row["error"] is not None:
        return str(row["error"])
    if row["censored"]:
        return "still in flight when the run ended"
    if row["failed_checks"] is not None:
        return f"failed check: {row['failed_checks']}"
    return None


# --- the service -----------------------------------------------------------------------------------------------------


def _service_lines(part: pa.Table) -> Iterator[str]:
    """Rows that follow each other and come from one process share a line."""
    columns = ("trace_id", "span_id", "parent_id", "name", "kind", "service", "pid", "start_ns", "end_ns", "attributes")
    found: dict[Owner, list[str]] = {}
    count = length = 0
    for trace, span, parent, name, kind, service, pid, start, end, attributes in zip(
        *(part.column(column).to_pylist() for column in columns), strict=True
    ):
        scope, rest = _kept(attributes) if attributes is None or len(attributes) < 512 else _parts_of(attributes)
        parent_id = f'"parentSpanId":{_to_json(parent)},' if parent else ""
        text = (
            f'{{"traceId":{_to_json(trace)},"spanId":{_to_json(span)},{parent_id}"name":{_name(name)}'
            f',"kind":{_KIND_OF.get(kind, 0)},"startTimeUnixNano":"{start}","endTimeUnixNano":"{end}"{rest}}}'
        )
        found.setdefault((service, pid, scope), []).append(text)
        count, length = count + 1, length + len(text)
        if count >= LINE_SPANS or length >= LINE_LENGTH:
            yield _line(found)
            found, count, length = {}, 0, 0
    if found:
        yield _line(found)


def _line(found: dict[Owner, list[str]]) -> str:
    resources = []
    for (service, pid, scope), texts in found.items():
        resource = _known({"service.name": service, "process.pid": pid})
        resources.append(_resource_spans(resource, scope, ",".join(texts)))
    return f'{{"resourceSpans":[{",".join(resources)}]}}\n'


def _resource_spans(resource: str, scope: str, texts: str) -> str:
    named = f'{{"name":{_to_json(scope)}}}' if scope else "{}"
    return f'{{"resource":{{"attributes":{resource}}},"scopeSpans":[{{"scope":{named},"spans":[{texts}]}}]}}'


def _request_of(resource: str, scope: str) -> tuple[str, str]:
    """What stands before and behind the spans of a line with one resource."""
    head, tail = _resource_spans(resource, scope, "\0").split("\0")
    return f'{{"resourceSpans":[{head}', f"{tail}]}}\n"


@lru_cache(4096)
def _name(name: str) -> str:
    return _to_json(name)


def _parts_of(attributes: str | None) -> tuple[str, str]:
    """The scope, and the members of a span that are stored among its attributes: attributes, events and links."""
    if attributes is None:
        return "", ""
    try:
        found = json.loads(attributes)
        if not isinstance(found, dict):
            raise ValueError("no object")
        scope = found.pop("otel.scope.name", "")
        happened, linked = found.pop("otel.events", ()), found.pop("otel.links", ())
        links = ",".join(f'{{"traceId":{_to_json(str(t))},"spanId":{_to_json(str(s))}}}' for t, s in linked)
        rest = f',"attributes":{_pairs(found)}' if found else ""
        rest += _events((str(name), int(at_ns)) for name, at_ns in happened)
        return str(scope), rest + (f',"links":[{links}]' if links else "")
    except (ValueError, TypeError, RecursionError):  # the folder was written by something else
        return "", f',"attributes":{_pairs({"harness.attributes": attributes})}'


_kept = lru_cache(8192)(_parts_of)


# --- values ----------------------------------------------------------------------------------------------------------


def _events(happened: Iterable[tuple[str, int]]) -> str:
    texts = ",".join(f'{{"timeUnixNano":"{at_ns}","name":{_to_json(name)}}}' for name, at_ns in happened)
    return f',"events":[{texts}]' if texts else ""


def _pairs(values: dict[str, Any]) -> str:
    """KeyValues."""
    texts = (f'{{"key":{_to_json(key)},"value":{_value(value)}}}' for key, value in values.items())
    return f"[{','.join(texts)}]"


def _known(values: dict[str, Any]) -> str:
    """KeyValues; what is missing is left out."""
    return _pairs({key: value for key, value in values.items() if value is not None})


def _value(value: object) -> str:
    """An AnyValue."""
    if isinstance(value, str):
        return f'{{"stringValue":{_to_json(value)}}}'
    if isinstance(value, bool):
        return f'{{"boolValue":{"true" if value else "false"}}}'
    if isinstance(value, int) and -_LARGEST <= value < _LARGEST:
        return f'{{"intValue":"{value}"}}'
    if isinstance(value, float) and math.isfinite(value):
        return f'{{"doubleValue":{value!r}}}'
    if isinstance(value, (int, float)):  # no number of the format
        return f'{{"stringValue":"{value}"}}'
    if isinstance(value, list):
        return f'{{"arrayValue":{{"values":[{",".join(map(_value, value))}]}}}}'
    if isinstance(value, dict):
        return f'{{"kvlistValue":{{"values":{_pairs(value)}}}}}'
    return "{}"
