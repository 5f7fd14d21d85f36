"""Queues that are none: what a replay of servers in order of arrival must refuse. And runs made of simulated queues."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa

from harness.analysis.replaying.replayable import Calibrated, Recorded, calibrate
from harness.join import Halves
from harness.model import Arrivals
from tests import simulated_queues as queues
from tests.simulated_queues import Simulated


def a_run(simulated: Simulated, arrivals: Arrivals = Arrivals.POISSON, halves: Halves | None = None) -> Recorded:
    rows = queues.ledger_rows(simulated)
    samples = pa.table({"request_id": np.arange(len(rows)), "status": np.full(len(rows), 200)})
    return Recorded(arrivals, samples, halves or queues.halves(simulated), rows)


def calibrated(simulated: Simulated) -> Calibrated:
    found = calibrate(a_run(simulated))
    assert isinstance(found, Calibrated), found
    return found


def again(simulated: Simulated, servers: int, **factors: float) -> np.ndarray:
    """Latencies of the same requests, simulated anew with stages scaled."""
    stages = simulated.stages_s * np.array([factors.get(stage, 1.0) for stage in queues.WORK])
    order = np.argsort(simulated.arrive_s)
    begin = np.empty(len(order))
    begin[order] = queues.starts(simulated.arrive_s[order], stages.sum(axis=1)[order], servers)
    found: np.ndarray = simulated.upload_s + begin - simulated.arrive_s + stages.sum(axis=1) + simulated.download_s
    return found


def in_order(simulated: Simulated, servers: int, first: Callable[[int, float], object]) -> Simulated:
    """The same requests, taken from the line by the least `first(number, hold)`."""
    order = np.argsort(simulated.arrive_s)
    arrive, hold = simulated.arrive_s[order].tolist(), simulated.hold_s[order].tolist()
    line: list[tuple[object, int]] = []
    begin, free, come = [0.0] * len(arrive), [-1.0] * servers, 0
    for _ in arrive:
        while come < len(arrive) and (arrive[come] <= free[0] or not line):
            heapq.heappush(line, (first(come, hold[come]), come))
            come += 1
        chosen = heapq.heappop(line)[1]
        begin[chosen] = max(arrive[chosen], free[0])
        heapq.heapreplace(free, begin[chosen] + hold[chosen])
    start = np.empty(len(arrive))
    start[order] = begin
    return replace(simulated, start_s=start)


def contended(simulated: Simulated, servers: int, slower: float) -> Simulated:
    """Work that takes so much longer for each other worker that is busy when it begins."""
    free, start, factor = [-1.0] * servers, [], []
    for arrive, hold in zip(simulated.arrive_s.tolist(), simulated.hold_s.tolist(), strict=True):
        begin = max(arrive, free[0])
        factor.append(1.0 + slower * sum(until > begin for until in free))
        start.append(begin)
        heapq.heapreplace(free, begin + hold * factor[-1])
    return replace(simulated, start_s=np.array(start), stages_s=simulated.stages_s * np.array(factor)[:, None])


def sharing(simulated: Simulated) -> Simulated:
    """One processor, shared by all who are there: nobody waits, everybody is slowed down."""
    arrive, work = simulated.arrive_s.tolist(), simulated.hold_s.tolist()
    there: list[tuple[float, int]] = []
    end, now, given, come = [0.0] * len(arrive), 0.0, 0.0, 0
    while come < len(arrive) or there:
        leaves = now + (there[0][0] - given) * len(there) if there else np.inf
        if come < len(arrive) and arrive[come] <= leaves:
            given += (arrive[come] - now) / len(there) if there else 0.0
            now = arrive[come]
            heapq.heappush(there, (given + work[come], come))
            come += 1
        else:
            given, gone = heapq.heappop(there)
            end[gone] = now = leaves
    slowed = (np.array(end) - simulated.arrive_s) / simulated.hold_s
    return replace(simulated, start_s=simulated.arrive_s, stages_s=simulated.stages_s * slowed[:, None])


def followed(simulated: Simulated, mean_s: float) -> Simulated:
    """Behind the first queue there is another one that nobody recorded."""
    out = simulated.start_s + simulated.hold_s
    order = np.argsort(out)
    hold = queues.lognormal(np.random.default_rng(5), len(out), mean_s, 0.5)
    begin = np.empty(len(out))
    begin[order] = queues.starts(out[order], hold[order], 1)
    return replace(simulated, download_s=simulated.download_s + begin - out + hold)


def in_time_order(simulated: Simulated) -> Simulated:
    order = np.argsort(simulated.arrive_s)
    columns = ("scheduled_s", "upload_s", "arrive_s", "start_s", "stages_s", "download_s")
    return replace(simulated, **{name: getattr(simulated, name)[order] for name in columns})
