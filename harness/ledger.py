"""Joined requests -> the ledger: every instant of [scheduled, done] is charged to one stage, once. In columns.

    latency  = backlog + transfer + queue_est + queue + preprocess + inference + postprocess + other + unsplit
    transfer = connect + upload + download

The server window is the root span moved to our clock and clipped to [first write, done]; what was cut is kept in
`clipped_s`. Before the window is upload, behind it download; inside, each instant belongs to the deepest open
stage (shared equally when several are open in parallel), to a recorded wait for body bytes (upload) or in `send()`
(download), else to `other`. The wait before the window that more load brought about is moved from upload to
`queue_est`, where a step of low load says how long an upload takes.

Where upload and download are not known apart, they are null and only `transfer` is a number. Without a server half
`transfer` holds just the connection time, and `unsplit` everything from the first write on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness import ingress
from harness.charge import charge
from harness.chunks import schema_of
from harness.clock import ClockOffset
from harness.join import CHANNELS, SERVER_TIMING, SPLITS, Halves, Intervals, Joined
from harness.model import CLAIMS, SERVER_STAGES, LedgerRow, ModelCall, Phase, Split, Wait
from harness.spans.columns import UNKNOWN
from harness.windows import Client, Flags, Seconds, Shift, Times, leaked, placed

_KEYS = ("request_id", "trace_id", "name", "phase", "step")
_STAGE_COLUMNS = tuple(CLAIMS.index(stage) for stage in SERVER_STAGES)
_UPLOAD, _DOWNLOAD, _QUEUE, _INFERENCE = (CLAIMS.index(s) for s in ("upload", "download", "queue", "inference"))


@dataclass(frozen=True, slots=True)
class Ledger:
    """The tables of model.LedgerRow, ModelCall and Wait; the clock offset used for each server host; what stood out.

    `ingress` says what `queue_est` was estimated from, None when there was no reference.
    """

    rows: pd.DataFrame
    model_calls: pd.DataFrame
    waits: pd.DataFrame
    offsets: tuple[tuple[str | None, ClockOffset | None], ...]
    leaked: int = 0  # requests without a server half during which the trace of another one went on
    outlived: int = 0  # requests that the service worked on for after the client had its answer or had given up
    ingress: ingress.Ingress | None = None


def build(
    samples: pa.Table, joined: Joined, own_host: str | None, loopback: bool, levels: Sequence[float] = ()
) -> Ledger:
    """The ledger of all samples that are not censored, in their order.

    `own_host` is this host's key; a service that reports the same key shares our clock. A service that reports no
    key is taken to share it when the target is a loopback address (`loopback`). `levels` are the loads of the steps.
    """
    halves = joined.halves
    client = Client.of(samples)
    offsets, shift = placed(client, halves, own_host, loopback)
    rows = _rows(client, halves, shift)
    moved = _move_waits(client, rows, levels)
    ended = ~client.censored
    calls, waits = _calls(client, halves.intervals, shift), _waits(client, halves.intervals, shift)
    slack = np.where(shift.known, shift.bound_ns, 0)
    outlived = shift.known & (halves.end_ns - shift.at_end_ns > client.done_ns + slack)
    return Ledger(
        rows=_with_unknown_stages(_frame(samples, client, halves, rows, ended)),
        model_calls=calls,
        waits=waits,
        offsets=offsets,
        leaked=leaked(client, joined, shift),
        outlived=int((outlived & ended).sum()),
        ingress=moved,
    )


# --- the split ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """The columns of LedgerRow that are worked out, a row per sample, seconds."""

    connect: Seconds
    upload: Seconds
    download: Seconds
    transfer: Seconds
    queue_est: Seconds
    stages: Seconds  # a column for each of SERVER_STAGES
    other: Seconds
    unsplit: Seconds
    clipped: Seconds


def _rows(client: Client, halves: Halves, shift: Shift) -> _Rows:
    n = len(client.done_ns)
    nothing = client.send_ns == UNKNOWN  # nothing was written: the whole attempt was connecting
    split = halves.known & ~nothing
    service, exchange = (client.done_ns - client.start_ns) / 1e9, (client.done_ns - client.send_ns) / 1e9
    connect = np.where(nothing, service, np.where(client.connected, (client.send_ns - client.start_ns) / 1e9, np.nan))
    opened, closed, inside, claimed = _claimed(client, halves, shift)
    placed = split & shift.known
    upload = (opened - client.send_ns) / 1e9 + claimed[:, _UPLOAD]
    download = (client.done_ns - closed) / 1e9 + claimed[:, _DOWNLOAD]
    stages = claimed[:, _STAGE_COLUMNS]
    unknown = np.full(n, np.nan)
    other = np.maximum(0.0, inside - claimed.sum(axis=1))
    named = stages.sum(axis=1) + other
    return _Rows(
        connect=connect,
        upload=np.where(placed & client.connected, upload, unknown),
        download=np.where(placed, download, unknown),
        transfer=np.where(split, np.nan_to_num(connect) + exchange - named, connect),
        queue_est=unknown.copy(),
        stages=np.where(split[:, None], stages, np.nan),
        other=np.where(split, other, np.nan),
        unsplit=np.where(split | nothing, 0.0, exchange),
        clipped=np.where(split, halves.total_s - inside, np.nan),
    )


def _claimed(client: Client, halves: Halves, shift: Shift) -> tuple[Times, Times, Seconds, Seconds]:
    """The window on our clock, its length, and what each of CLAIMS has of it.

    Without a place for the window only its length counts, at most that of the exchange; then nobody can tell what of it
    is upload or download.
    """
    send, done = client.send_ns, client.done_ns
    opened = np.clip(halves.start_ns - shift.offset_ns, send, done)
    closed = np.clip(halves.end_ns - shift.at_end_ns, opened, done)
    placed = shift.known
    inside = np.where(placed, (closed - opened) / 1e9, np.minimum(halves.total_s, (done - send) / 1e9))
    spans = halves.known & (halves.start_ns != UNKNOWN)
    since = np.where(placed, opened + shift.offset_ns, np.where(spans, halves.start_ns, 0))
    until = np.where(placed, closed + shift.at_end_ns, np.where(spans, halves.end_ns, 0))
    charged = charge(halves.intervals, since, until)
    from_header = halves.channel == CHANNELS.index(SERVER_TIMING)
    charged[from_header] = halves.seconds[from_header]
    return opened, closed, inside, _fitted(charged, inside)


def _fitted(charged: Seconds, inside: Seconds) -> Seconds:
    """Stage totals cannot exceed the window: scaled down together if clocks or rounding made them."""
    total = charged.sum(axis=1)
    scale = np.where(total > inside, inside / np.where(total > 0, total, 1.0), 1.0)
    fitted: Seconds = charged * scale[:, None]
    return fitted


def _move_waits(client: Client, rows: _Rows, levels: Sequence[float]) -> ingress.Ingress | None:
    """Move the wait before the window from upload to queue_est, in place, where there is a reference for it."""
    usable = client.measured & client.ok & ~np.isnan(rows.upload)
    found = ingress.estimate(rows.upload, client.bytes_sent, client.step, levels, usable) if len(levels) > 1 else None
    if found is not None:
        moved = np.nan_to_num(found.queue_est_s)
        rows.queue_est[:] = found.queue_est_s
        rows.upload[:] -= moved
        rows.transfer[:] -= moved
    return found


# --- tables ------------------------------------------------------------------------------------------------


def _frame(samples: pa.Table, client: Client, halves: Halves, rows: _Rows, ended: Flags) -> pd.DataFrame:
    """The rows as a frame with the types of the model, also when there are none."""
    split = np.where(client.send_ns == UNKNOWN, SPLITS.index(Split.NONE), halves.split)
    # Where the parts of transfer are not known, our own marks say no more than a foreign header.
    unplaced = (split != SPLITS.index(Split.NONE)) & np.isnan(rows.download)
    split = np.where(unplaced, SPLITS.index(Split.DURATIONS), split)
    columns: dict[str, Any] = {
        **{name: samples.column(name) for name in _KEYS},
        "ok": client.ok,
        "split": pc.take(pa.array([s.value for s in SPLITS]), pa.array(split)),
        "latency_s": (client.done_ns - client.scheduled_ns) / 1e9,
        "service_s": (client.done_ns - client.start_ns) / 1e9,
        "backlog_s": (client.start_ns - client.scheduled_ns) / 1e9,
        **{f"{name}_s": getattr(rows, name) for name in ("connect", "upload", "download", "transfer", "queue_est")},
        **{f"{stage}_s": rows.stages[:, number] for number, stage in enumerate(SERVER_STAGES)},
        **{f"{name}_s": getattr(rows, name) for name in ("other", "unsplit", "clipped")},
    }
    return _framed(_table(columns, LedgerRow).filter(pa.array(ended)))


def _framed(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _table(columns: dict[str, Any], row_type: type) -> pa.Table:
    schema = schema_of(row_type)
    arrays = [
        column if isinstance(column := columns[field.name], pa.Array | pa.ChunkedArray)
        else pa.array(column, type=field.type, from_pandas=True)
        for field in schema
    ]  # fmt: skip
    return pa.Table.from_arrays(arrays, names=schema.names)


def _with_unknown_stages(rows: pd.DataFrame) -> pd.DataFrame:
    """Without our marks, a stage that appears in no request at all is one that nobody records: null, not zero."""
    foreign = rows["split"].isin([Split.SPANS.value, Split.DURATIONS.value])
    for stage in SERVER_STAGES:
        if foreign.any() and not (rows.loc[foreign, f"{stage}_s"] > 0).any():
            rows.loc[foreign, f"{stage}_s"] = float("nan")
    return rows


def _calls(client: Client, intervals: Intervals, shift: Shift) -> pd.DataFrame:
    """The calls of the models, numbered per request and model; instants on our clock where the offset is known."""
    rows = np.flatnonzero((intervals.stage == _INFERENCE) & (intervals.model_of >= 0))
    request, model = intervals.request[rows], intervals.model_of[rows]
    order = np.lexsort((np.arange(len(rows)), model, request))
    first = np.ones(len(rows), np.bool_)
    first[1:] = (np.diff(request[order]) != 0) | (np.diff(model[order]) != 0)
    begins = np.flatnonzero(first)
    call = np.empty(len(rows), np.int64)
    call[order] = np.arange(len(rows)) - np.repeat(begins, np.diff(np.append(begins, len(rows))))
    size = intervals.batch_size[rows]
    columns = _of_intervals(client, intervals, shift, rows) | {
        "model": _texts(intervals.models, model),
        "call": call,
        "batch_size": pa.array(size, pa.int64(), mask=size < 0),
    }
    return _framed(_table(columns, ModelCall))


def _waits(client: Client, intervals: Intervals, shift: Shift) -> pd.DataFrame:
    rows = np.flatnonzero(intervals.stage == _QUEUE)
    columns = _of_intervals(client, intervals, shift, rows) | {
        "resource": _texts(intervals.resources, intervals.resource_of[rows]),
        "kind": _texts(intervals.waits, intervals.wait_of[rows]),
    }
    return _framed(_table(columns, Wait))


def _of_intervals(
    client: Client, intervals: Intervals, shift: Shift, rows: NDArray[np.intp]
) -> dict[str, NDArray[Any] | pa.Array]:
    request = intervals.request[rows]
    return {
        "request_id": client.request_id[request],
        "start_ns": intervals.start_ns[rows] - shift.offset_ns[request],
        "duration_s": np.maximum(intervals.end_ns[rows] - intervals.start_ns[rows], 0) / 1e9,
        "batch_id": _texts(intervals.batches, intervals.batch_of[rows]),
    }


def _texts(names: Sequence[str], numbers: NDArray[np.int32]) -> pa.Array:
    return pc.take(pa.array(names, pa.string()), pa.array(numbers, mask=numbers < 0))


def measured(rows: pd.DataFrame) -> pd.DataFrame:
    """The measured phase only."""
    return rows[rows["phase"] == Phase.MEASURE.value]


def with_server_half(rows: pd.DataFrame) -> pd.DataFrame:
    """The one row set of every stage table: measured, ok, with server half."""
    measured_rows = measured(rows)
    return measured_rows[measured_rows["ok"] & (measured_rows["split"] != Split.NONE.value)]
