"""Server halves of a few requests, written down span by span in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.join import Halves, Intervals
from harness.model import CLAIMS

MS = 1_000_000
T0 = 1_790_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """One span of a request, ms. `inside` is the position of the span around it, in order of begin."""

    stage: str
    begin: float
    end: float
    resource: str | None = None
    model: str | None = None
    batch: str | None = None
    wait: str | None = None
    inside: int = -1


def wait(resource: str, begin: float, end: float, kind: str | None = None, batch: str | None = None) -> Stretch:
    return Stretch("queue", begin, end, resource=resource, wait=kind, batch=batch)


def infer(begin: float, end: float, model: str | None = None, batch: str | None = None, inside: int = -1) -> Stretch:
    return Stretch("inference", begin, end, model=model, batch=batch, inside=inside)


def prepare(begin: float, end: float, inside: int = -1) -> Stretch:
    return Stretch("preprocess", begin, end, inside=inside)


def halves_of(intervals: Intervals, n: int, processes: Sequence[int] | None = None) -> Halves:
    """`n` requests with these intervals, of one process that is not known, or of the processes with these numbers."""
    zero = np.zeros(n, np.int64)
    of = np.array(processes, np.int32) if processes is not None else np.full(n, -1, np.int32)
    return Halves(
        channel=zero.astype(np.int8), split=zero.astype(np.int8), host_of=np.full(n, -1, np.int32), hosts=(),
        process_of=of, processes=tuple(f"service (pid {i})" for i in range(int(of.max(initial=-1)) + 1)),
        total_s=zero.astype(np.float64), start_ns=zero, end_ns=zero, answered_ns=zero,
        seconds=np.zeros((n, len(CLAIMS))), intervals=intervals,
    )  # fmt: skip


def halves(requests: Sequence[Sequence[Stretch]], processes: Sequence[int] | None = None) -> Halves:
    """Server halves with the spans of each request."""
    rows = [(i, s) for i, spans in enumerate(requests) for s in sorted(spans, key=lambda each: each.begin)]
    first = np.cumsum([0, *(len(spans) for spans in requests)])
    named = {
        what: tuple(dict.fromkeys(found for _, s in rows if (found := getattr(s, what)) is not None))
        for what in ("model", "resource", "batch", "wait")
    }

    def numbers(what: str) -> np.ndarray:
        found = (getattr(s, what) for _, s in rows)
        return np.array([-1 if each is None else named[what].index(each) for each in found], np.int32)

    intervals = Intervals(
        request=np.array([i for i, _ in rows], np.int32),
        stage=np.array([CLAIMS.index(s.stage) for _, s in rows], np.int8),
        start_ns=T0 + np.array([round(s.begin * MS) for _, s in rows], np.int64),
        end_ns=T0 + np.array([round(s.end * MS) for _, s in rows], np.int64),
        parent=np.array([-1 if s.inside < 0 else first[i] + s.inside for i, s in rows], np.int64),
        model_of=numbers("model"), resource_of=numbers("resource"), batch_of=numbers("batch"),
        batch_size=np.full(len(rows), -1, np.int32), wait_of=numbers("wait"), cpu_ns=np.full(len(rows), -1, np.int64),
        models=named["model"], resources=named["resource"], batches=named["batch"], waits=named["wait"],
    )  # fmt: skip
    return halves_of(intervals, len(requests), processes)
