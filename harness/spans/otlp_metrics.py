"""OTLP metrics requests, protobuf or JSON, -> rows of vitals: the points of gauges and sums. Pure.

Histograms and summaries are no single figure: they are passed over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from harness.spans.otlp import Encoding
from harness.spans.otlp_values import (
    INT64_MAX,
    MOST_PARTS,
    NAME_LENGTH,
    MalformedBody,
    Owner,
    fragments,
    integer,
    joined,
    json_object,
    json_pairs,
    limited,
    member,
    members,
    number,
    owner_of,
    plain_pairs,
    text,
    to_json,
)

VitalRow: TypeAlias = tuple[
    int, str | None, int | None, str, float, str, str | None
]  # the fields of model.Vital, in order

_UNIT_LENGTH = 63  # what OpenTelemetry allows
_ATTRIBUTES_LENGTH = 4096
_NO_RECORDED_VALUE = 1  # the flag of a point that only says its series has ended


@dataclass(frozen=True, slots=True)
class Points:
    """The usable points of one body as rows in the field order of model.Vital, and how many were not usable."""

    rows: list[VitalRow]
    rejected: int


def decode(body: bytes, encoding: Encoding) -> Points:
    """The number points of an ExportMetricsServiceRequest. Raises MalformedBody when the body cannot be read as one.

    Points that cannot be used (no time, no finite value, a name or attributes beyond all measure) are counted.
    """
    read = list(_from_protobuf(body) if encoding == "protobuf" else _from_json(body))
    rows = [row for row in read if row is not None]
    return Points(rows, len(read) - len(rows))


def _row(at_ns: int, owner: Owner, name: str, value: float, unit: str, attributes: str | None) -> VitalRow | None:
    if not 0 < at_ns <= INT64_MAX or not math.isfinite(value) or not 0 < len(name) <= NAME_LENGTH:
        return None
    if attributes is not None and len(attributes) > _ATTRIBUTES_LENGTH:
        return None
    return at_ns, owner[0], owner[1], name, value, unit[:_UNIT_LENGTH], attributes


def _from_protobuf(body: bytes) -> Iterator[VitalRow | None]:
    request = ExportMetricsServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise MalformedBody("the body is not an OTLP metrics request in protobuf") from error
    room = limited(MOST_PARTS, len(request.resource_metrics))
    for resource_metrics in request.resource_metrics:
        owner = owner_of(plain_pairs(resource_metrics.resource.attributes))
        room = limited(room, len(resource_metrics.scope_metrics))
        for scope_metrics in resource_metrics.scope_metrics:
            room = limited(room, len(scope_metrics.metrics))
            for metric in scope_metrics.metrics:
                kind = metric.WhichOneof("data")
                if kind in ("gauge", "sum"):
                    yield from _protobuf_points(getattr(metric, kind).data_points, owner, metric.name, metric.unit)


def _protobuf_points(points: Any, owner: Owner, name: str, unit: str) -> Iterator[VitalRow | None]:
    for point in points:
        which = point.WhichOneof("value")
        if which is None or point.flags & _NO_RECORDED_VALUE:
            continue
        value = float(point.as_int if which == "as_int" else point.as_double)
        yield _row(point.time_unix_nano, owner, name, value, unit, joined(fragments(point.attributes)))


def _from_json(body: bytes) -> Iterator[VitalRow | None]:
    request = json_object(body)
    for resource_metrics in members(request, "resourceMetrics"):
        owner = owner_of(json_pairs(members(member(resource_metrics, "resource"), "attributes")))
        for scope_metrics in members(resource_metrics, "scopeMetrics"):
            for metric in members(scope_metrics, "metrics"):
                for kind in ("gauge", "sum"):
                    points = members(member(metric, kind), "dataPoints")
                    yield from _json_points(points, owner, text(metric, "name"), text(metric, "unit"))


def _json_points(points: list[dict[str, Any]], owner: Owner, name: str, unit: str) -> Iterator[VitalRow | None]:
    for point in points:
        if integer(point.get("flags"), "flags") & _NO_RECORDED_VALUE:
            continue
        if point.get("asInt") is not None:
            value = number(integer(point["asInt"], "asInt"), "asInt")
        elif point.get("asDouble") is not None:
            value = number(point["asDouble"], "asDouble")
        else:
            continue
        attributes = json_pairs(members(point, "attributes"))
        at_ns = integer(point.get("timeUnixNano"), "timeUnixNano")
        yield _row(at_ns, owner, name, value, unit, to_json(attributes) if attributes else None)
