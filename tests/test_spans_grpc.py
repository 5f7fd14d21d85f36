"""OTLP over gRPC: the same child, the same rows, another transport."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from span_builders import a_body, a_metric, a_protobuf, counted, post, stored, until

from harness.chunks import read_chunks
from harness.errors import UsageError
from harness.model import Span
from harness.spans.grpc_receiver import METHODS
from harness.spans.listen import ReceiverProcess, ReceiverStatus, bind, bind_grpc, start

MIB = 2**20
TRACES, METRICS, LOGS = METHODS


@dataclass(frozen=True, slots=True)
class Running:
    process: ReceiverProcess
    channel: grpc.Channel
    folder: Path

    def export(self, body: bytes, method: str = TRACES, compression: grpc.Compression | None = None) -> bytes:
        call = self.channel.unary_unary(method)
        answer: bytes = call(body, timeout=20, compression=compression)
        return answer

    def refusal(self, body: bytes, method: str = TRACES) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.RpcError) as caught:
            self.export(body, method)
        return caught.value.code(), caught.value.details()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("run")
    process = start(bind("127.0.0.1:0"), folder, bind_grpc("127.0.0.1:0"))
    with grpc.insecure_channel((process.grpc_endpoint or "").removeprefix("http://")) as channel:
        yield Running(process, channel, folder)
    assert process.stop().error is None
    assert (folder / "receiver.log").read_text() == ""


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_spans_are_stored_and_counted(running: Running, compression: grpc.Compression) -> None:
    before = counted(running.process)

    assert running.export(a_body(70), compression=compression) == b""

    assert counted(running.process) == before + 70
    assert stored(running.folder) == before + 70


def test_spans_over_http_and_grpc_end_in_one_file(running: Running) -> None:
    before = counted(running.process)

    running.export(a_body(3))
    post(running.process, 4)

    assert counted(running.process) == stored(running.folder) == before + 7


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_spans_of_the_opentelemetry_sdk_arrive_whole(running: Running, compression: grpc.Compression) -> None:
    service = f"sdk {compression.name}"
    provider = TracerProvider(resource=Resource({"service.name": service}))
    exporter = OTLPSpanExporter(running.process.grpc_endpoint, insecure=True, compression=compression)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    for number in range(600):
        with provider.get_tracer("").start_as_current_span("child", attributes={"number": number}):
            pass
    provider.shutdown()

    counted(running.process)
    rows = read_chunks([running.folder / "spans.arrows"], Span).to_pylist()
    numbers = [json.loads(row["attributes"])["number"] for row in rows if row["service"] == service]
    assert sorted(numbers) == list(range(600))


def test_invalid_spans_are_reported_back(running: Running) -> None:
    partial = ExportTraceServiceResponse.FromString(running.export(a_protobuf(trace_id=b""))).partial_success

    assert (partial.rejected_spans, partial.error_message) == (1, "spans with invalid ids or times")


def test_metrics_are_kept_and_logs_dropped(running: Running) -> None:
    assert running.export(a_metric(), METRICS) == b""
    assert running.export(b"anything", LOGS) == b""

    until(lambda: (status := running.process.poll()) and status.points == 1)
    assert (running.folder / "vitals.arrows").exists()


@pytest.mark.parametrize(
    ("body", "method", "reason"),
    [
        (b"\x07", TRACES, "the body is not an OTLP trace request in protobuf"),
        (b"\x07", METRICS, "the body is not an OTLP metrics request in protobuf"),
        (gzip.compress(b"")[:-4], TRACES, "the gzip body is cut off"),
        (b"\x1f\x8bnot", TRACES, "the body is not gzip, as its Content-Encoding says"),
    ],
    ids=["traces", "metrics", "torn gzip", "no gzip"],
)
def test_what_cannot_be_read_is_an_invalid_argument(running: Running, body: bytes, method: str, reason: str) -> None:
    assert running.refusal(body, method) == (grpc.StatusCode.INVALID_ARGUMENT, reason)


def test_a_message_over_the_limit_exhausts_the_resource_on_the_wire_and_inflated(running: Running) -> None:
    code, _ = running.refusal(bytes(65 * MIB))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED

    assert running.refusal(gzip.compress(bytes(65 * MIB), 1)) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "the inflated body is larger than 64 MiB",
    )


def test_large_messages_leave_no_memory_behind(running: Running) -> None:
    def resident_mib() -> float:
        return int(Path(f"/proc/{running.process.pid}/statm").read_text().split()[1]) / 256

    running.export(bytes(20 * MIB), LOGS)
    before = resident_mib()
    for _ in range(12):
        running.export(bytes(20 * MIB), LOGS)

    assert resident_mib() < before + 120


def test_other_methods_and_other_compression_are_unimplemented(running: Running) -> None:
    assert running.refusal(b"", "/some.Service/Export")[0] == grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(grpc.RpcError) as caught:
        running.export(b"x" * 1000, compression=grpc.Compression.Deflate)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


# --- the port ----------------------------------------------------------------------------------------------


def test_without_grpc_nothing_of_it_is_loaded(tmp_path: Path) -> None:
    process = start(bind("127.0.0.1:0"), tmp_path)
    post(process, 1)
    mapped = Path(f"/proc/{process.pid}/maps").read_text()
    process.stop()

    assert process.grpc_endpoint is None
    assert "pyarrow" in mapped
    assert "grpc" not in mapped


def test_a_port_that_is_taken_is_refused_and_a_free_one_named() -> None:
    with bind("127.0.0.1:0") as taken, pytest.raises(UsageError) as caught:
        bind_grpc(f"127.0.0.1:{taken.getsockname()[1]}")

    assert "is taken" in caught.value.message
    assert "leave `listen_grpc` out of spans, or write `listen_grpc: 127.0.0.1:" in (caught.value.hint or "")


def test_a_kept_port_is_refused_to_anybody_else() -> None:
    port = bind_grpc("127.0.0.1:0")
    with port.kept, pytest.raises(UsageError, match="is taken"):
        bind_grpc(f"127.0.0.1:{port.port}")


def test_a_port_in_use_by_a_running_receiver_is_refused(running: Running) -> None:
    running.export(b"")  # it has bound the port by now, and does not let anybody share it
    with pytest.raises(UsageError, match="is taken"):
        bind_grpc((running.process.grpc_endpoint or "").removeprefix("http://"))


def test_the_port_is_served_as_soon_as_the_receiver_is_there(tmp_path: Path) -> None:
    process = start(bind("127.0.0.1:0"), tmp_path, bind_grpc("127.0.0.1:0"))
    with grpc.insecure_channel((process.grpc_endpoint or "").removeprefix("http://")) as channel:
        channel.unary_unary(TRACES)(a_body(2), timeout=20, wait_for_ready=False)

    assert process.stop().spans == 2


def test_ipv6_is_served_as_well(tmp_path: Path) -> None:
    process = start(bind("[::1]:0"), tmp_path, bind_grpc("[::1]:0"))
    with grpc.insecure_channel((process.grpc_endpoint or "").removeprefix("http://")) as channel:
        channel.unary_unary(TRACES)(a_body(2), timeout=20)

    assert process.stop().spans == 2


def test_a_grpc_port_that_is_lost_is_said_and_http_goes_on(tmp_path: Path) -> None:
    port = bind_grpc("127.0.0.1:0")
    port.kept.close()
    with bind(f"127.0.0.1:{port.port}"), socket.socket() as other:
        process = start(bind("127.0.0.1:0"), tmp_path, type(port)(port.host, port.port, other))
        assert (process.poll() or ReceiverStatus()).error
        post(process, 2)

        status = process.stop()

    assert (status.error or "").startswith(f"no spans are received over gRPC on 127.0.0.1:{port.port}: ")
    assert (status.spans, status.ended) == (2, True)


def test_silent_calls_do_not_shut_out_others(running: Running) -> None:
    said = threading.Event()

    def silent() -> Iterator[bytes]:
        said.wait(60)
        yield b""

    calls = [running.channel.stream_unary(TRACES).future(silent(), timeout=60) for _ in range(8)]
    time.sleep(0.5)
    try:
        assert running.export(a_body(1)) == b""
        codes = {call.code() for call in calls if call.done()}
        assert codes <= {grpc.StatusCode.DEADLINE_EXCEEDED}
    finally:
        said.set()
        for call in calls:
            call.cancel()
