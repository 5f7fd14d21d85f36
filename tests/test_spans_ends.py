"""Every way a receiver can end, and what is kept."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)
from span_builders import a_body, counted, post, send, stored, until

from harness.spans.listen import ReceiverProcess, bind, start


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ReceiverProcess]:
    running = start(bind("127.0.0.1:0"), tmp_path)
    yield running
    running.stop()


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
        send(endpoint.decode(), a_body(8))
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


def test_a_body_that_would_fill_the_memory_is_refused_and_the_receiver_lives_on(process: ReceiverProcess) -> None:
    post(process, 1)
    limit, _ = resource.prlimit(process.pid, resource.RLIMIT_DATA)
    assert 2 * 1024**3 <= limit < 4 * 1024**3
    resource.prlimit(process.pid, resource.RLIMIT_DATA, (limit - 1900 * 2**20, limit))
    # 4 MiB of spans without a field, each two bytes here and some hundred once parsed (four bytes spell a length).
    spans = b"\x12\x00" * 2**21
    lengths = [bytes([n & 127 | 128, n >> 7 & 127 | 128, n >> 14 & 127 | 128, n >> 21]) for n in (2**22 + 5, 2**22)]
    bomb = b"\x0a" + lengths[0] + b"\x12" + lengths[1] + spans

    status, answer = send(process.endpoint, bomb)

    assert status == 400
    assert b"not an OTLP trace request" in answer
    assert counted(process) == 1


def test_a_receiver_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "spans.arrows").mkdir()
    process = start(bind("127.0.0.1:0"), tmp_path)

    until(lambda: (status := process.poll()) and status.error)

    error = process.stop().error or ""
    assert error.startswith("the span receiver could not start: ")
    assert "Is a directory" in error
