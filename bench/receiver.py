"""How many spans a second the receiver takes on one core, and what it costs idle: `python bench/receiver.py`.

Wall-clock figures depend on what else this machine does; spans per CPU second of the child do not.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import httpx
import psutil
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from harness.spans import listen

SPANS_PER_POST = 512  # the batch of OpenTelemetry's own exporter
POSTS = 400
IDLE_S = 4.0


def a_body() -> bytes:
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    service = resource_spans.resource.attributes.add()
    service.key, service.value.string_value = "service.name", "reader"
    spans = resource_spans.scope_spans.add().spans
    now = time.time_ns()
    for number in range(SPANS_PER_POST):
        span = spans.add(trace_id=os.urandom(16), span_id=os.urandom(8), parent_span_id=os.urandom(8), kind=1)
        span.name, span.start_time_unix_nano, span.end_time_unix_nano = f"stage {number % 7}", now, now + 1_000_000
        for key, text in (("harness.stage", "inference"), ("model.name", "detector")):
            pair = span.attributes.add()
            pair.key, pair.value.string_value = key, text
        pair = span.attributes.add()
        pair.key, pair.value.int_value = "batch.size", number % 16
    body: bytes = request.SerializeToString()
    return body


def cpu_s(child: psutil.Process) -> float:
    times = child.cpu_times()
    return float(times.user + times.system)


def main() -> None:
    body = a_body()
    with tempfile.TemporaryDirectory() as folder:
        receiver = listen.start(listen.bind("127.0.0.1:0"), Path(folder))
        child = psutil.Process(receiver.pid)
        with httpx.Client(base_url=receiver.endpoint, headers={"content-type": "application/x-protobuf"}) as client:
            client.get("/healthz")
            used, began = cpu_s(child), time.perf_counter()
            for _ in range(POSTS):
                client.post("/v1/traces", content=body).raise_for_status()
            wall_s = time.perf_counter() - began
            receiver.drained(quiet_s=0.2, deadline_s=5)
            busy_s = cpu_s(child) - used
        idle = cpu_s(child)
        time.sleep(IDLE_S)
        idle = (cpu_s(child) - idle) / IDLE_S
        memory = child.memory_info().rss
        status = receiver.stop()
        size = (Path(folder) / listen.SPANS_FILE).stat().st_size
    spans = SPANS_PER_POST * POSTS
    print(f"spans stored          {status.spans:>10,} of {spans:,}, {status.rejected} rejected")
    print(f"spans per CPU second  {spans / busy_s:>10,.0f}")
    print(f"spans per second      {spans / wall_s:>10,.0f}  one connection, posts of {SPANS_PER_POST}")
    print(
        f"bytes per span        {size / spans:>10,.0f}  in the chunk file, {len(body) / SPANS_PER_POST:.0f} on the wire"
    )
    print(f"memory                {memory / 2**20:>10,.0f}  MiB")
    print(f"idle CPU              {idle:>10.2%}  of one core")


if __name__ == "__main__":
    main()
