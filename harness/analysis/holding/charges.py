"""The waits of requests beside the work of the holders, and what each charges the other.

Everything happens in shares: a measure of time in which an instant at which n hold the resource counts 1/n, and one at
which nobody does counts nothing. There the charge of a wait to some work is how long the two lie side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis.holding import holders
from harness.analysis.holding.held_work import Parts, parts_of
from harness.analysis.holding.time_axis import Axis, Integral, axis_of, open_of, shared_of
from harness.join import Halves, Intervals
from harness.model import CLAIMS

NO_STAGE = "other"
"""Stage of a holder that was in none of its stages."""

TRACE = 1e-6
"""A smaller share may be what the arithmetic leaves behind."""

KEYS = ("resource", "stage", "model", "name", "own")

Names = Sequence[str] | NDArray[np.object_] | NDArray[np.str_]
Label = tuple[str, str | None, str]  # stage, model, name of the request
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """The waits of the counted requests, and the holds beside them. `since` and `until` of a wait are in shares."""

    spans: Intervals
    names: NDArray[np.object_]
    name_of: NDArray[np.int64]  # of each request
    rows: NDArray[np.int64]  # of the waits
    wait_s: Floats
    chargeable: NDArray[np.bool_]
    since: Floats
    until: Floats
    holds: holders.Holds
    place: NDArray[np.int64]  # of each hold: process and resource
    known: NDArray[np.bool_]  # holds of what somebody waited for
    axis: Axis
    shares: Integral


@dataclass(frozen=True, slots=True, eq=False)
class Charged:
    """What each wait is charged to: `seconds` has a row per wait, a column per label; the rest goes to `nobody_s`."""

    rows: NDArray[np.int64]  # of the waits in the intervals
    labels: tuple[Label, ...]
    seconds: Floats
    nobody_s: Floats


def held_during(halves: Halves, names: Names, counted: NDArray[np.bool_]) -> Held:
    """The waits of the counted requests beside the holds of all."""
    spans = halves.intervals
    name_of, known_names = numbers_of(names)
    rows = holders.waiting(spans)
    rows = rows[np.asarray(counted)[spans.request[rows]] & (spans.end_ns[rows] > spans.start_ns[rows])]
    place = place_of(halves, spans.request[rows], spans.resource_of[rows])
    axis = axis_of(place, spans.start_ns[rows], spans.end_ns[rows])
    holds = holders.find(halves, name_of)
    hold_place = holds.process * len(spans.resources) + holds.resource
    known = axis.knows(hold_place)
    shares = shared_of(*(axis.at(hold_place[known], at[known]) for at in (holds.begin_ns, holds.end_ns)))
    return Held(
        spans=spans,
        names=known_names,
        name_of=name_of,
        rows=rows,
        wait_s=(spans.end_ns[rows] - spans.start_ns[rows]) / 1e9,
        chargeable=~uncharged(spans, rows),
        since=shares(axis.at(place, spans.start_ns[rows])),
        until=shares(axis.at(place, spans.end_ns[rows])),
        holds=holds,
        place=hold_place,
        known=known,
        axis=axis,
        shares=shares,
    )


def numbers_of(names: Names) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """A number for each name, and the name of each number."""
    numbers, known = pd.factorize(np.asarray(names, dtype=object))
    return numbers.astype(np.int64), np.asarray(known, dtype=object)


def place_of(halves: Halves, request: NDArray[np.int32], resource: NDArray[np.int32]) -> NDArray[np.int64]:
    """A number for a resource in the process that serves a request: the resource is the rest of the division."""
    found: NDArray[np.int64] = holders.processes(halves)[request] * len(halves.intervals.resources) + resource
    return found


def uncharged(spans: Intervals, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Waits that are nobody's doing, as far as it is known."""
    loop = np.array([*(name == holders.LOOP for name in spans.resources), False], np.bool_)
    window = np.array([*(kind == holders.WINDOW for kind in spans.waits), False], np.bool_)
    found: NDArray[np.bool_] = loop[spans.resource_of[rows]] | window[spans.wait_of[rows]]
    return found


def charge_each(held: Held) -> Charged:
    """The charges of every single wait: a large table where waits and labels are many."""
    parts = list(parts_of(held.spans, held.holds, held.known))
    label = np.concatenate([_labels(held, each) for each in parts])
    begin, end = (np.concatenate(each) for each in zip(*(_in_shares(held, each) for each in parts), strict=True))
    weight = np.concatenate([each.weight for each in parts])
    known, number = np.unique(label, return_inverse=True)
    seconds = np.zeros((len(held.rows), len(known)))
    resource = held.spans.resource_of[held.rows]
    labels = _told(held, known)
    for column in range(len(known)):
        of = number == column
        beside = open_of(begin[of], end[of], weight[of])
        charged = held.chargeable & (resource == labels["resource"].iloc[column])
        seconds[:, column] = np.where(charged, np.maximum(beside(held.until) - beside(held.since), 0.0), 0.0)
    texts = tuple(zip(labels["stage"], labels["model"], labels["name"], strict=True))
    return Charged(held.rows, texts, seconds, np.maximum(held.wait_s - seconds.sum(axis=1), 0.0))


def charge_together(held: Held) -> pd.DataFrame:
    """Seconds of all waits by KEYS, zeros left out; `own`: who waited and who held are of the same name.

    Asks each part of a hold how much waiting lies beside it: the work does not grow with the number of labels.
    """
    since, until = held.since[held.chargeable], held.until[held.chargeable]
    step = float(until.max(initial=0.0)) + 1.0  # each name gets a stretch of an axis for itself
    waiter = held.name_of[held.spans.request[held.rows[held.chargeable]]] * step
    everybody, same_name = open_of(since, until), open_of(since + waiter, until + waiter)
    found = []
    for parts in parts_of(held.spans, held.holds, _waited_for(held, everybody)):
        begin, end = _in_shares(held, parts)
        holder = held.name_of[parts.request] * step
        whole = parts.weight * np.maximum(everybody(end) - everybody(begin), 0.0)
        own = parts.weight * np.maximum(same_name(end + holder) - same_name(begin + holder), 0.0)
        label, number = np.unique(_labels(held, parts), return_inverse=True)
        own_s = np.bincount(number, weights=own, minlength=len(label))
        whole_s = np.bincount(number, weights=whole, minlength=len(label))
        others_s = np.where(whole_s - own_s > TRACE * whole_s, whole_s - own_s, 0.0)
        found += [pd.DataFrame({"label": label, "own": True, "seconds": own_s})]
        found += [pd.DataFrame({"label": label, "own": False, "seconds": others_s})]
    table = pd.concat(found).groupby(["label", "own"])["seconds"].sum().reset_index()
    table = table[table["seconds"] > 0.0].reset_index(drop=True)
    return pd.concat([_told(held, table.pop("label").to_numpy()), table], axis=1)


def _waited_for(held: Held, everybody: Integral) -> NDArray[np.bool_]:
    """The holds beside which somebody waited."""
    rows = np.flatnonzero(held.known)
    begin, end = (
        everybody(held.shares(held.axis.at(held.place[rows], at[rows])))
        for at in (held.holds.begin_ns, held.holds.end_ns)
    )
    wanted = np.zeros(len(held.holds), np.bool_)
    wanted[rows[end > begin]] = True
    return wanted


def _in_shares(held: Held, parts: Parts) -> tuple[Floats, Floats]:
    place = held.place[parts.hold]
    return held.shares(held.axis.at(place, parts.begin_ns)), held.shares(held.axis.at(place, parts.end_ns))


def _labels(held: Held, parts: Parts) -> NDArray[np.int64]:
    """A number for what each part is charged to; `_told` takes it apart again."""
    spans, none = held.spans, parts.row < 0
    stage = np.where(none, -1, np.append(spans.stage, -1)[parts.row])
    model = np.where(none, -1, np.append(spans.model_of, -1)[parts.row])
    found = held.holds.resource[parts.hold] * (len(CLAIMS) + 1) + stage + 1
    found = found * (len(spans.models) + 1) + model + 1
    labels: NDArray[np.int64] = found * len(held.names) + held.name_of[parts.request]
    return labels


def _told(held: Held, labels: NDArray[np.int64]) -> pd.DataFrame:
    """The columns resource (a number), stage, model and name of each label."""
    rest, name = np.divmod(labels, max(len(held.names), 1))
    rest, model = np.divmod(rest, len(held.spans.models) + 1)
    resource, stage = np.divmod(rest, len(CLAIMS) + 1)
    stages = np.array([NO_STAGE, *CLAIMS], object)
    models = np.array([None, *held.spans.models], object)
    columns = {"stage": stages[stage], "model": models[model], "name": held.names[name]}
    as_they_are = {column: pd.Series(texts, dtype=object) for column, texts in columns.items()}  # None stays None
    return pd.DataFrame({"resource": resource, **as_they_are})
