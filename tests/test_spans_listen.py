"""The receiver as its parent sees it: binding, counts, and every way a child can end."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from harness.chunks import read_chunks
from harness.errors import UsageError
from harness.model import Span
from harness.spans.listen import ReceiverProcess, bind, start

PROTOBUF = {"content-type": "application/x-protobuf"}


def a_body(count: int) -> bytes:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for _ in range(count):
        spans.add(trace_id=os.urandom(16), span_id=os.urandom(8), start_time_unix_nano=1, end_time_unix_nano=2)
    body: bytes = request.SerializeToString()
    return body


def post(process: ReceiverProcess, count: int) -> bytes:
    return send(process.endpoint, count)


def send(endpoint: str, count: int) -> bytes:
    with contextlib.closing(HTTPConnection(endpoint.removeprefix("http://"), timeout=20)) as connection:
        connection.request("POST", "/v1/traces", a_body(count), PROTOBUF)
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read()


def until(condition: Callable[[], object], deadline_s: float = 10) -> None:
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def counted(process: ReceiverProcess) -> int:
    assert process.drained(quiet_s=0.0, deadline_s=10)
    status = process.poll()
    assert status is not None
    return status.spans


def stored(folder: Path) -> int:
    rows: int = read_chunks([folder / "spans.arrows"], Span).num_rows
    return rows


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ReceiverProcess]:
    running = start(bind("127.0.0.1:0"), tmp_path)
    yield running
    running.stop()


# --- binding -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:0", "127.0.0.2:0", " 127.0.0.1:0 "])
def test_a_loopback_address_is_bound_and_listens(address: str) -> None:
    with bind(address) as sock, socket.create_connection(sock.getsockname()):
        assert sock.getsockname()[1] > 0


def test_ipv6_loopback_is_bound() -> None:
    with bind("[::1]:0") as sock:
        assert sock.getsockname()[0] == "::1"


@pytest.mark.parametrize(("address", "host"), [("127.0.0.1:{}", "127.0.0.1"), ("[::1]:{}", "[::1]")])
def test_a_taken_port_is_refused_and_a_free_one_named(address: str, host: str) -> None:
    with bind(address.format(0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError) as caught:
            bind(address.format(port))

    hint = caught.value.hint or ""
    free = hint.partition(" is free")[0]
    assert caught.value.message == f"{host}:{port} is taken"
    assert hint == f"{free} is free: write `spans: {{listen: {free}}}`"
    assert free.startswith(f"{host}:")
    assert free != f"{host}:{port}"
    bind(free).close()


def test_the_last_port_of_all_still_gets_a_suggestion() -> None:
    with bind("127.0.0.1:65535"), pytest.raises(UsageError, match=r"127\.0\.0\.1:65535 is taken") as caught:
        bind("127.0.0.1:65535")
    assert ":0 " not in (caught.value.hint or "")


@pytest.mark.parametrize("address", ["0.0.0.0:4318", "[::]:4318", "192.168.1.5:4318", "example.com:4318", ":4318"])
def test_an_address_others_could_reach_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is not a loopback address") as caught:
        bind(address)
    assert (caught.value.hint or "").startswith("listen on 127.0.0.1:4318: ")


@pytest.mark.parametrize("address", ["", "4318", "127.0.0.1", "127.0.0.1:port", "127.0.0.1:70000", "::1:4318", "a:1:2"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is no address to listen on") as caught:
        bind(address)
    assert caught.value.hint == "write HOST:PORT, e.g. 127.0.0.1:4318"


# --- counts ------------------------------------------------------------------------------------------------


def test_the_counts_follow_what_arrives_and_the_end_is_said(process: ReceiverProcess, tmp_path: Path) -> None:
    assert process.endpoint.startswith("http://127.0.0.1:")
    post(process, 7)
    assert counted(process) == 7
    assert stored(tmp_path) == 7  # what is counted is on disk
    post(process, 5)

    status = process.stop()

    assert (status.spans, status.rejected, status.requests) == (12, 0, 2)
    assert (status.bytes, status.ended, status.error) == (len(a_body(7)) + len(a_body(5)), True, None)
    assert stored(tmp_path) == 12
    assert process.stop() == process.poll() == status  # asking again changes nothing
    assert not process.drained(quiet_s=0.1, deadline_s=1)


def test_drained_waits_for_the_last_span(process: ReceiverProcess) -> None:
    post(process, 1)
    late = threading.Timer(0.2, post, (process, 2))
    late.start()

    assert process.drained(quiet_s=0.7, deadline_s=20)

    status = process.poll()
    assert status is not None
    assert status.spans == 3
    late.join()


def test_drained_gives_up_at_the_deadline_while_spans_keep_coming(process: ReceiverProcess) -> None:
    enough = threading.Event()

    def keep_sending() -> None:
        while not enough.wait(0.05):
            post(process, 1)

    sender = threading.Thread(target=keep_sending)
    sender.start()
    began = time.monotonic()
    try:
        assert not process.drained(quiet_s=0.8, deadline_s=1.5)
        assert time.monotonic() - began < 10
    finally:
        enough.set()
        sender.join()


# --- ends --------------------------------------------------------------------------------------------------


def test_a_killed_receiver_leaves_what_it_flushed_and_is_reported(process: ReceiverProcess, tmp_path: Path) -> None:
    post(process, 9)
    assert counted(process) == 9

    os.kill(process.pid, signal.SIGKILL)

    until(lambda: (status := process.poll()) and status.error)
    status = process.stop()
    assert (status.spans, status.ended) == (9, False)
    assert status.error == (
        f"the span receiver stopped early (signal SIGKILL); its last words are in {tmp_path / 'receiver.log'}"
    )
    assert stored(tmp_path) == 9
    with pytest.raises(ConnectionRefusedError):
        post(process, 1)


def test_a_receiver_that_hangs_is_killed_at_the_timeout(process: ReceiverProcess, tmp_path: Path) -> None:
    post(process, 4)
    assert counted(process) == 4
    os.kill(process.pid, signal.SIGSTOP)

    status = process.stop(timeout_s=0.3)

    assert "SIGKILL" in (status.error or "")
    assert (status.spans, stored(tmp_path)) == (4, 4)
    assert not psutil.pid_exists(process.pid)


def test_ctrl_c_is_left_to_the_parent_and_sigterm_ends_it_in_order(process: ReceiverProcess, tmp_path: Path) -> None:
    post(process, 1)

    os.kill(process.pid, signal.SIGINT)
    post(process, 2)
    os.kill(process.pid, signal.SIGTERM)

    until(lambda: (status := process.poll()) and status.ended)
    assert stored(tmp_path) == 3


def test_an_open_request_is_answered_before_the_end(process: ReceiverProcess, tmp_path: Path) -> None:
    body = a_body(6)
    host, port = process.endpoint.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as caller:
        caller.settimeout(10)
        caller.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n")
        caller.sendall(b"content-length: %d\r\n\r\n" % len(body) + body[:20])
        post(process, 1)  # answered: so the first half has arrived as well
        stopping = threading.Thread(target=process.stop)
        stopping.start()
        time.sleep(0.5)
        caller.sendall(body[20:])
        assert caller.recv(100).startswith(b"HTTP/1.1 200 OK")
        stopping.join()

    assert (process.stop().spans, stored(tmp_path)) == (7, 7)


def test_the_receiver_ends_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from harness.spans.listen import bind, start\n"
        "running = start(bind('127.0.0.1:0'), Path(sys.argv[1]))\n"
        "print(running.pid, running.endpoint, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid, endpoint = parent.stdout.readline().split()
        send(endpoint.decode(), 8)
        parent.kill()

    until(lambda: not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE)
    assert stored(tmp_path) == 8


def test_a_full_disk_is_said_once_and_the_service_still_gets_its_answers(
    process: ReceiverProcess, tmp_path: Path
) -> None:
    post(process, 5)
    assert counted(process) == 5
    limit = (tmp_path / "spans.arrows").stat().st_size + 1000
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))

    post(process, 500)
    until(lambda: (status := process.poll()) and status.error)
    partial = ExportTraceServiceResponse.FromString(post(process, 2)).partial_success

    status = process.stop()
    assert f"spans can no longer be stored in {tmp_path / 'spans.arrows'}: " in (status.error or "")
    assert partial.rejected_spans == 2
    assert partial.error_message == status.error
    assert (status.spans, status.ended, stored(tmp_path)) == (5, True, 5)


def test_a_receiver_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "spans.arrows").mkdir()
    process = start(bind("127.0.0.1:0"), tmp_path)

    until(lambda: (status := process.poll()) and status.error)

    error = process.stop().error or ""
    assert error.startswith("the span receiver could not start: ")
    assert "Is a directory" in error
