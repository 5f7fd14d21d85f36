"""How the services of the acceptance tests are served, and plain OpenTelemetry set up as its documentation shows it."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

READY = "ready on "


def serve(app: Any) -> None:
    """Serve on a free loopback port until SIGTERM; says `ready on URL` on standard output first."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock:
        print(f"{READY}http://127.0.0.1:{sock.getsockname()[1]}", flush=True)  # noqa: T201 - to whom started us
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[sock])


def tracer_provider(service: str, exporters: list[str]) -> TracerProvider:
    """The global provider of this process; every `http=URL` or `grpc=URL` gets all spans."""
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    for exporter in exporters:
        kind, _, url = exporter.partition("=")
        provider.add_span_processor(
            BatchSpanProcessor(_exporter(kind, url), max_queue_size=20_000, schedule_delay_millis=200)
        )
    trace.set_tracer_provider(provider)
    return provider


def _exporter(kind: str, url: str) -> SpanExporter:
    if kind == "http":
        return OTLPSpanExporter(endpoint=f"{url}/v1/traces")
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

    return GrpcExporter(endpoint=url, insecure=True)
