"""Waiting for received spans: for what, how long, and what is said when it was not long enough."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from harness.chunks import ChunkWriter
from harness.errors import UsageError
from harness.interrupt import Interrupt
from harness.load.trace_ids import TRACE, traceparents
from harness.model import Sample, Span, SpanSpec
from harness.spans import arrive, listen
from harness.spans.arrive import Awaited, await_received, deadline_s, warnings_of
from harness.spans.asked import Asked, Progress, asked_traces
from harness.spans.listen import ReceiverProcess, ReceiverStatus
from harness.spans.tail import Tail
from tests.builders import a_root, a_sample, a_span, at, trace
from tests.span_builders import send


def written(folder: Path, *samples: Sample) -> list[Path]:
    path = folder / "samples-0.arrows"
    with contextlib.closing(ChunkWriter(path, Sample)) as writer:
        for sample in samples:
            writer.append(astuple(sample))
            writer.flush()
    return [path]


def progress_of(folder: Path, asked: list[str], *spans: Span) -> Progress:
    path = folder / "spans.arrows"
    with contextlib.closing(ChunkWriter(path, Span)) as writer:
        writer.append_all([astuple(span) for span in spans])
    progress = Progress(asked_of(*asked).traces)
    progress.take(Tail(path).new())
    return progress


def asked_of(*trace_ids: str, without_header: int = 1) -> Asked:
    return Asked(pa.array(trace_ids, pa.string()), without_header, (at(0), at(100)))


# --- what is waited for ------------------------------------------------------------------------------------


def test_only_answered_requests_are_waited_for(tmp_path: Path) -> None:
    lost = a_sample(1, status=None, error="timed out", done_ns=at(300))
    paths = written(tmp_path, a_sample(0), lost, a_sample(2, server_timing="app;dur=1", start_ns=at(-5)))
    asked = asked_traces(paths, 1.0)

    assert asked.traces.to_pylist() == [trace(0), trace(2)]
    assert (asked.without_header, asked.window) == (1, (at(-5), at(300)))


def test_only_requests_that_asked_to_be_recorded_are_waited_for(tmp_path: Path) -> None:
    lines = traceparents("a-run", "0", 0.3)
    drawn = [next(lines).decode() for _ in range(400)]
    paths = written(tmp_path, *(a_sample(n, trace_id=line[TRACE]) for n, line in enumerate(drawn)))
    recorded = [line[TRACE] for line in drawn if line.endswith("01")]

    assert asked_traces(paths, 0.3).traces.to_pylist() == recorded
    assert 80 < len(recorded) < 160
    assert len(asked_traces(paths, 0.0)) == 0


def test_a_run_without_requests_asks_for_nothing(tmp_path: Path) -> None:
    asked = asked_traces(written(tmp_path), 1.0)

    assert (len(asked), asked.without_header, asked.window) == (0, 0, None)


@pytest.mark.parametrize(
    ("spans", "whole"),
    [
        ((), 0),
        ((a_span("work", 1, 2),), 0),  # a child without its root
        ((a_root(),), 1),  # plain OpenTelemetry: the root comes last
        ((a_root(attributes={"harness.spans": 2}), a_span("a", 1, 2)), 0),
        ((a_root(attributes={"harness.spans": 2}), a_span("a", 1, 2), a_span("b", 2, 3)), 1),
        ((a_span("a", 1, 2), a_root(attributes={"harness.spans": 1}), a_root(1, 99, span_id="b" * 16)), 1),
        ((a_root(number=7),), 0),  # of another run
    ],
)
def test_a_trace_is_whole_with_its_root_and_what_that_announces(
    spans: tuple[Span, ...], whole: int, tmp_path: Path
) -> None:
    assert progress_of(tmp_path, [trace(0)], *spans).whole == whole


def test_plain_spans_of_several_services_leave_a_doubt(tmp_path: Path) -> None:
    other = a_span("work", 1, 2, service="other")

    assert progress_of(tmp_path, [trace(0)], a_root(), a_span("a", 1, 2)).sure
    assert not progress_of(tmp_path, [trace(0)], a_root(), other).sure
    assert progress_of(tmp_path, [trace(0)], a_root(attributes={"harness.spans": 0}), other).sure


def test_the_shares_of_a_trace_add_up_over_several_looks(tmp_path: Path) -> None:
    progress = Progress(asked_of(trace(0)).traces)
    path = tmp_path / "spans.arrows"
    tail = Tail(path)
    progress.take(tail.new())  # no file yet
    with contextlib.closing(ChunkWriter(path, Span)) as writer:
        for span in (a_span("a", 1, 2), a_root(attributes={"harness.spans": 1})):
            assert progress.whole == 0
            writer.append(astuple(span))
            writer.flush()
            progress.take(tail.new())

    assert progress.whole == progress.begun == 1


def test_a_tail_gives_each_batch_once_and_none_that_is_cut_off(tmp_path: Path) -> None:
    whole, growing = tmp_path / "whole", tmp_path / "growing"
    with contextlib.closing(ChunkWriter(whole, Span)) as writer:
        for _ in range(3):
            writer.append(astuple(a_root()))
            writer.flush()
    content, tail, given = whole.read_bytes(), Tail(growing), 0
    for cut in range(0, len(content) + 1, 97):
        growing.write_bytes(content[:cut])
        given += sum(batch.num_rows for batch in tail.new())
    growing.write_bytes(content)

    assert given + sum(batch.num_rows for batch in tail.new()) == 3
    assert tail.new() == []


# --- waiting -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def receiver(run_dir: Path) -> Iterator[ReceiverProcess]:
    """One for all tests, which therefore use other traces each."""
    child = listen.start(listen.bind("127.0.0.1:0"), run_dir)
    yield child
    child.stop()


def export(receiver: ReceiverProcess, number: int, *, root: bool = True, children: int = 0) -> None:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    common: dict[str, Any] = {
        "trace_id": bytes.fromhex(trace(number)),
        "start_time_unix_nano": 1,
        "end_time_unix_nano": 2,
    }
    for child in range(children):
        spans.add(span_id=(child + 2).to_bytes(8, "big"), kind=1, **common)
    if root:
        spans.add(span_id=b"\0" * 7 + b"\1", kind=2, **common)
    assert send(receiver.endpoint, request.SerializeToString())[0] == 200


def waited(receiver: ReceiverProcess, run_dir: Path, asked: Asked, run_s: float = 60.0, **more: Any) -> Awaited:
    return await_received(receiver, run_dir, asked, run_s, Interrupt(), lambda event: None, **more)


def test_a_service_that_exported_nothing_all_the_time_is_not_waited_for(
    receiver: ReceiverProcess, run_dir: Path
) -> None:
    assert waited(receiver, run_dir, asked_of(trace(0)), run_s=60.0).waited_s < 4
    assert waited(receiver, run_dir, asked_of(trace(0), without_header=0), run_s=0.0).waited_s < 4


def test_nothing_is_waited_for_when_all_is_there(receiver: ReceiverProcess, run_dir: Path) -> None:
    for number in (10, 11, 12):
        export(receiver, number)
    found = waited(receiver, run_dir, asked_of(trace(10), trace(11), trace(12)))

    assert (found.asked, found.whole, found.late) == (3, 3, False)
    assert found.waited_s < 4


def test_what_is_on_its_way_is_waited_for(receiver: ReceiverProcess, run_dir: Path) -> None:
    export(receiver, 20)
    timer = threading.Timer(1.5, lambda: export(receiver, 21))
    timer.start()
    found = waited(receiver, run_dir, asked_of(trace(20), trace(21)))
    timer.join()

    assert found.whole == 2


def test_spans_that_never_come_are_waited_for_one_export_interval(
    receiver: ReceiverProcess, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrive, "EXPORT_INTERVAL_S", 1.2)
    export(receiver, 30)
    found = waited(receiver, run_dir, asked_of(trace(30), trace(31)))

    assert (found.whole, found.late) == (1, False)
    assert found.waited_s < 6


def test_spans_of_other_clients_are_no_news(
    receiver: ReceiverProcess, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrive, "EXPORT_INTERVAL_S", 1.2)
    export(receiver, 60)
    over = threading.Event()

    def others() -> None:
        number = 1000
        while not over.wait(0.3):
            number += 1
            export(receiver, number)

    client = threading.Thread(target=others)
    client.start()
    try:
        found = waited(receiver, run_dir, asked_of(trace(60), trace(61)))
    finally:
        over.set()
        client.join()

    assert (found.whole, found.late) == (1, False)
    assert found.waited_s < 8


def test_spans_that_still_come_at_the_deadline_are_a_warning(receiver: ReceiverProcess, run_dir: Path) -> None:
    export(receiver, 40)
    found = waited(receiver, run_dir, asked_of(trace(40), trace(41)), chosen_s=0.5)

    assert found.late
    (warning,) = warnings_of(ReceiverStatus(), found)
    assert warning.code == "late_spans"
    assert "1 of 2 requests had no whole server half" in warning.message
    assert "OTEL_BSP_SCHEDULE_DELAY" in warning.hint
    assert "MLHARNESS_SPAN_DEADLINE=" in warning.hint


def test_a_second_ctrl_c_ends_the_wait(receiver: ReceiverProcess, run_dir: Path) -> None:
    interrupt = Interrupt()
    interrupt.presses = 2
    found = await_received(receiver, run_dir, asked_of(trace(51)), 0.0, interrupt, lambda event: None)

    assert (found.whole, found.late) == (0, False)
    assert found.waited_s < 0.9


@pytest.mark.parametrize("before", [0, 1])  # a press before ended the load: its spans are waited for all the same
def test_ctrl_c_during_the_wait_ends_it(receiver: ReceiverProcess, run_dir: Path, before: int) -> None:
    interrupt = Interrupt()
    interrupt.presses = before
    threading.Timer(0.3, lambda: setattr(interrupt, "presses", before + 1)).start()
    found = await_received(receiver, run_dir, asked_of(trace(51)), 0.0, interrupt, lambda event: None)

    assert not found.late
    assert found.waited_s < 3  # a look takes up to two seconds; an export interval is six


# --- ports and settings ------------------------------------------------------------------------------------


def test_no_port_is_opened_for_a_source_that_is_asked() -> None:
    assert arrive.bind(SpanSpec(source="jaeger", address="http://h")) is None
    assert arrive.bind(SpanSpec(listen=None)) is None


def test_grpc_alone_is_received_beside_a_free_port() -> None:
    ports = arrive.bind(SpanSpec(listen=None, listen_grpc="127.0.0.1:0"))

    assert ports is not None
    assert ports.grpc is not None
    ports.http.close()
    ports.grpc.kept.close()


def test_a_taken_grpc_port_is_refused_and_the_other_given_back() -> None:
    with listen.bind("127.0.0.1:0") as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UsageError, match="is taken"):
            arrive.bind(SpanSpec(listen="127.0.0.1:0", listen_grpc=address))


def test_the_deadline_is_read_from_the_environment() -> None:
    assert deadline_s({}) is None
    assert deadline_s({"MLHARNESS_SPAN_DEADLINE": "2min"}) == 120.0
    with pytest.raises(UsageError, match="MLHARNESS_SPAN_DEADLINE in the environment"):
        deadline_s({"MLHARNESS_SPAN_DEADLINE": "soon"})
