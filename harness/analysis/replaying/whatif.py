"""What a faster stage or more workers would give: the recorded arrivals, replayed with one thing changed.

A percentage off a stage is not a percentage off a latency: who waits for a busy resource waits for the work of those in
front. So the requests of the run go through the queue again, as they came, with shorter work. Work, transfer and the
order of arrival stay as recorded apart from the change; a run that the replay cannot reproduce gets no answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from harness.analysis.replaying.calibration import Queue, per_request
from harness.analysis.replaying.replay import shortened
from harness.analysis.replaying.replayable import Calibrated, Recorded, calibrate
from harness.analysis.replaying.visits import Floats, Times
from harness.analysis.statistics.quantiles import needed, quantile
from harness.diagnosis import Level, WhatIfFindings
from harness.model import CLAIMS
from harness.units import format_rate

USUAL_STAGES = ("preprocess", "inference", "postprocess")
USUAL_FACTORS = (0.8, 0.5)
"""What is asked when nobody asks: stages that take at least LEAST_SHARE of the mean latency."""
LEAST_SHARE = 0.01
THREADS = "threadpool"


@dataclass(frozen=True, slots=True)
class Change:
    """What is different: stages scaled by a factor, servers of each process. Nothing is named twice."""

    stages: tuple[tuple[str, float], ...] = ()
    servers: int | None = None


# --- what to ask ------------------------------------------------------------------------------------------


def usual_changes(found: Calibrated) -> tuple[Change, ...]:
    """Each stage of the service faster, and one more worker."""
    mean_s = float(found.latency_s.mean())
    stages = [s for s in USUAL_STAGES if s in found.seconds and found.seconds[s].mean() >= LEAST_SHARE * mean_s]
    changes = [Change(((stage, factor),)) for stage in stages for factor in USUAL_FACTORS]
    if found.queue is not None:
        changes.append(Change(servers=found.queue.servers + 1))
    return tuple(changes)


def by_gain(answers: Iterable[WhatIfFindings]) -> tuple[WhatIfFindings, ...]:
    """What takes most off the p99 first; off the mean, where n carries no p99."""
    return tuple(sorted(answers, key=_gain, reverse=True))


def _gain(found: WhatIfFindings) -> float:
    if found.now is None or found.then is None:
        return -math.inf
    if found.now.p99_s is None or found.then.p99_s is None:
        return found.now.mean_s - found.then.mean_s
    return found.now.p99_s - found.then.p99_s


def gains(run: Recorded, factor: float = 0.8, most: int = 2) -> tuple[WhatIfFindings, ...]:
    """What the longest stages of the service, so much faster, and one more worker would give: what gives most first.

    One entry with a refusal when the run cannot be replayed.
    """
    found = calibrate(run)
    if isinstance(found, str):
        return (refused("a replay", found),)
    longest = sorted(
        (s for s in USUAL_STAGES if s in found.seconds), key=lambda s: float(found.seconds[s].sum()), reverse=True
    )
    changes = [Change(((stage, factor),)) for stage in longest[:most]]
    if found.queue is not None:
        changes.append(Change(servers=found.queue.servers + 1))
    return by_gain(answer(found, change) for change in changes)


def refused(change: str, why: str) -> WhatIfFindings:
    """No answer to a question, and why."""
    nothing = (0.0, 0.0)
    return WhatIfFindings(change, None, None, 0, 0, nothing, nothing, None, None, None, why)


# --- answers -----------------------------------------------------------------------------------------------


def answer(found: Calibrated, change: Change) -> WhatIfFindings:
    """The replay with that change. Stages of the change are among `found.seconds`."""
    queue = found.queue
    less_s = _less_s(found, change)
    replayed_s, most, servers = found.replayed_s, None, None
    if queue is not None:
        servers = change.servers or queue.servers
        visits = shortened(queue.visits, *_less_ns(found, queue, change))
        n = int(max(queue.found.request.max(), found.counted.max())) + 1
        replayed_s = per_request(queue.waits_ns(visits, servers), queue.found.request, n)[found.counted]
        most = _most_per_s(queue, per_request(visits.hold_ns, queue.found.request, n)[found.counted], servers)
    rest_s = found.latency_s - found.waited_s
    refusal = _too_many(found, queue, most)
    return WhatIfFindings(
        change=described(change, queue),
        resource=queue.resource if queue is not None else None,
        servers=servers,
        pools=queue.pools if queue is not None else 0,
        n=len(found.counted),
        measured_wait_s=_middle_and_tail(found.waited_s),
        replayed_wait_s=_middle_and_tail(found.replayed_s),
        now=_level(rest_s + found.replayed_s),
        then=_level(np.maximum(0.0, rest_s - less_s) + replayed_s) if refusal is None else None,
        most_per_s=most,
        refusal=refusal,
    )


def described(change: Change, queue: Queue | None) -> str:
    """In words: `inference x 0.8`, `one more worker (2 -> 3)`, `one more request inside gpu (1 -> 2)`."""
    texts = [f"{stage} x {factor:g}" for stage, factor in change.stages]
    if change.servers is not None:
        now = queue.servers if queue is not None else None
        per = " per process" if queue is not None and queue.pools > 1 else ""
        lock = queue is not None and queue.resource != THREADS  # who holds a lock or a device is no worker
        held = f" inside {queue.resource}" if queue is not None and lock else ""
        if now is not None and change.servers == now + 1:
            texts.append(f"one more {'request' if lock else 'worker'}{held}{per} ({now} -> {change.servers})")
        else:
            texts.append(
                f"{'requests' if lock else 'workers'}{held}{per} {f'{now} -> ' if now is not None else ''}"
                f"{change.servers}"
            )
    return " and ".join(texts) or "nothing"


def _less_s(found: Calibrated, change: Change) -> Floats:
    """What each counted request is spared of its own, seconds."""
    less = np.zeros(len(found.counted))
    for stage, factor in change.stages:
        less += (1.0 - factor) * found.seconds[stage]
    return less


def _less_ns(found: Calibrated, queue: Queue, change: Change) -> tuple[Times, Times]:
    """What each visit is spared before it and in it."""
    before, inside = np.zeros(len(queue.found)), np.zeros(len(queue.found))
    parts = found.parts
    assert parts is not None  # noqa: S101 - made together with the queue
    for stage, factor in change.stages:
        saved = 1.0 - factor
        if stage == "upload":  # most of it is over before the service knows of the request
            before += np.where(queue.found.again, 0.0, _of_visits(found, queue, saved * found.seconds[stage]))
        elif stage in CLAIMS:
            before += saved * parts.before[:, CLAIMS.index(stage)]
            inside += saved * parts.inside[:, CLAIMS.index(stage)]
        else:
            before += saved * parts.other_before
            inside += saved * parts.other_inside
    return np.rint(before * 1e9).astype(np.int64), np.rint(inside * 1e9).astype(np.int64)


def _of_visits(found: Calibrated, queue: Queue, seconds: Floats) -> Floats:
    """A value per counted request, for its visits; 0 for the visits of others."""
    n = int(max(queue.found.request.max(), found.counted.max())) + 1
    table = np.zeros(n)
    table[found.counted] = seconds
    return table[queue.found.request]


def _most_per_s(queue: Queue, hold_s: Floats, servers: int) -> float | None:
    """Requests per second of this mix at which all servers are busy all the time."""
    mean = float(hold_s.mean())
    return servers * queue.pools / mean if mean > 0 else None


def _too_many(found: Calibrated, queue: Queue | None, most_per_s: float | None) -> str | None:
    """More than the servers carry would wait longer the longer it goes on."""
    if queue is None or most_per_s is None or found.came_per_s is None or found.came_per_s < most_per_s:
        return None
    return (
        f"{queue.resource} would carry {format_rate(most_per_s)} of the {format_rate(found.came_per_s)} that come: "
        "its queue would grow without end"
    )


def _level(latency_s: Floats) -> Level:
    ordered = np.sort(latency_s)
    p99 = quantile(ordered, 0.99) if len(ordered) >= needed(0.99) else None
    return Level(float(ordered.mean()), quantile(ordered, 0.5), p99)


def _middle_and_tail(values: Floats) -> tuple[float, float]:
    ordered = np.sort(values)
    return quantile(ordered, 0.5), quantile(ordered, 0.99)
