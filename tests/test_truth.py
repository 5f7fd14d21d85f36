"""What the ledger says, against what was done to the request: known delays in the service and on the wire."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest

from harness.instrument.host import host_key
from harness.join import join
from harness.ledger import build
from harness.model import Sample
from tests.builders import a_sample, samples_table, spans_table
from tests.sample_server import ROOT, shared_sample_service, start_sample_service

RECEIPT = sorted((ROOT / "scenarios/payloads/receipts").glob("receipt-02-*.jpg"))[0]
FAULTS = {"preprocess": 30, "inference": 40, "postprocess": 20}
PAIRS = 20

Send = Callable[[socket.socket, bytes], None]
Read = Callable[[socket.socket], bytes]


def send_at_once(sock: socket.socket, request: bytes) -> None:
    sock.sendall(request)


def read_all(sock: socket.socket) -> bytes:
    """The whole answer to a request that asked for `Connection: close`."""
    pieces = []
    while piece := sock.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def request(target: str, head: str, body: bytes = b"", send: Send = send_at_once, read: Read = read_all) -> pd.Series:
    """One request over a plain socket, as a ledger row split by the answer's own header."""
    parts = urlsplit(target)
    sample = a_sample()
    lines = [
        f"{head} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close", "x-mlharness-run: truth",
        f"traceparent: 00-{sample.trace_id}-{sample.span_id}-01", f"Content-Length: {len(body)}",
    ]  # fmt: skip
    if body.startswith(b"--"):
        lines.append("Content-Type: multipart/form-data; boundary=edge")
    start = time.time_ns()
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=30) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        written = time.time_ns()
        send(sock, "\r\n".join([*lines, "", ""]).encode() + body)
        sent = time.time_ns()
        answer = read(sock)
        done = time.time_ns()
    return _row(answer, start, written, sent, done)


def _row(answer: bytes, start: int, written: int, sent: int, done: int) -> pd.Series:
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    assert head[0].split()[1] == "200", head[0]
    timing = [line.partition(":")[2].strip() for line in head if line.lower().startswith("server-timing:")]
    sample: Sample = a_sample(
        scheduled_ns=start, start_ns=start, resolved_ns=start, tcp_ns=written, connected_ns=written, send_ns=written,
        sent_ns=sent, first_byte_ns=done, done_ns=done, done_user_ns=done, server_timing=", ".join(timing),
    )  # fmt: skip
    table = samples_table(sample)
    return build(table, join(table, [spans_table()]), host_key(), loopback=True).rows.iloc[0]


def multipart(path: Path) -> bytes:
    head = f'--edge\r\nContent-Disposition: form-data; name="image"; filename="{path.name}"\r\n\r\n'.encode()
    return head + path.read_bytes() + b"\r\n--edge--\r\n"


@pytest.fixture(scope="module")
def moved_ms() -> dict[str, float]:
    """How far each stage moved with the faults on, milliseconds: the least disturbed of many requests to each."""
    body = multipart(RECEIPT)
    faults = ",".join(f"{stage}:{ms}ms" for stage, ms in FAULTS.items())
    with start_sample_service({"READER_THREADS": "2", "FAULTS": faults}) as slowed:
        plain = shared_sample_service()
        rows = [(request(plain, "POST /v1/read", body), request(slowed, "POST /v1/read", body)) for _ in range(PAIRS)]
    stages = ("upload", "queue", "preprocess", "inference", "postprocess", "other", "download")
    return {s: 1000 * (min(b[f"{s}_s"] for _, b in rows) - min(a[f"{s}_s"] for a, _ in rows)) for s in stages}


@pytest.mark.parametrize(("stage", "tolerance_ms"), [("preprocess", 2), ("inference", 15), ("postprocess", 2)])
def test_a_stage_moves_by_what_it_was_slowed(moved_ms: dict[str, float], stage: str, tolerance_ms: float) -> None:
    # Inference itself varies by some milliseconds from request to request; the other two hardly take any time.
    assert moved_ms[stage] == pytest.approx(FAULTS[stage], abs=tolerance_ms)


@pytest.mark.parametrize("stage", ["upload", "queue", "other", "download"])
def test_stages_that_were_not_slowed_stay(moved_ms: dict[str, float], stage: str) -> None:
    assert abs(moved_ms[stage]) < 4


def test_a_body_written_in_two_halves_is_upload() -> None:
    def in_two_halves(sock: socket.socket, data: bytes) -> None:
        sock.sendall(data[:-5000])
        time.sleep(0.25)
        sock.sendall(data[-5000:])

    row = request(shared_sample_service(), "POST /v1/read", multipart(RECEIPT), send=in_two_halves)

    assert 0.24 < row["upload_s"] < 0.40
    assert row["other_s"] < 0.1


def test_an_answer_of_five_megabytes_that_is_read_late_is_download() -> None:
    def late(sock: socket.socket) -> bytes:
        time.sleep(0.3)
        return read_all(sock)

    target, head = shared_sample_service(), "GET /v1/page-image?bytes=5000000"
    at_once, slowly = request(target, head), request(target, head, read=late)

    assert slowly["download_s"] - at_once["download_s"] == pytest.approx(0.3, abs=0.15)
    assert slowly["latency_s"] - slowly["download_s"] < 1.5 * (at_once["latency_s"] - at_once["download_s"]) + 0.2
