"""The sample service's settings and faults, its stages, and how it behaves while it is busy."""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pictures import SCENARIOS
from sample_client import RUN_HEADER, detail, durations, read
from sample_server import ROOT, shared_sample_service, start_sample_service

from sample_service.__main__ import main
from sample_service.faults import PLACES, Fault, _Slowdown, parse_faults
from sample_service.settings import SettingsError, read_settings

RECEIPTS = SCENARIOS / "payloads" / "receipts"
FILES = SCENARIOS / "payloads" / "files"
JPEG = (RECEIPTS / "receipt-02-1.jpg").read_bytes()


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared_sample_service(), timeout=60) as http:
        yield http


@pytest.fixture(scope="module")
def slowed() -> Iterator[httpx.Client]:
    faults = "preprocess:30ms,postprocess:20ms,inference@cls:10ms,queue:15ms,transfer:100ms"
    with start_sample_service({"FAULTS": faults}) as url, httpx.Client(base_url=url, timeout=60) as http:
        yield http


def test_faults_are_read_as_written() -> None:
    faults = parse_faults("preprocess:30ms, inference@det:*1.5,transfer:20.5ms,queue:5ms,inference:10ms")

    assert faults == (
        Fault("preprocess", add_s=0.030),
        Fault("inference", "det", factor=1.5),
        Fault("transfer", add_s=0.0205),
        Fault("queue", add_s=0.005),
        Fault("inference", add_s=0.010),
    )
    assert parse_faults(" ") == ()


SHAPE = "write it as stage:30ms, stage:30ms~cpu, stage:*1.5 or inference@model:30ms"
NO_MODEL = "only inference has models, and they are magika, det, cls, rec"


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (
            "preproces:30ms",
            "there is no 'preproces' to slow; choose from " + ", ".join(PLACES),
        ),
        ("preprocess:30", SHAPE),
        ("preprocess:30s", SHAPE),
        ("preprocess", SHAPE),
        ("inference@yolo:*2", NO_MODEL),
        ("preprocess@det:9ms", NO_MODEL),
        ("queue:*2", "'queue' takes a delay in ms, not a factor"),
        ("lock:*2", "'lock' takes a delay in ms, not a factor"),
        ("lock@det:9ms", NO_MODEL),
        ("transfer:9ms~cpu", "'transfer' is a wait and takes no ~cpu"),
        ("preprocess:9ms~gpu", SHAPE),
        ("preprocess:*2~cpu", SHAPE),
        ("inference:*0.5", "a factor is more than 1 and at most 100"),
        ("inference:0ms", "a delay is more than 0 and at most 60000 ms"),
    ],
)
def test_a_wrong_fault_is_named_in_one_sentence(entry: str, why: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({"FAULTS": f"transfer:5ms,{entry}"})

    assert str(caught.value) == f"FAULTS entry '{entry}': {why}"


def test_the_same_slowdown_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="slows the same stage twice in the same way"):
        parse_faults("queue:1ms,queue:2ms")


@given(st.text(max_size=40))
@example("inference@det:*" + "9" * 400)
def test_any_text_is_faults_or_one_clear_refusal(text: str) -> None:
    try:
        parse_faults(text)
    except ValueError as error:
        assert str(error).startswith("FAULTS")  # noqa: PT017 - either outcome is right


def test_a_delay_is_added_once_per_request_and_a_factor_every_time() -> None:
    slowdown = _Slowdown(parse_faults("inference:30ms,inference@det:*1.5"))

    delay, factor = slowdown.faults

    assert slowdown.due("inference", "magika") == [delay]
    assert slowdown.due("inference", "det") == [factor]
    assert slowdown.due("inference", "det") == [factor]
    assert slowdown.due("inference", "rec") == []
    assert slowdown.due("preprocess") == []


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "9999", "²", "1" * 5000])
def test_a_bad_thread_count_is_refused_by_name(value: str) -> None:
    with pytest.raises(SettingsError, match=r"READER_THREADS=.* is not a whole number from 1 to 256"):
        read_settings({"READER_THREADS": value})


def test_a_bad_variable_ends_the_process_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAULTS", "inference:fast")

    assert main(["--port", "0"]) == 2
    assert capsys.readouterr().err == (
        "sample service: FAULTS entry 'inference:fast': "
        "write it as stage:30ms, stage:30ms~cpu, stage:*1.5 or inference@model:30ms\n"
    )


def test_a_taken_port_ends_the_process_with_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert main(["--port", str(port)]) == 2
    assert capsys.readouterr().err == (
        f"sample service: cannot listen on 127.0.0.1:{port} (Address already in use); choose another with --port\n"
    )


# --- stages, faults, load -----------------------------------------------------------------------------------


def test_every_stage_of_a_read_is_marked(client: httpx.Client) -> None:
    spent = durations(read(client, JPEG, headers=RUN_HEADER))

    assert {"preprocess", "inference", "postprocess"} <= spent.keys()
    assert spent["inference"] > spent["preprocess"] > 0
    assert sum(spent[name] for name in spent if name != "total") <= spent["total"]


def test_a_fault_adds_its_delay_to_its_own_stage(client: httpx.Client, slowed: httpx.Client) -> None:
    pairs = [(read(client, JPEG, headers=RUN_HEADER), read(slowed, JPEG, headers=RUN_HEADER)) for _ in range(7)]
    split = [(durations(plain), durations(late)) for plain, late in pairs]
    added = {
        stage: statistics.median(late[stage] - plain.get(stage, 0.0) for plain, late in split)
        for stage in ("preprocess", "postprocess", "queue")
    }

    assert added["preprocess"] == pytest.approx(30, abs=2)
    assert added["postprocess"] == pytest.approx(20, abs=2)
    assert added["queue"] == pytest.approx(15, abs=3)


def test_a_transfer_fault_delays_the_body_and_not_the_split(slowed: httpx.Client) -> None:
    content = (FILES / "total.py").read_bytes()
    with slowed.stream("POST", "/v1/identify", content=content, headers=RUN_HEADER) as answer:
        headers_at = time.perf_counter()
        answer.read()
        waited = time.perf_counter() - headers_at

    assert waited > 0.08
    assert durations(answer).get("download", 0.0) < 50


def test_health_answers_while_all_threads_read(client: httpx.Client) -> None:
    content = (RECEIPTS / "receipt-12-1.jpg").read_bytes()
    answers: list[int] = []
    began = time.perf_counter()
    readers = [threading.Thread(target=lambda: answers.append(read(client, content).status_code)) for _ in range(4)]
    for reader in readers:
        reader.start()
    health: list[float] = []
    while any(reader.is_alive() for reader in readers):
        asked = time.perf_counter()
        assert client.get("/healthz").status_code == 200
        health.append(time.perf_counter() - asked)
        time.sleep(0.02)
    took = time.perf_counter() - began

    assert answers == [200] * 4
    assert statistics.median(health) < took / 10


def test_a_stop_does_not_wait_for_a_long_computation() -> None:
    command = [sys.executable, "-m", "sample_service", "--port", "0"]
    environment = {**os.environ, "FAULTS": "inference@magika:20000ms"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        answers: list[httpx.Response] = []
        sender = threading.Thread(target=lambda: answers.append(httpx.post(f"{url}/v1/identify", content=b"x" * 99)))
        sender.start()
        time.sleep(0.5)
        asked = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=15)
        took = time.perf_counter() - asked
        sender.join()

    assert code == 0
    assert took < 5
    assert (answers[0].status_code, detail(answers[0])) == (503, "the service is stopping")
