"""Where a service that we start sends its spans: a free port of ours, unless it was told another place."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from harness.model import SpanSpec
from harness.services.command import Start, parse_command
from harness.spans import arrive, listen

OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PLACES = (OTLP, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
_PROTOCOLS = (_PROTOCOL, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")


@contextmanager
def span_port(start: Start, spec: SpanSpec) -> Iterator[tuple[socket.socket | None, Mapping[str, str]]]:
    """A bound socket for the span receiver, and the environment that sends spans there; (None, {}) where neither is
    wanted. Where the scenario listens for gRPC alone, that is what the service is told.
    """
    told = os.environ.keys() | dict(parse_command(start.command).environment).keys()
    if told & set(_PLACES) or not arrive.wanted(spec):
        yield None, {}
        return
    if spec.listen is None:
        yield None, {OTLP: f"http://{spec.listen_grpc}", **_spoken("grpc", told)}
        return
    with listen.bind("127.0.0.1:0") as listener:
        host, port = listener.getsockname()[:2]
        yield listener, {OTLP: f"http://{host}:{port}", **_spoken("http/protobuf", told)}


def _spoken(protocol: str, told: set[str]) -> dict[str, str]:
    """Some exporters use gRPC unless they are told otherwise, and the port answers one protocol."""
    return {} if told & set(_PROTOCOLS) else {_PROTOCOL: protocol}
