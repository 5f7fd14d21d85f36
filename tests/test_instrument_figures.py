"""The figures of a process, each provoked: a blocked loop, a full pool, a busy core, a collection of garbage."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
import uvloop

from harness.instrument import figures
from harness.instrument.figures import Sampler, watch_collector
from harness.instrument.loop_probe import EVERY_S, LoopProbe


def named(sampler: Sampler) -> dict[str, float]:
    return {name: value for name, value, _ in sampler.take()}


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_blocked_loop_shows_its_lag_during_and_after(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    seen: dict[str, float | None] = {}

    async def scene() -> LoopProbe:
        probe = LoopProbe(asyncio.get_running_loop())
        watcher = threading.Timer(0.25, lambda: seen.update(during=probe.lag_s()))
        await asyncio.sleep(2 * EVERY_S)
        probe.lag_s()
        watcher.start()
        time.sleep(0.35)  # holds the loop
        await asyncio.sleep(2 * EVERY_S)
        watcher.join()
        seen["after"] = probe.lag_s()
        return probe

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        probe = runner.run(scene())
        assert probe.lag_s() is None  # it does not run any more
    during, after = seen["during"] or 0, seen["after"] or 0

    assert 0.25 - EVERY_S - 0.01 <= during < 2
    assert 0.35 - EVERY_S - 0.01 <= after < 2
    assert probe.is_over()


def test_threads_in_use_and_calls_that_wait_for_one() -> None:
    async def scene() -> list[dict[str, float]]:
        probe = LoopProbe(asyncio.get_running_loop())
        probe.look_for_limiter()
        sampler = Sampler(lambda: 5, lambda: [probe])
        limiter = anyio.to_thread.current_default_thread_limiter()
        limiter.total_tokens = 2
        go_on = threading.Event()
        calls = [asyncio.ensure_future(anyio.to_thread.run_sync(go_on.wait)) for _ in range(3)]
        await asyncio.sleep(0.05)
        busy = named(sampler)
        go_on.set()
        await asyncio.gather(*calls)
        limiter.total_tokens = math.inf
        return [busy, named(sampler)]

    busy, idle = asyncio.run(scene())

    assert [busy[f"harness.threadpool.{what}"] for what in ("size", "in_use", "waiting")] == [2, 2, 1]
    assert [idle[f"harness.threadpool.{what}"] for what in ("in_use", "waiting")] == [0, 0]
    assert "harness.threadpool.size" not in idle  # without end is no figure
    assert busy["harness.requests.in_flight"] == 5


def test_cpu_is_counted_in_cores() -> None:
    sampler = Sampler(lambda: 0, list)
    begin = time.process_time()
    while time.process_time() - begin < 0.1:
        pass
    busy = named(sampler)["process.cpu.utilization"]
    time.sleep(0.1)
    idle = named(sampler)["process.cpu.utilization"]

    assert idle < 0.5 * busy  # a busy machine gives us less than a core while we work


def test_a_collection_of_garbage_is_timed() -> None:
    watch_collector()
    watch_collector()
    sampler = Sampler(lambda: 0, list)
    gc.collect()
    found, later = named(sampler), named(sampler)

    assert found["harness.gc.collections"] >= 1
    assert 0 < found["harness.gc.pause"] < 10
    assert later["harness.gc.pause"] < found["harness.gc.pause"]
    assert len([callback for callback in gc.callbacks if "harness" in callback.__module__]) == 1


def test_a_second_loop_has_figures_of_its_own() -> None:
    async def scene(first: LoopProbe) -> list[tuple[str, dict[str, str]]]:
        second = LoopProbe(asyncio.get_running_loop())
        return [(n, a) for n, _, a in Sampler(lambda: 0, lambda: [first, second]).take() if n.endswith("lag")]

    async def outer() -> Any:
        first = LoopProbe(asyncio.get_running_loop())
        return await asyncio.to_thread(asyncio.run, scene(first))

    assert asyncio.run(outer()) == [("harness.event_loop.lag", {}), ("harness.event_loop.lag", {"loop": "1"})]


def test_the_cores_of_a_process_are_those_it_is_bound_to_or_fewer_by_the_quota_of_its_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = float(len(os.sched_getaffinity(0)))
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(figures, "_QUOTA", quota)
    seen = []
    for text in ("max 100000", "50000 100000", "damaged", "9900000 100000", "1 0"):
        quota.write_text(text)
        seen.append(figures.cores())

    assert seen == [bound, 0.5, bound, bound, bound]
    assert named(Sampler(lambda: 0, list))["harness.cpu.limit"] == bound
