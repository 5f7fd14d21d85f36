"""Faults that stand for situations (a lock, a blocked loop, a cold model, batches), asked of the running service."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from pictures import SCENARIOS
from sample_client import RUN_HEADER, durations
from sample_server import shared_sample_service, start_sample_service

from sample_service.batches import Batching
from sample_service.faults import parse_faults
from sample_service.settings import SettingsError, read_settings

FILES = sorted((SCENARIOS / "payloads" / "files").iterdir())
CONTENT = (SCENARIOS / "payloads" / "files" / "orders.json").read_bytes()


@pytest.fixture(scope="module")
def faulty() -> Iterator[str]:
    faults = "lock:100ms,loop:30ms~cpu,cold:500ms"
    with start_sample_service({"FAULTS": faults, "READER_THREADS": "8"}) as url:
        yield url


@pytest.fixture(scope="module")
def batching() -> Iterator[str]:
    with start_sample_service({"IDENTIFY_BATCH": "3:400ms", "READER_THREADS": "2"}) as url:
        yield url


def together(url: str, count: int) -> list[httpx.Response]:
    """So many requests at once, each on a connection of its own."""
    with ThreadPoolExecutor(count) as senders:
        sent = [
            senders.submit(httpx.post, f"{url}/v1/identify", content=CONTENT, headers=RUN_HEADER) for _ in range(count)
        ]
        return [answer.result() for answer in sent]


def test_a_cold_model_is_loaded_once_and_then_a_lock_lets_one_in_at_a_time(faulty: str) -> None:
    first, later = together(faulty, 1), together(faulty, 4)
    spent = sorted((durations(answer) for answer in later), key=lambda stages: stages.get("queue", 0.0))

    assert durations(first[0])["inference"] > 590  # 500 to load, 100 in the lock
    assert all(stages["inference"] < 400 for stages in spent)
    assert spent[0].get("queue", 0.0) < 80
    assert spent[3]["queue"] > 220  # three others of 100 ms before it, less what it came later


def test_a_blocked_loop_keeps_others_waiting_and_is_nobodys_stage(faulty: str) -> None:
    (answer,) = together(faulty, 1)
    spent = durations(answer)

    assert spent["total"] - sum(ms for name, ms in spent.items() if name != "total") > 29


def test_a_batch_leaves_when_it_is_full_or_its_window_is_over(batching: str) -> None:
    alone, three = together(batching, 1), together(batching, 3)

    assert durations(alone[0])["queue"] > 380
    assert all(durations(answer)["queue"] < 350 for answer in three)


def test_answers_of_a_batch_are_those_of_single_calls(batching: str) -> None:
    def kinds(url: str) -> list[str]:
        with ThreadPoolExecutor(len(FILES)) as senders:
            files = (
                path.read_bytes()
                for path in [
                    *FILES,
                ]
            )
            return [a.json()["kind"] for a in senders.map(lambda c: httpx.post(f"{url}/v1/identify", content=c), files)]

    assert kinds(batching) == kinds(shared_sample_service())


def test_what_is_too_short_for_the_model_joins_no_batch(batching: str) -> None:
    answer = httpx.post(f"{batching}/v1/identify", content=b"short", headers=RUN_HEADER)

    assert answer.json()["kind"] == "txt"
    assert durations(answer)["total"] < 300


def test_a_busy_fault_uses_processor_time_and_a_sleeping_one_none() -> None:
    sleeps, computes = parse_faults("preprocess:50ms,postprocess:50ms~cpu")

    begun = time.thread_time()
    sleeps.spend()
    slept = time.thread_time() - begun
    computes.spend()
    computed = time.thread_time() - begun - slept

    assert slept < 0.02
    assert 0.05 <= computed < 0.1


def test_batches_and_spinning_are_off_unless_asked_for() -> None:
    off, on = read_settings({}), read_settings({"IDENTIFY_BATCH": "8:20.5ms", "ONNX_SPIN": "1"})

    assert (off.identify_batch, off.onnx_spin) == (None, False)
    assert (on.identify_batch, on.onnx_spin) == (Batching(8, 0.0205), True)


@pytest.mark.parametrize(
    "value", ["8", "8:20", "0:20ms", "257:20ms", "8:0ms", "8:60001ms", "8:-1ms", "٨:20ms", "9" * 99]
)
def test_a_bad_batch_is_refused_with_an_example(value: str) -> None:
    with pytest.raises(SettingsError, match=r"IDENTIFY_BATCH=.* is no batch size and window such as 8:20ms"):
        read_settings({"IDENTIFY_BATCH": value})


def test_a_switch_is_0_or_1() -> None:
    with pytest.raises(SettingsError, match="ONNX_SPIN='yes' is neither 0"):
        read_settings({"ONNX_SPIN": "yes"})
