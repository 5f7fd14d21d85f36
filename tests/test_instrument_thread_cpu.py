from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import pytest

from harness.instrument import thread_cpu


@dataclass
class Keeper:
    cpu_reading: thread_cpu.Reading | None = None


def ticking(monkeypatch: pytest.MonkeyPatch, *readings: int) -> None:
    remaining = iter(readings)
    monkeypatch.setattr(thread_cpu, "thread_time_ns", lambda: next(remaining))


def test_a_young_reading_is_carried_on_by_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    ticking(monkeypatch, 700, 1_500)
    keeper = Keeper()

    assert thread_cpu.read(keeper, 10_000)[2] == 700
    assert thread_cpu.read(keeper, 14_999)[2] == 700 + 4_999
    assert thread_cpu.read(keeper, 15_000)[2] == 1_500  # five microseconds after the first: read again


def test_what_was_spent_stays_between_nothing_and_the_wall_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ticking(monkeypatch, 5_000, 4_000, 99_000)
    keeper = Keeper()
    since = thread_cpu.read(keeper, 0)

    assert thread_cpu.spent(since, keeper, 20_000) == 0
    assert thread_cpu.spent(since, keeper, 40_000) == 40_000


def test_another_thread_spent_nothing_that_is_known() -> None:
    keeper, found = Keeper(), []
    since = thread_cpu.read(keeper, time.perf_counter_ns())
    thread = threading.Thread(target=lambda: found.append(thread_cpu.spent(since, keeper, time.perf_counter_ns())))
    thread.start()
    thread.join()

    assert found == [None]


def test_a_reading_of_one_thread_is_not_carried_on_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    ticking(monkeypatch, 700)
    keeper = Keeper((threading.get_ident() + 1, 10_000, 123))

    assert thread_cpu.read(keeper, 10_001) == (threading.get_ident(), 10_001, 700)
