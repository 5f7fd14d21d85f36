"""The instrumentation in a real uvicorn process, with real sockets and a real OTLP endpoint."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

import pytest
from instrument_support import RUN, Service, Sink, a_service, a_sink, answer_of, head, stages_of, traceparent

from harness.instrument.host import host_key

SERVERS = {"h11": ("--http", "h11", "--loop", "asyncio"), "httptools": ("--http", "httptools", "--loop", "uvloop")}


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with a_sink() as sink:
        yield sink


@pytest.fixture(scope="module", params=SERVERS)
def service(request: pytest.FixtureRequest, sink: Sink) -> Iterator[Service]:
    with a_service(sink.url, *SERVERS[request.param], app="instrument_app", OTEL_SERVICE_NAME="reader") as service:
        yield service


@pytest.fixture
def trace_id() -> str:
    return secrets.token_hex(16)


def test_four_large_posts_on_one_connection_end_in_four_traces(service: Service, sink: Sink) -> None:
    callers = [(secrets.token_hex(16), secrets.token_hex(8)) for _ in range(4)]
    with service.connect() as connection:
        for trace_id, span_id in callers:
            length = (b"content-length", b"200000")
            connection.sendall(head("POST", "/upload", traceparent(trace_id, span_id), length) + b"x" * 200_000)
            assert answer_of(connection).content == b'{"size":200000}'  # type: ignore[attr-defined]

    for trace_id, span_id in callers:
        root, children = sink.trace(trace_id)
        assert (root.name, root.kind, root.parent_id) == ("POST /upload", 2, span_id)
        assert "preprocess" in [child.attributes["harness.stage"] for child in children]


def test_the_root_says_what_was_asked_and_answered(service: Service, sink: Sink, trace_id: str) -> None:
    response = service.get("/items/7", traceparent(trace_id))
    root, children = sink.trace(trace_id)

    assert response.getheader("server-timing") is None
    assert (root.name, root.service, root.error) == ("GET /items/{number}", "reader", False)
    assert root.attributes.items() >= {
        "http.request.method": "GET", "http.route": "/items/{number}", "http.response.status_code": 200,
        "url.path": "/items/7", "harness.split": "marks", "harness.host": host_key(), "harness.spans": len(children),
    }.items()  # fmt: skip
    assert root.start_ns < root.attributes["harness.first_send_ns"] < root.attributes["harness.last_send_ns"]
    assert root.attributes["harness.last_send_ns"] <= root.end_ns
    assert abs(root.end_ns - time.time_ns()) < 60e9


def test_stages_nest_and_carry_their_attributes(service: Service, sink: Sink, trace_id: str) -> None:
    service.get("/items/7", traceparent(trace_id))
    root, children = sink.trace(trace_id)
    by_name = {child.name: child for child in children}
    inference, lock = by_name["inference"], by_name["queue"]

    assert lock.parent_id == inference.span_id
    assert inference.parent_id == root.span_id
    assert inference.attributes["harness.model"] == "det"
    assert inference.attributes["harness.batch_size"] == 2
    assert lock.attributes["harness.resource"] == "lock"
    assert 0 <= inference.attributes["harness.cpu_ns"] < inference.ms * 1e6  # it slept: waiting is not work


def test_a_run_gets_the_split_on_the_answer(service: Service, sink: Sink, trace_id: str) -> None:
    timing = service.get("/items/7", traceparent(trace_id), RUN).getheader("server-timing") or ""
    root, _ = sink.trace(trace_id)
    stages = stages_of(timing)
    total = stages.pop("total")

    assert timing.startswith(f'mlharness;desc="1 {trace_id} {root.span_id} {root.start_ns} {host_key()}", total;dur=')
    assert stages["preprocess"] >= 2
    assert stages["inference"] >= 4
    assert stages["queue"] >= 3
    assert round(sum(stages.values()), 6) <= total <= root.ms


def test_an_unsampled_caller_gets_the_split_but_no_spans(service: Service, sink: Sink, trace_id: str) -> None:
    timing = service.get("/items/7", traceparent(trace_id, flags="00"), RUN).getheader("server-timing") or ""
    recorded = secrets.token_hex(16)
    service.get("/items/7", traceparent(recorded))
    sink.trace(recorded)  # exported later than the other could have been

    assert trace_id in timing
    assert trace_id not in {span.trace_id for span in sink.spans}


def test_a_body_written_in_two_halves_shows_as_upload(service: Service, sink: Sink, trace_id: str) -> None:
    with service.connect() as connection:
        connection.sendall(head("POST", "/upload", traceparent(trace_id), RUN, (b"content-length", b"20")) + b"x" * 10)
        time.sleep(0.2)
        connection.sendall(b"x" * 10)
        stages = stages_of(answer_of(connection).getheader("server-timing") or "")
    _, children = sink.trace(trace_id)
    upload = max((c for c in children if c.attributes.get("harness.stage") == "upload"), key=lambda c: c.ms)
    preprocess = next(c for c in children if c.name == "preprocess")

    assert upload.ms >= 120
    assert upload.parent_id == preprocess.span_id  # the body was awaited inside that stage
    assert stages["upload"] >= 120
    assert stages["preprocess"] < 100


def test_a_slow_reader_of_a_stream_shows_as_download(service: Service, sink: Sink, trace_id: str) -> None:
    with service.connect(receive_buffer=65536) as connection:
        connection.sendall(head("GET", "/stream", traceparent(trace_id)))
        time.sleep(0.3)
        answer_of(connection)
    root, children = sink.trace(trace_id)
    download = sum(c.ms for c in children if c.attributes.get("harness.stage") == "download")

    assert 150 <= download <= root.ms


def test_the_header_of_a_stream_says_that_it_left_early(service: Service, trace_id: str) -> None:
    stream = service.get("/stream?megabytes=1", traceparent(trace_id), RUN).getheader("server-timing") or ""
    plain = service.get("/items/7", traceparent(trace_id), RUN).getheader("server-timing") or ""

    assert f' {host_key()} streamed", total;dur=' in stream
    assert f' {host_key()}", total;dur=' in plain


def test_a_background_task_is_not_part_of_the_window(service: Service, sink: Sink, trace_id: str) -> None:
    service.get("/background", traceparent(trace_id))
    root, children = sink.trace(trace_id)

    assert root.ms < 300  # the task takes 400
    assert "postprocess" not in [child.name for child in children]


def test_more_calls_than_threads_show_as_queue(service: Service, sink: Sink) -> None:
    # 45 calls of 500 ms and 40 threads: five wait for a thread, less the time the 45 took to come in.
    traces = [secrets.token_hex(16) for _ in range(45)]
    connections = [service.connect() for _ in traces]
    for connection, trace_id in zip(connections, traces, strict=True):
        connection.sendall(head("GET", "/sync", traceparent(trace_id)))
    for connection in connections:
        answer_of(connection)
        connection.close()

    waits = [
        child
        for trace_id in traces
        for child in sink.trace(trace_id)[1]
        if child.attributes.get("harness.resource") == "threadpool"
        and child.ms >= 60  # which may be long on a busy machine
    ]
    assert len(waits) >= 5
    assert {wait.attributes["harness.stage"] for wait in waits} == {"queue"}


def test_an_endpoint_that_raises_leaves_error_spans(service: Service, sink: Sink, trace_id: str) -> None:
    response = service.get("/boom", traceparent(trace_id), RUN)
    root, children = sink.trace(trace_id)
    inference = next(child for child in children if child.name == "inference")

    assert response.status == 500
    assert "inference;dur=" in (response.getheader("server-timing") or "")
    assert root.error
    assert inference.error
    assert inference.attributes["error.type"] == "RuntimeError"
