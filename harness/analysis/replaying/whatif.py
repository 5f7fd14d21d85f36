"""What a faster stage or more workers would give: the recorded arrivals, replayed with one thing changed.

A percentage off a stage is not a percentage off a latency: who waits for a busy resource waits for the work of those in
front. So the requests of the run go through the queue again, as they came, with shorter work. Work, transfer and the
order of arrival stay as recorded apart from the change; a run that the replay cannot reproduce gets no answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from harness.analysis.replaying import cores
from harness.analysis.replaying.calibration import Queue, per_request
from harness.analysis.replaying.replay import shortened
from harness.analysis.replaying.replayable import Calibrated, Recorded, calibrate
from harness.analysis.replaying.visits import Floats, Times
from harness.analysis.statistics.quantiles import quantile
from harness.diagnosis import Level, WhatIfFindings
from harness.model import CLAIMS
from harness.units import format_rate

USUAL_STAGES = ("preprocess", "inference", "postprocess")
USUAL_FACTORS = (0.8, 0.5)
"""What is asked when nobody asks: stages that take at least LEAST_SHARE of the mean latency."""
LEAST_SHARE = 0.01
LEAST_GAIN = 0.05
"""Of the p99 or the mean: nobody calls less a fix."""
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


def gains(
    run: Recorded, factor: float = 0.8, most: int = 2, vitals: pa.Table | None = None
) -> tuple[WhatIfFindings, ...]:
    """What the longest stages of the service, so much faster, and one more worker would give: what gives most first.

    Left out is what gives hardly anything, and a worker that the processor cannot carry by `vitals` (rows of
    model.Vital). One entry with a refusal when the run cannot be replayed.
    """
    found = calibrate(run)
    if isinstance(found, str):
        return (refused("a replay", found),)
    longest = sorted(
        (s for s in USUAL_STAGES if s in found.seconds), key=lambda s: float(found.seconds[s].sum()), reverse=True
    )
    answers = [answer(found, Change(((stage, factor),))) for stage in longest[:most]]
    queue = found.queue
    if queue is not None:
        more = answer(found, Change(servers=queue.servers + 1))
        carried = cores.carries(run.halves.intervals, vitals, (queue.servers + 1) * queue.pools)
        if carried is not False:
            unsure = "" if carried else ", if a core is free"
            answers.append(replace(more, change=f"{more.change}{unsure}"))
    return tuple(each for each in by_gain(answers) if _is_worth_it(each))


def _is_worth_it(found: WhatIfFindings) -> bool:
    """Whether it takes a notable part off the p99 or the mean; what has no answer is told with its refusal."""
    now, then = found.now, found.then
    if now is None or then is None:
        return True
    pairs = [(now.mean_s, then.mean_s)]
    if now.p99_s is not None and then.p99_s is not None:
        pairs.append((now.p99_s, then.p99_s))
    return any(before - after >= LEAST_GAIN * before > 0.0 for before, after in pairs)


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
        now=_level(rest_s + found.replayed_s, found.has_p99),
        then=_level(np.maximum(0.0, rest_s - less_s) + replayed_s, found.has_p99) if refusal is None else None,
        most_per_s=most,
        refusal=refusal,
    )


def described(change: Change, queue: Queue | None) -> str:
    """In words: `inference x 0.8`, `one more worker than the 2 that fit this run`."""
    texts = [f"{stage} x {factor:g}" for stage, factor in change.stages]
    if change.servers is not None:
        now = queue.servers if queue is not None else None
        per = " per process" if queue is not None and queue.pools > 1 else ""
        lock = queue is not None and queue.resource != THREADS  # who holds a lock or a device is no worker
        held = f" inside {queue.resource}" if queue is not None and lock else ""
        if now is not None and change.servers == now + 1:
            texts.append(f"one more {'request' if lock else 'worker'}{held}{per} than the {_fitted(now)}")
        else:
            texts.append(
                f"{'requests' if lock else 'workers'}{held}{per} {f'{now} -> ' if now is not None else ''}"
                f"{change.servers}"
            )
    return " and ".join(texts) or "nothing"


def _fitted(servers: int) -> str:
    return f"{servers} that {'fits' if servers == 1 else 'fit'} this run"


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


def _level(latency_s: Floats, has_p99: bool) -> Level:
    ordered = np.sort(latency_s)
    p99 = quantile(ordered, 0.99) if has_p99 else None
    return Level(float(ordered.mean()), quantile(ordered, 0.5), p99)


def _middle_and_tail(values: Floats) -> tuple[float, float]:
    ordered = np.sort(values)
    return quantile(ordered, 0.5), quantile(ordered, 0.99)
