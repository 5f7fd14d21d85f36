"""When a lock was given back: learned from hand-overs, where the end of work wakes up somebody who waited."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis.holding.time_axis import Axis, axis_of
from harness.join import Intervals
from harness.model import CLAIMS

WOKEN_NS = 5_000_000
"""Usual time between a release and the next holder's begin, at most: a thread may wait so long for the interpreter."""

_EARLY_NS = 1_000_000  # work may also end a little after the release inside it
_LEAST_HAND_OVERS = 5
_MOST_ROWS = 64  # after a wait that are looked at for its release
_LEARNED_FROM = 50_000  # waits of all locks
_TOGETHER = 200_000  # waits: bounds memory
_AROUND = 0  # kind of the work around a wait

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Locks:
    """The waits for locks, in order of (request, start), and what may have ended the holds behind them."""

    spans: Intervals
    rows: Rows  # of the waits
    until: Rows  # the row at which the request waits for the same lock again, or has no more rows
    lock: NDArray[np.int64]  # a number for process and resource
    name: NDArray[np.int64]
    kind: NDArray[np.int64]  # of each interval


def releases(
    spans: Intervals,
    rows: Rows,
    process: NDArray[np.int64],
    name_of: NDArray[np.int64],
    works: NDArray[np.bool_],
) -> Rows:
    """When each of the locks that these waits were for was given back, ns: never before the wait ended."""
    if not len(rows):
        return rows
    request = spans.request[rows]
    many = len(spans.resources)
    locks = _Locks(
        spans=spans,
        rows=rows,
        until=_until(spans, rows),
        lock=process[request] * many + spans.resource_of[rows],
        name=name_of[request],
        kind=_kinds(spans),
    )
    got_ns = spans.end_ns[rows]
    found = _default(locks, works)
    learned = _learned(locks)
    if len(learned):
        for first in range(0, len(rows), _TOGETHER):
            part = slice(first, first + _TOGETHER)
            found[part] = _as_learned(locks, np.arange(len(rows))[part], learned, found[part])
    return np.maximum(found, got_ns)


def _until(spans: Intervals, rows: Rows) -> Rows:
    """The row before which each lock was given back at the latest."""
    stop = np.searchsorted(spans.request, spans.request[rows], side="right").astype(np.int64)
    order = np.lexsort((rows, spans.request[rows], spans.resource_of[rows]))
    one, next_one = rows[order[:-1]], rows[order[1:]]
    again = (spans.resource_of[one] == spans.resource_of[next_one]) & (spans.request[one] == spans.request[next_one])
    stop[order[:-1][again]] = next_one[again]
    return stop


def _kinds(spans: Intervals) -> NDArray[np.int64]:
    """A number for what each interval is, from 1 on."""
    model, resource = spans.model_of.astype(np.int64) + 1, spans.resource_of.astype(np.int64) + 1
    found: NDArray[np.int64] = 1 + spans.stage + len(CLAIMS) * (resource + (len(spans.resources) + 1) * model)
    return found


def _default(locks: _Locks, works: NDArray[np.bool_]) -> Rows:
    """The end of the first work after each wait; of the work around it where that ends before, or there is none."""
    spans, rows = locks.spans, locks.rows
    work = np.flatnonzero(works)
    following = np.append(work, len(spans))[np.searchsorted(work, rows, side="right")]
    there = following < locks.until
    ends = np.append(spans.end_ns, 0)
    above = spans.parent[rows]
    around = np.where(above >= 0, ends[above], np.iinfo(np.int64).max)
    begins_inside = there & (np.append(spans.start_ns, 0)[following] <= around)
    return np.where(begins_inside, ends[following], np.where(above >= 0, around, spans.end_ns[rows]))


def _candidates(locks: _Locks, chosen: Rows) -> pd.DataFrame:
    """What ends after each of these waits: `wait` (its position), `kind`, the first and the last `end` of that kind."""
    spans, rows = locks.spans, locks.rows[chosen]
    owner, row = spread(rows + 1, np.minimum(locks.until[chosen] - rows - 1, _MOST_ROWS))
    after = spans.start_ns[row] >= spans.end_ns[rows][owner]
    above = spans.parent[rows]
    inside = np.flatnonzero(above >= 0)
    table = pd.DataFrame(
        {
            "wait": np.concatenate((chosen[owner[after]], chosen[inside])),
            "kind": np.concatenate((locks.kind[row[after]], np.full(len(inside), _AROUND, np.int64))),
            "end": np.concatenate((spans.end_ns[row[after]], spans.end_ns[above[inside]])),
        }
    )
    return table


def spread(first: Rows, count: Rows) -> tuple[Rows, Rows]:
    """All numbers of the ranges that begin at `first`: which range each belongs to, and the number."""
    count = np.maximum(count, 0)
    owner = np.repeat(np.arange(len(first)), count)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    return owner, first[owner] + within


def _learned(locks: _Locks) -> pd.DataFrame:
    """What usually releases: a row for each (resource, name), -1 for all names: `kind` and whether its `last` one."""
    axis = _contended(locks)
    chosen = np.arange(len(locks.rows))
    if len(chosen) > _LEARNED_FROM:
        chosen = chosen[:: -(-len(chosen) // _LEARNED_FROM)]
    table = _candidates(locks, chosen)
    ends = table.groupby(["wait", "kind"])["end"].agg(["min", "max"]).reset_index()
    both = pd.concat(
        [ends[["wait", "kind"]].assign(last=last, end=ends[end]) for last, end in ((False, "min"), (True, "max"))]
    )
    wait = both["wait"].to_numpy()
    both["lag"] = _lags(axis, locks, wait, both["end"].to_numpy())
    both["resource"] = locks.spans.resource_of[locks.rows[wait]].astype(np.int64)
    both["name"] = locks.name[wait]
    both = both[both["lag"] >= 0]
    by_name = _usual(both)
    return pd.concat([by_name, _usual(both.assign(name=-1))]) if len(by_name) else _usual(both.assign(name=-1))


def _usual(both: pd.DataFrame) -> pd.DataFrame:
    """The kind of end after which the next one begins soonest."""
    found = both.groupby(["resource", "name", "kind", "last"])["lag"].agg(["median", "size"]).reset_index()
    found = found[(found["size"] >= _LEAST_HAND_OVERS) & (found["median"] <= WOKEN_NS)]
    return found.sort_values("median", kind="stable").drop_duplicates(["resource", "name"])


@dataclass(frozen=True, slots=True, eq=False)
class _Contended:
    """The waits for locks on one axis, each sorted."""

    axis: Axis
    begins: Rows
    ends: Rows


def _contended(locks: _Locks) -> _Contended:
    spans, rows = locks.spans, locks.rows
    axis = axis_of(locks.lock, spans.start_ns[rows], spans.end_ns[rows])
    waited = spans.end_ns[rows] > spans.start_ns[rows]
    places = [np.sort(axis.at(locks.lock[waited], at[rows[waited]])) for at in (spans.start_ns, spans.end_ns)]
    return _Contended(axis, places[0], places[1])


def _lags(contended: _Contended, locks: _Locks, wait: Rows, end_ns: Rows) -> Rows:
    """How long after an instant the lock's next holder began, ns; -1 where nobody was waiting for it then."""
    lock, got_ns = locks.lock[wait], locks.spans.end_ns[locks.rows[wait]]
    axis = contended.axis
    at = axis.at(lock, end_ns)
    since = np.maximum(axis.at(lock, end_ns - _EARLY_NS), axis.at(lock, got_ns))
    begun = np.searchsorted(contended.begins, since, side="left")
    over = np.searchsorted(contended.ends, since, side="right")
    following = np.append(contended.ends, 0)[over]
    return np.where(begun > over, np.abs(following - at), -1)


def _as_learned(locks: _Locks, chosen: Rows, learned: pd.DataFrame, otherwise: Rows) -> Rows:
    """The release of each of these waits, by what was learned for its name, or else for its lock."""
    table = _candidates(locks, chosen)
    wait = table["wait"].to_numpy()
    table["resource"] = locks.spans.resource_of[locks.rows[wait]].astype(np.int64)
    table["name"] = locks.name[wait]
    found = otherwise.copy()
    wanted = learned[["resource", "name", "kind", "last"]]
    for_lock = table.drop(columns="name").merge(wanted[wanted["name"] == -1], on=["resource", "kind"])
    for_name = table.merge(wanted[wanted["name"] != -1], on=["resource", "name", "kind"])
    for matched in (for_lock, for_name):
        ends = matched.groupby("wait").agg(first=("end", "min"), final=("end", "max"), last=("last", "first"))
        found[ends.index.to_numpy() - chosen[0]] = np.where(ends["last"], ends["final"], ends["first"])
    return found
