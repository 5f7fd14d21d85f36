"""How many spans a second the receiver takes on one core, without losing any: `python bench/receiver.py`.

Receiver on one core, sender on another. Wall-clock figures depend on what else this machine does; spans per CPU second
of the receiver do not, so the promise is about these. `FULL=1` sends ten million spans to see what memory does.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import grpc
import psutil
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support import cores, table

from harness.chunks import read_chunks
from harness.model import Span
from harness.spans import listen
from harness.spans.grpc_receiver import METHODS

SPANS_PER_POST = 512  # the batch of OpenTelemetry's own exporter
BODIES = 64  # different ones, sent in turn
POSTS = 320
LEAST = 50_000  # spans per CPU second
MOST_MIB = 300
TEN_MILLION = 10_000_000
MEMORY_SPANS = TEN_MILLION if cores.FULL else 1_600_000
IDLE_S = 4.0

PROTOBUF, JSON = {"content-type": "application/x-protobuf"}, {"content-type": "application/json"}
GZIP = {**PROTOBUF, "content-encoding": "gzip"}
Sender = Callable[[listen.ReceiverProcess, list[bytes]], None]


def a_request() -> ExportTraceServiceRequest:
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
        pair = span.attributes.add()  # one that no two spans share
        pair.key, pair.value.int_value = "thread.cpu_ns", int.from_bytes(os.urandom(3), "big")
    return request


def as_json(request: ExportTraceServiceRequest) -> bytes:
    content = MessageToDict(request, use_integers_for_enums=True)
    for written, span in zip(
        content["resourceSpans"][0]["scopeSpans"][0]["spans"],
        request.resource_spans[0].scope_spans[0].spans,
        strict=True,
    ):
        written |= {"traceId": span.trace_id.hex(), "spanId": span.span_id.hex()}
        written["parentSpanId"] = span.parent_span_id.hex()
    return json.dumps(content).encode()


def over_http(headers: dict[str, str], connections: int) -> Sender:
    def send(receiver: listen.ReceiverProcess, bodies: list[bytes]) -> None:
        def some(mine: list[bytes]) -> None:
            connection = HTTPConnection(receiver.endpoint.removeprefix("http://"), timeout=60)
            for body in mine:
                connection.request("POST", "/v1/traces", body, headers)
                answer = connection.getresponse()
                assert (answer.status, answer.read()) in ((200, b""), (200, b"{}"))
            connection.close()

        in_threads([lambda n=n: some(bodies[n::connections]) for n in range(connections)])  # type: ignore[misc]

    return send


def over_grpc(connections: int) -> Sender:
    def send(receiver: listen.ReceiverProcess, bodies: list[bytes]) -> None:
        def some(mine: list[bytes]) -> None:
            target = (receiver.grpc_endpoint or "").removeprefix("http://")
            with grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                export = channel.unary_unary(next(iter(METHODS)))
                for body in mine:
                    assert export(body, wait_for_ready=True, timeout=60) == b""

        in_threads([lambda n=n: some(bodies[n::connections]) for n in range(connections)])  # type: ignore[misc]

    return send


def in_threads(calls: list[Callable[[], None]]) -> None:
    failed: list[BaseException] = []

    def guarded(call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def cpu_s(child: psutil.Process) -> float:
    times = child.cpu_times()
    return float(times.user + times.system)


@contextmanager
def a_receiver(with_grpc: bool) -> Iterator[tuple[listen.ReceiverProcess, psutil.Process, Path]]:
    with tempfile.TemporaryDirectory() as folder:
        port = listen.bind_grpc("127.0.0.1:0") if with_grpc else None
        receiver = listen.start(listen.bind("127.0.0.1:0"), Path(folder), port)
        child = psutil.Process(receiver.pid)
        for thread in child.threads():
            cores.pin(thread.id, cores.SERVER)
        try:
            yield receiver, child, Path(folder)
        finally:
            receiver.stop()


def measured(send: Sender, bodies: list[bytes], with_grpc: bool) -> tuple[float, float, int, int]:
    """(spans per CPU second, spans per second, sent, stored)."""
    with a_receiver(with_grpc) as (receiver, child, folder):
        send(receiver, bodies[:8])  # whatever is loaded with the first of them
        receiver.drained(quiet_s=0.1, deadline_s=5)
        used, began = cpu_s(child), time.perf_counter()
        send(receiver, bodies)
        wall_s = time.perf_counter() - began
        receiver.drained(quiet_s=0.0, deadline_s=20)
        busy_s = cpu_s(child) - used
        status = receiver.stop()
        assert status.error is None, status.error
        stored = read_chunks([folder / listen.SPANS_FILE], Span).num_rows
    sent = SPANS_PER_POST * len(bodies)
    return sent / busy_s, sent / wall_s, sent + SPANS_PER_POST * 8, stored


def speed(requests: list[ExportTraceServiceRequest]) -> bool:
    protobuf = [request.SerializeToString() for request in requests]
    zipped = [gzip.compress(body, 6) for body in protobuf]
    in_json = [as_json(request) for request in requests]
    ways = {
        "protobuf, 1 connection": (over_http(PROTOBUF, 1), protobuf, False),
        "protobuf, 8 connections": (over_http(PROTOBUF, 8), protobuf, False),
        "protobuf gzipped, 8 connections": (over_http(GZIP, 8), zipped, False),
        "gRPC, 1 connection": (over_grpc(1), protobuf, True),
        "gRPC, 8 connections": (over_grpc(8), protobuf, True),
        "JSON, 8 connections": (over_http(JSON, 8), in_json, False),
    }
    rows: list[list[str]] = []
    holds = True
    for name, (send, bodies, with_grpc) in ways.items():
        per_cpu_s, per_s, sent, stored = measured(send, (bodies * (POSTS // BODIES)), with_grpc)
        size = len(bodies[0]) / SPANS_PER_POST
        rows.append([name, f"{per_cpu_s:,.0f}", f"{per_s:,.0f}", f"{stored:,} of {sent:,}", f"{size:.0f}"])
        holds = holds and stored == sent and (name.startswith("JSON") or per_cpu_s >= LEAST)
    table.show(["", "spans per CPU s", "per second", "stored", "bytes per span"], rows)
    return table.line(f"at least {LEAST:,} spans per CPU second (JSON: as it comes), none lost", holds)


def memory(bodies: list[bytes]) -> bool:
    """Memory over many spans; what ten million would take if it went on growing as in the second half."""
    send = over_http(PROTOBUF, 8)
    with a_receiver(False) as (receiver, child, folder):
        send(receiver, bodies[:1])  # answered: it has started
        idle = cpu_s(child)
        time.sleep(IDLE_S)
        idle = (cpu_s(child) - idle) / IDLE_S
        seen: list[tuple[int, float]] = []
        spans = 0
        while spans < MEMORY_SPANS:
            send(receiver, bodies * 2)
            spans += SPANS_PER_POST * len(bodies) * 2
            seen.append((spans, child.memory_info().rss / 2**20))
        status = receiver.stop()
        size = (folder / listen.SPANS_FILE).stat().st_size
    (half, mib_half), (last, mib_last) = seen[len(seen) // 2], seen[-1]
    per_million = max(0.0, (mib_last - mib_half) / (last - half) * 1e6)
    at_ten = max(mib for _, mib in seen) + per_million * max(0, TEN_MILLION - last) / 1e6
    steps = ", ".join(f"{mib:.0f} at {n / 1e6:.1f} M" for n, mib in seen[:: max(1, len(seen) // 6)])
    print(f"idle: {idle:.2%} of a core; {size / status.spans:.0f} bytes per span in the chunk file; MiB: {steps}")
    how = (
        "measured"
        if last >= TEN_MILLION
        else f"{last / 1e6:.1f} million measured, the growth of the second half drawn on"
    )
    return table.line(f"{at_ten:.0f} MiB for ten million spans ({how}); at most {MOST_MIB}", at_ten <= MOST_MIB)


def main() -> None:
    cores.headline()
    os.sched_setaffinity(0, {cores.GENERATOR})
    print(f"receiver on core {cores.SERVER}, sender on core {cores.GENERATOR}; load average {os.getloadavg()[0]:.2f}")
    requests = [a_request() for _ in range(BODIES)]
    fast = speed(requests)
    lean = memory([request.SerializeToString() for request in requests])
    sys.exit(not (fast and lean))


if __name__ == "__main__":
    main()
