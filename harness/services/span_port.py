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


@contextmanager
def span_port(start: Start, spec: SpanSpec) -> Iterator[tuple[socket.socket | None, Mapping[str, str]]]:
    """A bound socket for the span receiver, and the environment that sends spans there; (None, {}) where neither is
    wanted.
    """
    told = OTLP in os.environ or OTLP in dict(parse_command(start.command).environment)
    if told or not arrive.wanted(spec):
        yield None, {}
        return
    with listen.bind("127.0.0.1:0") as listener:
        host, port = listener.getsockname()[:2]
        yield listener, {OTLP: f"http://{host}:{port}"}
