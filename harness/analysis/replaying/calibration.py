"""Does a queue of so many servers reproduce the waits of a run? Only then may it say what would be.

A replay with nothing changed must give back, per request, the waits that were measured: half of them, the mean of them
and their p99 within TOLERANCE. Where waits are short beside the latency the scale is the latency: an error of
NEGLIGIBLE of it moves no answer. And what the replay leaves as recorded must not depend on how many requests are there:
work that takes longer beside other work shares something that no queue recorded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.analysis.replaying.replay import Visits, holding, waits
from harness.analysis.replaying.visits import WAY_BACK, Ends, Floats, Held, Times, held
from harness.analysis.statistics.quantiles import quantile
from harness.join import Halves
from harness.model import CLAIMS
from harness.units import format_duration, format_share

TOLERANCE = 0.15
NEGLIGIBLE = 0.02
MOST_TRIED = 20_000
"""Visits from the begin of the run that tell how many servers there are."""
CLEARLY = 3.5  # standard errors
TINY_S = 1e-6  # where a length is zero its logarithm is that of a microsecond
LEAST_GROUP = 20
MOST_HAND_OVER = 0.25
"""Of the mean hold. Servers that stand idle for longer while requests wait are kept from them by something else."""
SHORT_WAIT_NS = 100_000  # a hand-over between threads; nobody was in front
_QUEUE = CLAIMS.index("queue")


@dataclass(frozen=True, slots=True, eq=False)
class Queue:
    """A resource as the replay sees it. `hand_over_ns`, of each visit, passes between being next and running."""

    resource: str
    servers: int
    found: Held
    visits: Visits  # the hand-over, in which nobody else has the server, is part of their hold
    hand_over_ns: Times
    pools: int

    def waits_ns(self, visits: Visits, servers: int) -> Times:
        """What each visit waits, with its hand-over."""
        return waits(visits, servers) + self.hand_over_ns


LEAST_WAIT_S, LEAST_PART = 0.0005, 0.02
"""Mean wait, also as a part of the time in the service, from which on somebody had to wait."""


def main_resource(halves: Halves) -> int | None:
    """The resource that requests wait for longest in sum, a position in `intervals.resources`.

    None where that is next to nothing: how many can hold it shows only where it is short, and hand-overs take time too.
    """
    total = waited_s(halves)
    least = max(LEAST_WAIT_S, LEAST_PART * float(halves.total_s[halves.known].mean())) if halves.known.any() else 0.0
    least *= int(halves.known.sum())
    counts = [(seconds, -number) for number, seconds in enumerate(total) if seconds > least]
    return -max(counts)[1] if counts else None


def waited_s(halves: Halves) -> list[float]:
    """Seconds waited for each resource, over all requests; 0 for the way back to the event loop."""
    intervals = halves.intervals
    rows = (intervals.stage == _QUEUE) & (intervals.resource_of >= 0)
    length = (intervals.end_ns - intervals.start_ns)[rows] / 1e9
    total = np.bincount(intervals.resource_of[rows], weights=length, minlength=len(intervals.resources))
    return [0.0 if name == WAY_BACK else float(t) for name, t in zip(intervals.resources, total, strict=True)]


def in_batches(halves: Halves, resource: int) -> bool:
    """Whether the waits for a resource name the batch that ended them."""
    intervals = halves.intervals
    rows = (intervals.stage == _QUEUE) & (intervals.resource_of == resource)
    return bool(((intervals.batch_of[rows] >= 0) | (intervals.wait_of[rows] >= 0)).any())


def fit(halves: Halves, resource: int) -> Queue | None:
    """The queue that comes closest to the waits for a resource; None when hardly anybody had to wait for it."""
    name = halves.intervals.resources[resource]
    ways = {ends: held(halves, resource, ends) for ends in Ends}
    best: tuple[float, Ends, int] | None = None
    for ends, found in ways.items():
        few = _early(found)
        counted = _servers(few)
        if counted is None:
            continue
        for servers in range(max(1, counted - 1), counted + 2):
            queue = _queue(name, few, servers)
            error = float(np.abs(queue.waits_ns(queue.visits, servers) - few.wait_ns).mean())
            error += float(queue.hand_over_ns.mean())  # with too many servers all waiting would be hand-over
            if best is None or error < 0.95 * best[0]:
                best = (error, ends, servers)
    return None if best is None else _queue(name, ways[best[1]], best[2])


def _early(found: Held) -> Held:
    """The first requests of the run: the servers were free before them."""
    if len(found) <= MOST_TRIED:
        return found
    last_ns = np.partition(found.arrive_ns, MOST_TRIED)[MOST_TRIED]
    begun = np.zeros(int(found.request.max()) + 1, np.bool_)
    begun[found.request[~found.again & (found.arrive_ns <= last_ns)]] = True
    return found.some(begun[found.request])


def _servers(found: Held) -> int | None:
    """How many usually hold it just after somebody who waited got it: then none was free."""
    full: list[NDArray[np.int64]] = []
    for pool in np.unique(found.pool).tolist():
        of = found.pool == pool
        slack = int(0.01 * np.median(found.release_ns[of] - found.grant_ns[of]))
        waited = of & (found.wait_ns > max(SHORT_WAIT_NS, 5 * slack))
        full.append(holding(found.grant_ns[of], found.release_ns[of], found.grant_ns[waited], slack))
    counted = np.concatenate(full) if full else np.zeros(0, np.int64)
    return max(1, int(np.median(counted))) if len(counted) else None


def _queue(name: str, found: Held, servers: int) -> Queue:
    visits, hand_over = found.visits(), _hand_overs(found, servers)
    visits = replace(visits, hold_ns=visits.hold_ns + hand_over)
    return Queue(name, servers, found, visits, hand_over, len(np.unique(found.pool)))


def _hand_overs(found: Held, servers: int) -> Times:
    """From the instant a server is free for a visit until the visit has it: a thread must wake up, an event loop must
    come round. Of k grants in order of time the last can only follow k - servers releases, whoever is served first.
    """
    spent = np.zeros(len(found), np.int64)
    for pool in np.unique(found.pool).tolist():
        rows = np.flatnonzero(found.pool == pool)
        rows = rows[np.argsort(found.grant_ns[rows], kind="stable")]
        free_ns = np.full(len(rows), np.iinfo(np.int64).min)
        free_ns[servers:] = np.sort(found.release_ns[rows])[: max(0, len(rows) - servers)]
        spent[rows] = found.grant_ns[rows] - np.maximum(found.arrive_ns[rows], free_ns)
    return np.maximum(spent, 0)


# --- does it fit -------------------------------------------------------------------------------------------


def misfit(measured_s: Floats, replayed_s: Floats, latency_s: Floats) -> str | None:
    """Why the replayed waits are not the measured ones, with figures; None when they are. A value per request."""
    if not len(measured_s):
        return None
    error = np.abs(replayed_s - measured_s)
    typical = (float(np.median(error)), _room(np.median(measured_s), np.median(latency_s)))
    mean = (float(error.mean()), _room(measured_s.mean(), latency_s.mean()))
    slow = [quantile(np.sort(values), 0.99) for values in (measured_s, replayed_s, latency_s)]
    tail = (abs(slow[1] - slow[0]), _room(slow[0], slow[2]))
    if all(found <= room for found, room in (typical, mean, tail)):
        return None
    replayed, measured = (
        f"{format_duration(float(np.median(values)))} (p50) and {format_duration(p99)} (p99)"
        for values, p99 in ((replayed_s, slow[1]), (measured_s, slow[0]))
    )
    return (
        f"the replay does not fit this run: replayed as recorded, requests wait {replayed}, measured were {measured}; "
        f"a request is off by {format_duration(mean[0])} in the mean"
    )


def _room(wait_s: float, latency_s: float) -> float:
    return max(TOLERANCE * float(wait_s), NEGLIGIBLE * float(latency_s))


def idle(queue: Queue) -> str | None:
    """Why the servers are not what requests wait for; None when they are."""
    hold, hand_over = (
        float(times.mean()) / 1e9 for times in (queue.visits.hold_ns - queue.hand_over_ns, queue.hand_over_ns)
    )
    if hand_over <= MOST_HAND_OVER * hold:
        return None
    return (
        f"the replay does not fit this run: with {queue.servers} served at a time, {queue.resource} would stand idle "
        f"for {format_duration(hand_over)} before each request that waits (it holds for {format_duration(hold)})"
    )


def beside(begin_ns: Times, end_ns: Times, pool: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many others, in the same process, had begun and not ended when each began."""
    found = np.zeros(len(begin_ns), np.int64)
    for each in np.unique(pool).tolist():
        of = np.flatnonzero(pool == each)
        found[of] = holding(begin_ns[of], end_ns[of], begin_ns[of])
    return np.maximum(found - (end_ns > begin_ns), 0)


@dataclass(frozen=True, slots=True)
class Growth:
    """The mean of something for those who came to few others, and to many."""

    few_s: float
    many_s: float


def growth(length_s: Floats, others: NDArray[np.int64]) -> Growth | None:
    """Whether it clearly lasts longer beside many others: the quarter with most of them against that with
    fewest, in seconds or in logarithms, where few long ones do not hide what all have.

    Who comes knows nothing of how long the others will take: what lasts as long as recorded, whatever the others do, is
    independent of their number. None when it does not grow, or nobody can tell.
    """
    if len(length_s) < 2 * LEAST_GROUP:
        return None
    least, most = np.quantile(others, 0.25), np.quantile(others, 0.75)
    if least == others.max():
        few, many = length_s[others < least], length_s[others == least]
    else:
        few, many = length_s[others <= least], length_s[(others >= most) & (others > least)]
    if min(len(few), len(many)) < LEAST_GROUP or float(many.mean()) <= (1.0 + TOLERANCE) * float(few.mean()):
        return None
    if max(_welch(few, many), _welch(np.log(few + TINY_S), np.log(many + TINY_S))) < CLEARLY:
        return None
    return Growth(float(few.mean()), float(many.mean()))


def _welch(few: Floats, many: Floats) -> float:
    """The difference of the means in standard errors (Welch 1947)."""
    error = math.sqrt(float(few.var(ddof=1)) / len(few) + float(many.var(ddof=1)) / len(many))
    difference = float(many.mean() - few.mean())
    return difference / error if error > 0 else math.copysign(math.inf, difference)


def shared(what: str, found: Growth) -> str:
    """The refusal that a growth is worth."""
    more = format_share(found.many_s / found.few_s - 1.0) if found.few_s > 0 else "far"
    return (
        f"the replay does not fit this run: {what} takes {more} longer beside many other requests than beside few "
        f"({format_duration(found.few_s)} -> {format_duration(found.many_s)}): "
        "they share something that was not recorded"
    )


def per_request(values_ns: Times, request: NDArray[np.int64], n: int) -> Floats:
    """Seconds of each of n requests, from those of their visits."""
    return np.bincount(request, weights=values_ns / 1e9, minlength=n).astype(np.float64)
