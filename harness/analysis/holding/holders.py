"""Who held a resource, and when: inferred, because spans say when a request waits and not when it gives back.

- A thread of a pool is held from the end of the wait for it until the wait for the event loop begins, which is how a
  job in a thread ends. Without such a wait (it was too short to be recorded): until the last work before the next
  trip into a thread. Who got a thread at once has no wait either: its trip begins with the work that comes first in
  the trips of other requests of its name.
- A lock or semaphore is held from the end of the wait for it until work ends whose end is usually followed by the end
  of somebody else's wait, in the same process (a hand-over). Where nothing can be learned from hand-overs: until the
  end of the first work after the wait, what is inside it included, or else of the work around the wait.
- A batching queue is held by the batches that ran, each counted once however many members it has.
- Nobody can be said to hold the event loop.

All pools of threads of a process go by one name and count as one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis.holding import hand_overs
from harness.join import Halves, Intervals
from harness.model import CLAIMS, SERVER_STAGES

THREADS, LOOP = "threadpool", "event_loop"
WINDOW = "window"
"""Kind of a wait for a batch to fill: its worker was free."""

CONTENDED_NS = 1_000_000
"""From here on a wait is more than the time it takes to start a thread or to be woken up."""

_QUEUE = CLAIMS.index("queue")
_WORK = tuple(CLAIMS.index(stage) for stage in SERVER_STAGES if stage != "queue")
_OFTEN = 0.2  # share of the trips of a name that begin with some work: then this work begins trips
_FULL = 0.6  # least share of the waiting during which all places of a limited resource are taken
_BEYOND = 0.05  # most time above the limit, relative to the time at it: releases are inferred

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Holds:
    """Stretches in which a resource was held, ns. `request` is -1 for a batch; `resource` one of the intervals'.

    `member_hold` and `member_row` are pairs of a hold that is a batch and the interval of one of its members.
    """

    request: NDArray[np.int64]
    process: NDArray[np.int64]
    resource: NDArray[np.int64]
    begin_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    member_hold: Rows
    member_row: Rows

    def __len__(self) -> int:
        return len(self.request)


def find(halves: Halves, name_of: NDArray[np.int64]) -> Holds:
    """All holds of all resources. `name_of`: a number for the kind of each request."""
    spans = halves.intervals
    process = processes(halves)
    waits = waiting(spans)
    is_batching = batching(spans)
    pool, loop = (_number(spans.resources, each) for each in (THREADS, LOOP))
    resource = spans.resource_of[waits]
    named = (resource != pool) & (resource != loop) & ~is_batching[resource]
    in_threads = _threads(spans, waits[resource == pool], waits[resource == loop], name_of)
    in_locks = hand_overs.releases(spans, waits[named], process, name_of, works(spans))
    begin, end, row = _joined(in_threads, (spans.end_ns[waits[named]], in_locks, waits[named]))
    held = end > begin
    begin, end, row = begin[held], end[held], row[held]
    request = spans.request[row].astype(np.int64)
    own = np.where(spans.stage[row] == _QUEUE, spans.resource_of[row], pool).astype(np.int64)
    batches = _batches(spans, process, waits, is_batching)
    return Holds(
        request=np.concatenate((request, batches.request)),
        process=np.concatenate((process[request], batches.process)),
        resource=np.concatenate((own, batches.resource)),
        begin_ns=np.concatenate((begin, batches.begin_ns)),
        end_ns=np.concatenate((end, batches.end_ns)),
        member_hold=batches.member_hold + len(request),
        member_row=batches.member_row,
    )


def processes(halves: Halves) -> NDArray[np.int64]:
    """A number for the process that served each request; those whose spans do not tell count as one per host."""
    hosts = len(halves.hosts) + 1
    found: NDArray[np.int64] = (halves.process_of.astype(np.int64) + 1) * hosts + halves.host_of + 1
    return found


def waiting(spans: Intervals) -> Rows:
    """Rows of the recorded waits whose resource is known."""
    return np.flatnonzero((spans.stage == _QUEUE) & (spans.resource_of >= 0))


def works(spans: Intervals) -> NDArray[np.bool_]:
    """Which rows are work of the service."""
    return np.isin(spans.stage, _WORK)


def batching(spans: Intervals) -> NDArray[np.bool_]:
    """Which resources are batching queues: waits for them name a batch, or say what they were about."""
    found = np.zeros(len(spans.resources) + 1, np.bool_)  # the last entry: none
    rows = waiting(spans)
    found[spans.resource_of[rows[(spans.wait_of[rows] >= 0) | (spans.batch_of[rows] >= 0)]]] = True
    for name in (THREADS, LOOP):
        if name in spans.resources:
            found[spans.resources.index(name)] = False
    return found


def capacity(level: NDArray[np.int64], contended_s: NDArray[np.float64], total_s: NDArray[np.float64]) -> int | None:
    """How many can hold a resource at once: the number that did while somebody waited, and that was never exceeded.

    Of each number of holders: the seconds at it while somebody waited, and in all. None where the waiting has another
    reason than that all places are taken.
    """
    held = level > 0
    if not contended_s[held].sum() > 0.0:
        return None
    most = int(level[held][np.argmax(contended_s[held])])
    full = contended_s[level == most].sum()
    beyond = total_s[level > most].sum()
    if full < _FULL * contended_s.sum() or beyond > _BEYOND * total_s[level == most].sum():
        return None
    return most


# --- threads -----------------------------------------------------------------------------------------------

_Stretches = tuple[Rows, Rows, Rows]  # begin and end in ns, and a row of the request that holds


def _threads(spans: Intervals, asked: Rows, resumed: Rows, name_of: NDArray[np.int64]) -> _Stretches:
    """Trips into threads. The row is that of the wait, or of the first work of a trip without a wait."""
    if not len(asked):
        return asked, asked, asked
    asked = asked[np.lexsort((spans.end_ns[asked], spans.request[asked]))]  # in the order in which they got a thread
    edges = np.sort(np.concatenate((asked, resumed)))
    at_once = _at_once(spans, asked, name_of)
    begin = np.concatenate((spans.end_ns[asked], spans.start_ns[at_once]))
    end = np.maximum(_trip_ends(spans, edges, resumed, np.concatenate((asked, at_once)), begin), begin)
    # As many returns as trips: the first return belongs to the first trip, also where several run side by side.
    paired = _counts(spans, asked) == _counts(spans, resumed)
    trips, returns = np.flatnonzero(paired[spans.request[asked]]), resumed[paired[spans.request[resumed]]]
    later = spans.start_ns[returns] >= begin[trips]
    end[trips[later]] = spans.start_ns[returns[later]]
    return begin, end, np.concatenate((asked, at_once))


def _counts(spans: Intervals, rows: Rows) -> NDArray[np.int64]:
    return np.bincount(spans.request[rows], minlength=int(spans.request.max()) + 1)


def _trip_ends(spans: Intervals, edges: Rows, resumed: Rows, rows: Rows, begin: Rows) -> Rows:
    """When the trips that begin at these rows end: at the return to the loop, or with the last work before the next."""
    stop = np.searchsorted(spans.request, spans.request[rows], side="right")
    place = np.searchsorted(edges, rows, side="right")
    following = np.append(edges, len(spans))[place]
    follows = following < stop
    returns = follows & np.isin(following, resumed)
    until = np.where(follows, following, stop)
    first = np.where(spans.stage[rows] == _QUEUE, rows + 1, rows)
    last_work = _latest(np.where(works(spans), spans.end_ns, 0), first, until)
    known = np.append(spans.start_ns, 0)[np.where(follows, following, len(spans))]
    above = spans.parent[rows]
    around = np.where(above >= 0, np.append(spans.end_ns, 0)[above], begin)
    worked = np.where(last_work > 0, last_work, around)
    return np.where(returns, known, np.where(follows, np.minimum(worked, known), worked))


def _latest(values: Rows, first: Rows, until: Rows) -> Rows:
    """The largest of values[first:until] of each pair; 0 of none."""
    if not len(first):
        return first
    padded = np.append(values, 0)
    found = np.maximum.reduceat(padded, np.stack((first, until), axis=1).ravel())[::2]
    latest: Rows = np.where(until > first, found, 0)
    return latest


def _at_once(spans: Intervals, asked: Rows, name_of: NDArray[np.int64]) -> Rows:
    """The first work in a thread of the requests that got theirs without a wait worth recording."""
    work = np.flatnonzero(works(spans))
    kind = (spans.model_of.astype(np.int64) + 1) * len(CLAIMS) + spans.stage
    kind += name_of[spans.request] * (len(spans.models) + 1) * len(CLAIMS)
    following = np.append(work, -1)[np.searchsorted(work, asked, side="right")]
    first = following[(following >= 0) & (spans.request[following] == spans.request[asked])]
    kinds, times = np.unique(kind[first], return_counts=True)
    names, trips = np.unique(name_of[spans.request[asked]], return_counts=True)
    of_name = trips[np.searchsorted(names, kinds // ((len(spans.models) + 1) * len(CLAIMS)))]
    begins = work[np.isin(kind[work], kinds[times >= _OFTEN * of_name])]
    begins = begins[_counts(spans, asked)[spans.request[begins]] == 0]
    firsts: Rows = begins[np.append(True, np.diff(spans.request[begins]) != 0)[: len(begins)]]
    return firsts


# --- batches -----------------------------------------------------------------------------------------------


def _batches(spans: Intervals, process: NDArray[np.int64], waits: Rows, is_batching: NDArray[np.bool_]) -> Holds:
    """A hold for each batch, from its first member's begin to its last one's end: who leaves early ends its own."""
    rows = np.flatnonzero((spans.batch_of >= 0) & works(spans))
    resource_of = _resource_of_batches(spans, rows, waits, is_batching)
    rows = rows[resource_of[spans.batch_of[rows]] >= 0]
    keys = process[spans.request[rows]] * max(len(spans.batches), 1) + spans.batch_of[rows]
    _, firsts, hold = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(hold, kind="stable")
    edges = np.searchsorted(hold[order], np.arange(len(firsts)))
    empty = np.zeros(0, np.int64)
    some = len(firsts) > 0
    return Holds(
        request=np.full(len(firsts), -1, np.int64),
        process=process[spans.request[rows[firsts]]],
        resource=resource_of[spans.batch_of[rows[firsts]]],
        begin_ns=np.minimum.reduceat(spans.start_ns[rows[order]], edges) if some else empty,
        end_ns=np.maximum.reduceat(spans.end_ns[rows[order]], edges) if some else empty,
        member_hold=hold.astype(np.int64),
        member_row=rows,
    )


def _resource_of_batches(
    spans: Intervals, rows: Rows, waits: Rows, is_batching: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The queue that each batch came from: named by a wait of one of its members, else by batches of the same model."""
    found = np.full(len(spans.batches) + 1, -1, np.int64)
    told = waits[(spans.batch_of[waits] >= 0) & is_batching[spans.resource_of[waits]]]
    found[spans.batch_of[told]] = spans.resource_of[told]
    of_model = np.full(len(spans.models) + 1, -1, np.int64)
    of_model[spans.model_of[rows]] = found[spans.batch_of[rows]]
    known = found[spans.batch_of[rows]] >= 0
    of_model[spans.model_of[rows[known]]] = found[spans.batch_of[rows[known]]]
    silent = rows[~known]
    found[spans.batch_of[silent]] = of_model[spans.model_of[silent]]
    return found


def _number(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else -2


def _joined(one: _Stretches, other: _Stretches) -> _Stretches:
    begin, end, row = (np.concatenate(pair) for pair in zip(one, other, strict=True))
    return begin, end, row
