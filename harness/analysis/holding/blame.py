"""Queue blame: the waiting of the requests, charged to what held the resource meanwhile.

With n_k(t) of n(t) holders doing k at the instant t, a request that waits from a to b charges k with the integral of
n_k / n over [a, b), and nobody with the time in which n is 0. The charges of a wait sum to the wait.

Who held what is inferred: see `holders`. Only holders in the process of the waiting request count. Nobody is charged
with the window in which a batch was filling, nor with a late event loop: what ran on it is not recorded.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis.holding import holders
from harness.analysis.holding.charges import (
    NO_STAGE,
    TRACE,
    Charged,
    Names,
    charge_each,
    charge_together,
    held_during,
    numbers_of,
    place_of,
    uncharged,
)
from harness.analysis.holding.time_axis import Axis, axis_of
from harness.diagnosis import BlameFindings
from harness.join import Halves, Intervals

MOST_HOLDERS = 6
"""Findings of one resource."""

MOST_RESOURCES = 20
"""Resources that are looked into: a service may make up the name of one for each request."""

OTHERS = "others"
"""Name of the smaller holders of a resource, taken together."""

LEAST_WAITS = 10
"""Waits of a millisecond or more from which on a capacity is told."""


def blame(halves: Halves, names: Names, counted: NDArray[np.bool_]) -> tuple[BlameFindings, ...]:
    """Who held what the counted requests waited for; the resource with the most waiting first, its holders likewise.

    `names` and `counted` have an entry per row of `halves`. All requests count as holders.
    """
    held = held_during(halves, names, counted)
    if not len(held.rows):
        return ()
    spans, requests = held.spans, int(np.count_nonzero(counted))
    table = charge_together(held).sort_values("seconds", ascending=False, kind="stable")
    waits = pd.DataFrame(
        {"resource": spans.resource_of[held.rows], "request": spans.request[held.rows], "wait": held.wait_s}
    )
    waits = waits.groupby("resource").agg(wait=("wait", "sum"), n=("request", "nunique"))
    waits = waits.sort_values("wait", ascending=False, kind="stable").head(MOST_RESOURCES)
    holding = dict(list(table[table["resource"].isin(waits.index)].groupby("resource")))
    most = capacities(halves, names, held.holds)
    found: list[BlameFindings] = []
    for resource, wait_s, n in waits.itertuples():
        found += [
            BlameFindings(
                resource=spans.resources[resource],
                stage=stage,
                model=model,
                name=name,
                own=own,
                wait_s=seconds / requests,
                share=seconds / wait_s,
                n=int(n),
                at_once=most.get(spans.resources[resource]),
            )
            for stage, model, name, own, seconds in _largest(holding.get(resource, table[:0]), float(wait_s))
        ]
    return tuple(found)


def charged(halves: Halves, names: Names, counted: NDArray[np.bool_]) -> Charged:
    """The charges of every single wait of the counted requests: of many requests the table is large."""
    return charge_each(held_during(halves, names, counted))


_Holder = tuple[str | None, str | None, str | None, bool, float]  # stage, model, name, own, seconds


def _largest(table: pd.DataFrame, wait_s: float) -> list[_Holder]:
    """The holders of one resource and nobody, at most MOST_HOLDERS, in sum as long as the wait.

    Largest first; those that are taken together come last, however much they are.
    """
    columns = (table[column].tolist() for column in ("stage", "model", "name", "own", "seconds"))
    holding: list[_Holder] = list(zip(*columns, strict=True))
    nobody_s = wait_s - sum(seconds for *_, seconds in holding)
    idle = nobody_s > TRACE * wait_s or not holding
    room = MOST_HOLDERS - idle
    named = holding if len(holding) <= room else holding[: room - 1]
    rest = holding[len(named) :]
    if idle:
        named = sorted([*named, (None, None, None, False, nobody_s)], key=lambda each: -each[-1])
    if not rest:
        return named
    stages = {stage for stage, *_ in rest}
    stage = stages.pop() if len(stages) == 1 else NO_STAGE
    return [*named, (stage, None, OTHERS, False, sum(seconds for *_, seconds in rest))]


# --- capacities --------------------------------------------------------------------------------------------


def capacities(halves: Halves, names: Names | None = None, holds: holders.Holds | None = None) -> dict[str, int]:
    """How many requests (of a batching queue: batches) can hold each resource at once in one process.

    `holds` are those of `holders.find`, when they are known already.

    Resources that nobody had to wait long for are left out, and those whose waits have another reason than that all
    places were taken.
    """
    spans = halves.intervals
    rows = holders.waiting(spans)
    rows = rows[(spans.end_ns[rows] - spans.start_ns[rows] >= holders.CONTENDED_NS) & ~uncharged(spans, rows)]
    times = np.bincount(spans.resource_of[rows], minlength=len(spans.resources))
    rows = rows[times[spans.resource_of[rows]] >= LEAST_WAITS]
    if not len(rows):
        return {}
    if holds is None:
        nameless = np.zeros(len(halves.process_of), np.int64)
        holds = holders.find(halves, nameless if names is None else numbers_of(names)[0])
    waiting_at = place_of(halves, spans.request[rows], spans.resource_of[rows])
    axis = axis_of(waiting_at, spans.start_ns[rows], spans.end_ns[rows])
    held_at = holds.process * len(spans.resources) + holds.resource
    of = np.flatnonzero(axis.knows(held_at))
    held = axis.at(held_at[of], holds.begin_ns[of]), axis.at(held_at[of], holds.end_ns[of])
    waited = axis.at(waiting_at, spans.start_ns[rows]), axis.at(waiting_at, spans.end_ns[rows])
    return _capacities(spans, axis, held, waited)


_Edges = tuple[NDArray[np.int64], NDArray[np.int64]]


def _capacities(spans: Intervals, axis: Axis, held: _Edges, waited: _Edges) -> dict[str, int]:
    cuts = np.sort(np.concatenate((*held, *waited)))
    length = np.append(np.diff(cuts), 0) / 1e9
    table = pd.DataFrame(
        {
            "resource": axis.place_at(cuts) % len(spans.resources),
            "level": _open_from(cuts, held),
            "contended": np.where(_open_from(cuts, waited) > 0, length, 0.0),
            "total": length,
        }
    )
    table = table.groupby(["resource", "level"]).sum().reset_index()
    found = {}
    for resource, rows in table.groupby("resource"):
        most = holders.capacity(*(rows[column].to_numpy() for column in ("level", "contended", "total")))
        if most is not None:
            found[spans.resources[int(str(resource))]] = most
    return found


def _open_from(cuts: NDArray[np.int64], edges: _Edges) -> NDArray[np.int64]:
    """How many intervals are open from each cut to the next."""
    begun, over = (np.searchsorted(np.sort(each), cuts, side="right") for each in edges)
    found: NDArray[np.int64] = begun - over
    return found
