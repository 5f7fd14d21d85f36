"""What was special about each request: one row of attributes per row of the ledger, in columns.

Numbers are NaN and texts and flags are missing where they are not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.join import CHANNELS, OTLP, Halves
from harness.model import Phase
from harness.spans.columns import UNKNOWN

Integers: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Rows: TypeAlias = NDArray[np.intp]

FIRST_REQUESTS = 5
"""As many requests of a service process are its first ones: models are loaded and code is compiled in them."""
_COVERED_NS = 2_500_000_000
"""A reading is about the second before it; twice that and a half, because a busy process is late with it."""
_MOST_MODELS = 62  # as many bits as a set of models has
_NOTED = [
    "name", "worker", "step", "scheduled_ns", "connected_ns", "sent_ns", "attempts", "bytes_sent", "bytes_received",
    "server_timing",
]  # fmt: skip


def attributes_of(
    samples: pa.Table, split_rows: pd.DataFrame, halves: Halves, calls: pd.DataFrame, vitals: pd.DataFrame
) -> pd.DataFrame:
    """One row per row of `split_rows`, in that order.

    `samples` are the model.Sample rows in order of `scheduled_ns`, row i of `halves` belongs to sample i; `calls` is
    the table of model.ModelCall; `vitals` has the columns at_ns, process, name and value, on the server's clock. `step`
    is known only of a run with several. `in_flight` counts the other requests, of all phases, between send and done.
    """
    at = _positions(samples.column("request_id").to_numpy(), split_rows["request_id"].to_numpy(dtype=np.int64))
    process = halves.process_of[at]
    known_calls = (halves.channel[at] == CHANNELS.index(OTLP)) & bool(len(calls))
    columns: dict[str, Any] = {
        **_of_client(samples, at),
        "process": _texts(halves.processes, process),
        "first_of_process": _flags(_is_first(halves, samples)[at], process >= 0),
        "in_flight": _in_flight(samples, at),
        **_of_calls(split_rows["request_id"].to_numpy(dtype=np.int64), calls, known_calls),
    }
    for column, figure in (("loop_lag_s", "harness.event_loop.lag"), ("gc_pause_s", "harness.gc.pause")):
        columns[column] = _readings(vitals[vitals["name"] == figure], halves, at)
    return pd.DataFrame(columns, index=split_rows.index)


def _positions(known: Integers, wanted: Integers) -> Rows:
    """Where the sample of each request id is. Every one of them has a sample."""
    order = np.argsort(known, kind="stable")
    found = np.searchsorted(known, wanted, sorter=order)
    return order[np.minimum(found, max(0, len(known) - 1))] if len(wanted) else np.zeros(0, np.intp)


# --- what the client noted ---------------------------------------------------------------------------------


def _of_client(samples: pa.Table, at: Rows) -> dict[str, Any]:
    picked = samples.select(_NOTED).take(pa.array(at))
    scheduled, step = picked.column("scheduled_ns").to_numpy(), picked.column("step").to_numpy().astype(np.float64)
    measured = samples.column("scheduled_ns").filter(pc.equal(samples.column("phase"), Phase.MEASURE.value))
    first = pc.min(measured).as_py() if len(measured) else 0
    return {
        "bytes_sent": picked.column("bytes_sent").to_numpy().astype(np.float64),
        "bytes_received": _answered(picked),
        "name": _encoded(picked.column("name")),
        "step": step if len(np.unique(step)) > 1 else np.full(len(at), np.nan),
        "worker": _encoded(picked.column("worker")),
        # A client that timed the exchange as a whole does not tell whether it had to connect.
        "new_connection": _flags(_valid(picked, "connected_ns"), _valid(picked, "sent_ns")),
        "resent": _flags(picked.column("attempts").to_numpy() > 1),
        "since_start_s": (scheduled - first) / 1e9,
    }


def _answered(picked: pa.Table) -> Floats:
    """Bytes of the answer without its timings: those take more digits when it took longer."""
    timings = pc.fill_null(pc.binary_length(picked.column("server_timing")), 0).to_numpy()
    size: Floats = np.maximum(picked.column("bytes_received").to_numpy() - timings, 0).astype(np.float64)
    return size


def _in_flight(samples: pa.Table, at: Rows) -> Floats:
    send = pc.fill_null(samples.column("send_ns"), UNKNOWN).to_numpy()
    written = send != UNKNOWN
    begun, ended = np.sort(send[written]), np.sort(samples.column("done_ns").to_numpy()[written])
    when = send[at]
    others = np.searchsorted(begun, when, "left") - np.searchsorted(ended, when, "right")
    return np.where(when != UNKNOWN, np.maximum(others, 0), np.nan)


def _valid(table: pa.Table, column: str) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = pc.is_valid(table.column(column)).to_numpy()
    return found


# --- what the service noted --------------------------------------------------------------------------------


def _is_first(halves: Halves, samples: pa.Table) -> NDArray[np.bool_]:
    """Which samples are among the first that their process served, as far as this run saw; warm-up included."""
    n = len(halves.process_of)
    began = np.where(halves.start_ns != UNKNOWN, halves.start_ns, samples.column("scheduled_ns").to_numpy())
    order = np.lexsort((began, halves.process_of))
    process = halves.process_of[order]
    first = np.zeros(n, np.bool_)
    first[order] = np.arange(n) - np.searchsorted(process, process, "left") < FIRST_REQUESTS
    return first


def _of_calls(request_ids: Integers, calls: pd.DataFrame, known: NDArray[np.bool_]) -> dict[str, Any]:
    """Number of calls, which models, and the largest batch of each request. `known`: none found means none made."""
    n = len(request_ids)
    order = np.argsort(request_ids, kind="stable")
    called = calls["request_id"].to_numpy(dtype=np.int64)
    place = np.searchsorted(request_ids, called, sorter=order)
    place = order[np.minimum(place, n - 1)] if n else np.zeros(len(called), np.intp)
    own = request_ids[place] == called if n else np.zeros(len(called), np.bool_)
    place, calls = place[own], calls[own]
    number = np.bincount(place, minlength=n).astype(np.float64)
    batch = np.full(n, -np.inf)
    sizes = calls["batch_size"].to_numpy(dtype=np.float64, na_value=np.nan)
    with_batch = ~np.isnan(sizes)
    np.maximum.at(batch, place[with_batch], sizes[with_batch])
    return {
        "batch_size": np.where(np.isfinite(batch), batch, np.nan),
        "model_calls": np.where(known | (number > 0), number, np.nan),
        "models": _chains(place, calls, n),
    }


def _chains(place: Rows, calls: pd.DataFrame, n: int) -> pd.Categorical:
    """The different models of each request as one text, in the order in which the first request called them."""
    in_time = np.argsort(calls["start_ns"].to_numpy(), kind="stable")
    codes_in_time, names = pd.factorize(calls["model"].iloc[in_time])
    code = np.empty(len(calls), np.int64)
    code[in_time] = np.minimum(codes_in_time, _MOST_MODELS - 1)
    chain = np.zeros(n, np.int64)
    np.bitwise_or.at(chain, place, np.int64(1) << code)
    different, which = np.unique(chain, return_inverse=True)
    known = [str(name) or "unnamed" for name in names]
    if len(known) > _MOST_MODELS:
        known = [*known[: _MOST_MODELS - 1], "others"]
    texts = ["+".join(name for bit, name in enumerate(known) if chain >> bit & 1) for chain in different.tolist()]
    return _texts([text for text in texts if text], np.where(chain == 0, -1, which - (not texts or texts[0] == "")))


def _readings(vitals: pd.DataFrame, halves: Halves, at: Rows) -> Floats:
    """The figure of the request's process, at the reading that covers its begin or its end: the larger one."""
    found = np.full(len(at), np.nan)
    process, begins, ends = halves.process_of[at], halves.start_ns[at], halves.end_ns[at]
    for name, its in vitals.groupby("process", observed=True) if len(vitals) else ():
        if name not in halves.processes:
            continue
        rows = np.flatnonzero((process == halves.processes.index(str(name))) & (begins != UNKNOWN))
        largest = its.groupby("at_ns")["value"].max()  # a process may have several loops
        when, values = largest.index.to_numpy(dtype=np.int64), largest.to_numpy(dtype=np.float64)
        found[rows] = np.fmax(_covering(when, values, begins[rows]), _covering(when, values, ends[rows]))
    return found


def _covering(when: Integers, values: Floats, instants: Integers) -> Floats:
    """The first reading at or behind each instant, NaN where it comes too late to be about it."""
    after = np.searchsorted(when, instants)
    last = np.minimum(after, len(when) - 1)
    return np.where((after < len(when)) & (when[last] - instants <= _COVERED_NS), values[last], np.nan)


# --- columns -----------------------------------------------------------------------------------------------


def _flags(values: NDArray[np.bool_], known: NDArray[np.bool_] | None = None) -> pd.api.extensions.ExtensionArray:
    missing = np.zeros(len(values), np.bool_) if known is None else ~known
    return pd.arrays.BooleanArray(np.asarray(values, np.bool_).copy(), missing)


def _texts(known: Sequence[str], numbers: NDArray[Any]) -> pd.Categorical:
    """Texts by their position in `known`, which are all different; negative: missing."""
    return pd.Categorical.from_codes(np.maximum(numbers, -1), categories=pd.Index(list(known), dtype="str"))


def _encoded(column: pa.ChunkedArray) -> pd.Categorical:
    found = pc.dictionary_encode(column.combine_chunks())
    found = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    return _texts(found.dictionary.to_pylist(), pc.fill_null(found.indices, UNKNOWN).to_numpy())
