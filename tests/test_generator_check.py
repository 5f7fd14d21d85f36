"""`harness check --generator`: the null server, the measurement on a real load process, the table."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from harness.errors import Interrupted
from harness.generator import Calibration, Lengths, Machine, Probe, Stretch, calibrate
from harness.interrupt import Interrupt
from harness.load import null_server
from harness.load.null_server import ANSWER, REFUSAL, NullServer
from harness.report import generator_text
from tests.cli import begin, end, harness

TINY = Lengths(warmup_s=0.1, closed_s=0.3, calm_s=0.3, stair_s=0.05, probe_s=0.3, enough_s=0.0)


def silent(_line: str) -> None:
    pass


@pytest.fixture(scope="module")
def server() -> Iterator[NullServer]:
    with null_server.running() as running:
        yield running


def said(server: NullServer, *pieces: bytes, until: bytes) -> bytes:
    """What the server answers to bytes that come in pieces, up to and with `until`."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    heard = b""
    with socket.create_connection((host, int(port)), 5) as sock:
        for piece in pieces:
            sock.sendall(piece)
            time.sleep(0.02)
        while until not in heard or not heard.endswith(until):
            chunk = sock.recv(4096)
            if not chunk:
                break
            heard += chunk
    return heard


def test_the_null_server_answers_a_request_whose_head_and_body_come_in_pieces(server: NullServer) -> None:
    pieces = (b"POST / HT", b"TP/1.1\r\ncontent-LENGTH: 5\r\n\r", b"\nab", b"cde")

    assert said(server, *pieces, until=ANSWER) == ANSWER


def test_the_null_server_waits_for_the_last_byte_of_the_body(server: NullServer) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), 5) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab")
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.settimeout(5)
        sock.sendall(b"c")

        assert sock.recv(4096) == ANSWER


def test_the_null_server_answers_each_of_two_requests_that_come_at_once(server: NullServer) -> None:
    two = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\r\n\r\n"

    assert said(server, two, until=ANSWER + ANSWER) == ANSWER + ANSWER


def test_the_null_server_refuses_a_body_of_unknown_length(server: NullServer) -> None:
    request = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"

    assert said(server, request, until=REFUSAL) == REFUSAL


def test_the_null_server_ends_with_the_one_who_started_it() -> None:
    with null_server.running() as running:
        assert psutil.pid_exists(running.pid)

    assert not psutil.pid_exists(running.pid)


def test_a_short_calibration_measures_a_real_load_process() -> None:
    with Interrupt() as interrupt:
        found = calibrate(TINY, interrupt, silent)

    (closed,), (calm,) = found.closed.stretches, found.calm.stretches
    assert closed.offered is None
    assert closed.lateness_p99_s is None
    assert closed.ok == closed.requests > 30
    assert calm.offered == 100
    assert 10 <= calm.ok == calm.requests <= 60  # Poisson, 30 expected
    assert calm.lateness_p50_s is not None
    assert 0 < calm.lateness_p50_s <= (calm.lateness_p99_s or 0)
    assert 1 < (found.closed.cpu_us or 0) < 1e5
    assert found.closed.server_busy > 0
    assert found.machine.cores >= 1
    assert "closed loop" in generator_text.render(found)


def test_a_calibration_that_is_interrupted_leaves_no_process() -> None:
    interrupt = Interrupt()
    interrupt.presses = 1
    before = set(psutil.Process().children(recursive=True))

    with pytest.raises(Interrupted):
        calibrate(TINY, interrupt, silent)

    assert set(psutil.Process().children(recursive=True)) <= before


# --- the table ---------------------------------------------------------------------------------------------

FOUND = Calibration(
    closed=Probe((Stretch(None, 90_000, 90_000, 36_000.0, None, None),), 27.0, 0.5, 1.0),
    calm=Probe((Stretch(100.0, 300, 300, 100.0, 100e-6, 400e-6),), 200.0, 0.01, 1.0),
    held=Stretch(23_456.0, 58_640, 58_640, 23_456.0, 90e-6, 3.2e-3),
    held_by_server=False,
    machine=Machine(4, 20_000, "timerfd", 0.01, 0.0, None),
    took_s=30.0,
)


def lines_of(found: Calibration) -> dict[str, str]:
    """The table by the first words of its lines."""
    rows = generator_text.render(found).splitlines()[1:]
    return {row[2:16].strip(): row[17:] for row in rows}


def test_the_table_says_what_was_held_and_what_one_process_is_good_for() -> None:
    lines = lines_of(FOUND)

    assert lines["closed loop"] == "36000/s with 16 users"
    assert lines["open loop"].startswith("23456/s held, Poisson arrivals, late by 90.0 us at p50, 3.20 ms at p99")
    assert lines["CPU"] == "27.0 us a request in the closed loop; 2% of a core at 100/s"
    assert lines["advice"] == "up to 23000/s with one load process; beyond that use --processes"
    assert lines["limit"] == "its own CPU: a load process uses one core"


def test_a_busy_null_server_makes_the_figure_an_at_least() -> None:
    found = replace(FOUND, closed=replace(FOUND.closed, server_busy=0.97), held_by_server=True)

    assert "at least" in lines_of(found)["closed loop"]
    assert "at least" in lines_of(found)["open loop"]
    assert lines_of(found)["limit"] == "the null server, which had no core left"


def test_a_machine_that_others_use_is_named_as_the_reason() -> None:
    machine = replace(FOUND.machine, others=0.62, stolen=0.03, throttled=0.2)
    text = generator_text.render(replace(FOUND, held=None, machine=machine))

    assert "other processes used 62% of this machine" in text
    assert "3% of the time was taken by other machines" in text
    assert "throttled for 20% of the time" in text
    assert "too busy" in lines_of(replace(FOUND, held=None, machine=machine))["advice"]


def test_no_kernel_stamps_is_said() -> None:
    found = replace(FOUND, calm=replace(FOUND.calm, kernel_stamped=0.0))

    assert lines_of(found)["kernel stamps"].startswith("none")


def test_a_late_or_unanswered_stretch_was_not_held() -> None:
    stretch = Stretch(100.0, 300, 300, 100.0, 1e-4, 4.9e-3)

    assert stretch.held
    assert not replace(stretch, lateness_p99_s=5.1e-3).held
    assert not replace(stretch, ok=299).held
    assert not replace(stretch, requests=0, ok=0).held


# --- the command -------------------------------------------------------------------------------------------


def test_check_without_a_scenario_says_what_is_missing(tmp_path: Path) -> None:
    ended = harness("check", cwd=tmp_path)

    assert ended.code == 2
    assert ended.stderr == (
        "error: SCENARIO is missing\nhint: name a scenario file; only --generator goes without one\n"
    )


def test_ctrl_c_ends_the_check_of_the_generator_with_one_line(tmp_path: Path) -> None:
    child = begin("check", "--generator", cwd=tmp_path)
    assert child.stderr is not None
    assert "closed loop" in child.stderr.readline()
    os.kill(child.pid, signal.SIGINT)
    ended = end(child, within_s=20)

    assert ended.code == 4
    assert ended.stdout == ""
    assert ended.stderr == "error: interrupted: the calibration is not finished\n"
