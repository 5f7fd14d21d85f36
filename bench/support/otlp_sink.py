"""A collector that only counts: `otlp_sink.py PORT`. POST /v1/...: taken; GET /spans: spans per service, as JSON."""

from __future__ import annotations

import json
import sys
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SPANS: Counter[str] = Counter()


class Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path.endswith("/traces"):
            for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
                names = {pair.key: pair.value.string_value for pair in resource_spans.resource.attributes}
                service = names.get("service.name", "")
                SPANS[service] += sum(len(scope.spans) for scope in resource_spans.scope_spans)
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(json.dumps(SPANS).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Sink).serve_forever()
