"""Requests through a pool of servers, first come first served: data whose truth is known.

Poisson arrivals, a way to the service, a wait for one of `servers` workers, three stages of work in it, a way back.
Everything is drawn from one seed. M/M/1 has its answers in closed form; others are known from a run that is long.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.join import CHANNELS, OTLP, SPLITS, Halves, Intervals
from harness.model import CLAIMS, STAGES, Phase, Split

Floats = NDArray[np.float64]
T0 = 1_790_000_000_000_000_000
RESOURCE = "threadpool"
WORK = ("preprocess", "inference", "postprocess")


@dataclass(frozen=True, slots=True, eq=False)
class Simulated:
    """Seconds, one entry per request. `arrive_s` is when it reached the queue, `start_s` when it got a worker."""

    scheduled_s: Floats
    upload_s: Floats
    arrive_s: Floats
    start_s: Floats
    stages_s: Floats  # (n, 3): WORK
    download_s: Floats
    names: tuple[str, ...]  # the kind of each request

    @property
    def wait_s(self) -> Floats:
        return self.start_s - self.arrive_s

    @property
    def hold_s(self) -> Floats:
        found: Floats = self.stages_s.sum(axis=1)
        return found

    @property
    def latency_s(self) -> Floats:
        return self.upload_s + self.wait_s + self.hold_s + self.download_s


def lognormal(random: np.random.Generator, n: int, mean_s: float, cv: float) -> Floats:
    """Draws with that mean and coefficient of variation; cv 0 gives the mean itself."""
    sigma2 = math.log1p(cv * cv)
    return np.exp(random.normal(math.log(mean_s) - sigma2 / 2, math.sqrt(sigma2), n))


def starts(arrive_s: Floats, hold_s: Floats, servers: int) -> Floats:
    """When each request, in order of arrival, gets the worker that is free first (Kiefer and Wolfowitz 1955)."""
    free = [-math.inf] * servers
    found = np.empty(len(arrive_s))
    for i, (arrives, holds) in enumerate(zip(arrive_s.tolist(), hold_s.tolist(), strict=True)):
        found[i] = begins = max(arrives, free[0])
        heapq.heapreplace(free, begins + holds)
    return found


def simulate(
    n: int,
    load: float,
    seed: int,
    *,
    servers: int = 1,
    means_s: tuple[float, float, float] = (0.002, 0.010, 0.001),
    cv: float = 0.5,
    way_s: float = 0.001,
    large: float = 0.0,
    large_factor: float = 5.0,
    settle: int = 2_000,
) -> Simulated:
    """`n` requests at utilisation `load` of `servers` workers, after `settle` that are not kept.

    A share `large` of the requests is of the kind "large": their inference takes `large_factor` times as long.
    """
    random = np.random.default_rng(seed)
    total = n + settle
    is_large = random.random(total) < large
    stages = np.stack([lognormal(random, total, mean, cv) for mean in means_s], axis=1)
    stages[:, 1] *= np.where(is_large, large_factor, 1.0)
    mean_hold = sum(means_s) + large * (large_factor - 1.0) * means_s[1]
    scheduled = np.cumsum(random.exponential(mean_hold / (load * servers), total))
    upload, download = (lognormal(random, total, way_s, 0.2) for _ in range(2))
    order = np.argsort(scheduled + upload, kind="stable")  # the queue is served in order of arrival, not of sending
    arrive = (scheduled + upload)[order]
    begin = np.empty(total)
    begin[order] = starts(arrive, stages.sum(axis=1)[order], servers)
    kept = slice(settle, None)
    return Simulated(
        scheduled_s=scheduled[kept] - scheduled[settle],
        upload_s=upload[kept],
        arrive_s=(scheduled + upload)[kept] - scheduled[settle],
        start_s=begin[kept] - scheduled[settle],
        stages_s=stages[kept],
        download_s=download[kept],
        names=tuple("large" if each else "usual" for each in is_large[kept].tolist()),
    )


def mm1(n: int, load: float, seed: int, mean_s: float = 0.01, settle: int = 2_000) -> Floats:
    """Times in an M/M/1 system in order of arrival. In the long run they are exponential: see `mm1_quantile`."""
    random = np.random.default_rng(seed)
    arrive = np.cumsum(random.exponential(mean_s / load, n + settle))
    hold = random.exponential(mean_s, n + settle)
    found: Floats = (starts(arrive, hold, 1) + hold - arrive)[settle:]
    return found


def mm1_quantile(p: float, load: float, mean_s: float = 0.01) -> float:
    """The p-quantile of the time in an M/M/1 system: exponential with rate (1 - load) / mean."""
    return -math.log1p(-p) * mean_s / (1.0 - load)


def later(simulated: Simulated, by_s: float) -> Simulated:
    """The same requests, so much later."""
    moved = {name: getattr(simulated, name) + by_s for name in ("scheduled_s", "arrive_s", "start_s")}
    return replace(simulated, **moved)


def joined(parts: Sequence[Simulated]) -> Simulated:
    """Several runs one after the other as one."""
    names = ("scheduled_s", "upload_s", "arrive_s", "start_s", "stages_s", "download_s")
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return Simulated(**columns, names=tuple(name for part in parts for name in part.names))


def halves(simulated: Simulated, host: str | None = "abcabcabcabc", process: str = "reader (pid 7)") -> Halves:
    """The server halves, all of one process whose clock is the client's."""
    n = len(simulated.arrive_s)
    zero = np.zeros(n, np.int32)
    start_ns, end_ns = (
        T0 + np.rint(instants * 1e9).astype(np.int64)
        for instants in (simulated.arrive_s, simulated.start_s + simulated.hold_s)
    )
    return Halves(
        channel=np.full(n, CHANNELS.index(OTLP), np.int8),
        split=np.full(n, SPLITS.index(Split.MARKS), np.int8),
        host_of=zero,
        hosts=(host,) if host is not None else (),
        process_of=zero,
        processes=(process,),
        total_s=(end_ns - start_ns) / 1e9,
        start_ns=start_ns,
        end_ns=end_ns,
        answered_ns=end_ns,
        seconds=np.zeros((n, len(CLAIMS))),
        intervals=intervals(simulated),
    )


def ledger_rows(simulated: Simulated, step: int = 0) -> pd.DataFrame:
    """The requests as measured ledger rows with a server half, and `scheduled_ns` beside them."""
    n = len(simulated.scheduled_s)
    scheduled_ns = T0 + np.rint(simulated.scheduled_s * 1e9).astype(np.int64)
    zero = np.zeros(n)
    known = dict(zip(WORK, simulated.stages_s.T, strict=True))
    known |= {"upload": simulated.upload_s, "queue": simulated.wait_s, "download": simulated.download_s}
    stages = {f"{stage}_s": known.get(stage, zero) for stage in STAGES}
    return pd.DataFrame(
        {
            "request_id": np.arange(n), "trace_id": [f"{i:032x}" for i in range(1, n + 1)], "name": simulated.names,
            "phase": Phase.MEASURE.value, "step": step, "ok": True, "split": Split.MARKS.value,
            "latency_s": simulated.latency_s, "service_s": simulated.latency_s, **stages,
            "transfer_s": simulated.upload_s + simulated.download_s, "queue_est_s": np.nan, "clipped_s": zero,
            "scheduled_ns": scheduled_ns,
        }
    )  # fmt: skip


def intervals(simulated: Simulated) -> Intervals:
    """What the service recorded, ns: one wait and three stages a request, the model of inference named "reader"."""
    n = len(simulated.arrive_s)
    edges = np.column_stack(
        [simulated.arrive_s, simulated.start_s, simulated.start_s[:, None] + np.cumsum(simulated.stages_s, axis=1)]
    )
    edges_ns = T0 + np.rint(edges * 1e9).astype(np.int64)
    rows = 4 * n
    none = np.full(rows, -1, np.int32)
    stage = np.tile(np.array([CLAIMS.index(s) for s in ("queue", *WORK)], np.int8), n)
    return Intervals(
        request=np.repeat(np.arange(n, dtype=np.int32), 4),
        stage=stage,
        start_ns=edges_ns[:, :-1].ravel(),
        end_ns=edges_ns[:, 1:].ravel(),
        parent=none.astype(np.int64),
        model_of=np.where(stage == CLAIMS.index("inference"), 0, -1).astype(np.int32),
        resource_of=np.where(stage == CLAIMS.index("queue"), 0, -1).astype(np.int32),
        batch_of=none, batch_size=none, wait_of=none, cpu_ns=none.astype(np.int64),
        models=("reader",), resources=(RESOURCE,), batches=(), waits=(),
    )  # fmt: skip
