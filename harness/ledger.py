"""Joined requests -> the ledger: every instant of [scheduled, done] is charged to one stage, once.

    latency  = backlog + transfer + queue_est + queue + preprocess + inference + postprocess + other + unsplit
    transfer = connect + upload + download

The server window is the root span moved to our clock and clipped to [first write, done]; what was cut is kept in
`clipped_s`. Before the window is upload, behind it download; inside, each instant belongs to the deepest open
stage (shared equally when several are open in parallel), to a recorded wait for body bytes (upload) or in `send()`
(download), else to `other`.

Where upload and download are not known apart, they are null and only `transfer` is a number. Without a server half
`transfer` holds just the connection time, and `unsplit` everything from the first write on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from harness.chunks import schema_of
from harness.clock import ClockOffset, estimate
from harness.instrument.partition import partition
from harness.join import Interval, ServerHalf
from harness.model import SERVER_STAGES, LedgerRow, ModelCall, Phase, Split

_KEYS = ("request_id", "trace_id", "name", "phase", "step")
_INSTANTS = ("scheduled_ns", "start_ns", "send_ns", "done_ns")
_READ = (*_KEYS, *_INSTANTS, "sent_ns", "status", "error", "failed_checks", "censored")


@dataclass(frozen=True, slots=True)
class Ledger:
    """The table of model.LedgerRow, the model calls, and the clock offset used for each server host."""

    rows: pd.DataFrame
    model_calls: pd.DataFrame
    offsets: tuple[tuple[str | None, ClockOffset | None], ...]


def build(samples: pa.Table, halves: Sequence[ServerHalf | None], own_host: str | None, loopback: bool) -> Ledger:
    """The ledger of all samples that are not censored, in their order.

    `own_host` is this host's key; a service that reports the same key shares our clock. A service that reports no
    key is taken to share it when the target is a loopback address (`loopback`).
    """
    table = samples.to_pydict()
    offsets = _offsets(table, halves, own_host, loopback)
    rows: list[tuple[object, ...]] = []
    calls: list[tuple[object, ...]] = []
    for index, half in enumerate(halves):
        sample = {name: table[name][index] for name in _READ}
        if sample["censored"]:
            continue
        offset = offsets.get(half.host) if half is not None else None
        ok = sample["error"] is None and sample["status"] is not None and sample["failed_checks"] is None
        head = (*(sample[name] for name in _KEYS), ok)
        scheduled_ns, start_ns, send_ns, done_ns = (sample[name] for name in _INSTANTS)
        connected = sample["sent_ns"] is not None or sample["status"] is None
        rows.append(head + _split(scheduled_ns, start_ns, send_ns, done_ns, half, offset, connected))
        if half is not None:
            calls.extend(_calls(sample["request_id"], half.intervals, offset))
    return Ledger(
        rows=_with_unknown_stages(_frame(rows, LedgerRow)),
        model_calls=_frame(calls, ModelCall),
        offsets=tuple(offsets.items()),
    )


def _frame(rows: Sequence[tuple[object, ...]], row_type: type) -> pd.DataFrame:
    """The rows as a frame with the types of the model, also when there are none."""
    table = pa.Table.from_pylist([], schema=schema_of(row_type))
    if rows:
        arrays = [pa.array(c, type=f.type) for c, f in zip(zip(*rows, strict=True), table.schema, strict=True)]
        table = pa.Table.from_arrays(arrays, schema=table.schema)
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _with_unknown_stages(rows: pd.DataFrame) -> pd.DataFrame:
    """Without our marks, a stage that appears in no request at all is one that nobody records: null, not zero."""
    foreign = rows["split"].isin([Split.SPANS.value, Split.DURATIONS.value])
    for stage in SERVER_STAGES:
        if foreign.any() and not (rows.loc[foreign, f"{stage}_s"] > 0).any():
            rows.loc[foreign, f"{stage}_s"] = float("nan")
    return rows


# --- clocks ------------------------------------------------------------------------------------------------


def _offsets(
    table: Mapping[str, Sequence[object]], halves: Sequence[ServerHalf | None], own_host: str | None, loopback: bool
) -> dict[str | None, ClockOffset | None]:
    lower: dict[str | None, list[int]] = {}
    upper: dict[str | None, list[int]] = {}
    seen = ("send_ns", "first_byte_ns", "done_ns")
    for (send_ns, first_byte_ns, done_ns), half in zip(
        zip(*(table[n] for n in seen), strict=True), halves, strict=True
    ):
        if half is None or half.start_ns is None or not isinstance(send_ns, int) or not isinstance(done_ns, int):
            continue
        upper.setdefault(half.host, []).append(half.start_ns - send_ns)
        below = lower.setdefault(half.host, [])
        if half.answered_ns is not None and isinstance(first_byte_ns, int):
            below.append(half.answered_ns - first_byte_ns)
        elif half.worked_until_ns is not None:
            below.append(half.worked_until_ns - done_ns)
    return {host: estimate(lower[host], upper[host], _shares_clock(host, own_host, loopback)) for host in upper}


def _shares_clock(host: str | None, own_host: str | None, loopback: bool) -> bool:
    return loopback if host is None else host == own_host


# --- one request -------------------------------------------------------------------------------------------


def _split(
    scheduled_ns: int,
    start_ns: int,
    send_ns: int | None,
    done_ns: int,
    half: ServerHalf | None,
    offset: ClockOffset | None,
    connected: bool,
) -> tuple[object, ...]:
    """The columns of LedgerRow from `split` on.

    Without `connected` the client timed the exchange as a whole, and how much of it went into connecting is not known.
    """
    latency = (done_ns - scheduled_ns) / 1e9
    service = (done_ns - start_ns) / 1e9
    backlog = (start_ns - scheduled_ns) / 1e9
    if send_ns is None:  # nothing was written: the whole attempt was connecting
        return _unsplit(latency, service, backlog, connect=service, unsplit=0.0)
    connect = (send_ns - start_ns) / 1e9 if connected else None
    if half is None:
        return _unsplit(latency, service, backlog, connect, unsplit=(done_ns - send_ns) / 1e9)
    if half.start_ns is None or half.end_ns is None or offset is None:
        upload, download, stages, clipped = _durations(send_ns, done_ns, half)
    else:
        upload, download, stages, clipped = _window(send_ns, done_ns, half, offset.offset_ns)
    exchange = (done_ns - send_ns) / 1e9
    named = sum(stages.values())
    transfer = (connect or 0.0) + exchange - named
    split = half.split if upload is not None else Split.DURATIONS
    if connect is None:
        upload = None
    server = tuple(stages[stage] for stage in SERVER_STAGES)
    known = (connect, upload, download, transfer, None, *server, stages["other"], 0.0, clipped)
    return (split.value, latency, service, backlog, *known)


def _unsplit(
    latency: float, service: float, backlog: float, connect: float | None, unsplit: float
) -> tuple[object, ...]:
    unknown = (None,) * (len(SERVER_STAGES) + 2)  # queue_est, the server's stages, other
    return (Split.NONE.value, latency, service, backlog, connect, None, None, connect, *unknown, unsplit, None)


def _window(
    send_ns: int, done_ns: int, half: ServerHalf, offset_ns: int
) -> tuple[float | None, float | None, dict[str, float], float]:
    """Upload, download, stages incl. other, and what was clipped, seconds: the window's place is known."""
    assert half.start_ns is not None  # noqa: S101 - the caller checked
    assert half.end_ns is not None  # noqa: S101
    opened = min(max(half.start_ns - offset_ns, send_ns), done_ns)
    closed = min(max(half.end_ns - offset_ns, opened), done_ns)
    clipped = ((half.end_ns - half.start_ns) - (closed - opened)) / 1e9
    inside = (closed - opened) / 1e9
    if half.intervals:
        charged = _charge(half.intervals, opened + offset_ns, closed + offset_ns)
    else:
        charged = _fit(dict(half.totals), inside)
    upload = (opened - send_ns) / 1e9 + charged.get("upload", 0.0)
    download = (done_ns - closed) / 1e9 + charged.get("download", 0.0)
    stages = {stage: charged.get(stage, 0.0) for stage in SERVER_STAGES}
    stages["other"] = max(0.0, inside - sum(charged.values()))
    return upload, download, stages, clipped


def _durations(
    send_ns: int, done_ns: int, half: ServerHalf
) -> tuple[float | None, float | None, dict[str, float], float]:
    """The same when only lengths are known: upload and download cannot be told apart."""
    inside = min(half.total_s, (done_ns - send_ns) / 1e9)
    totals = dict(half.totals)
    if half.intervals and half.start_ns is not None and half.end_ns is not None:
        totals = _charge(half.intervals, half.start_ns, half.end_ns)
    charged = _fit(totals, inside)
    stages = {stage: charged.get(stage, 0.0) for stage in SERVER_STAGES}
    stages["other"] = max(0.0, inside - sum(charged.values()))
    return None, None, stages, half.total_s - inside


def _charge(intervals: Sequence[Interval], opened_ns: int, closed_ns: int) -> dict[str, float]:
    return {stage: ns / 1e9 for stage, ns in partition(opened_ns, closed_ns, intervals).items()}


def _fit(totals: Mapping[str, float], inside: float) -> dict[str, float]:
    """Stage totals that cannot exceed the window: scaled down together if clocks or rounding made them."""
    known = {stage: seconds for stage, seconds in totals.items() if stage in (*SERVER_STAGES, "upload", "download")}
    claimed = sum(known.values())
    scale = inside / claimed if claimed > inside else 1.0
    return {stage: seconds * scale for stage, seconds in known.items()}


def _calls(
    request_id: object, intervals: Iterable[Interval], offset: ClockOffset | None
) -> Iterable[tuple[object, ...]]:
    """Rows of model.ModelCall; instants are moved to our clock where the offset is known."""
    shift = offset.offset_ns if offset is not None else 0
    count: dict[str, int] = {}
    for i in sorted(intervals, key=lambda i: i.start):
        if i.model is None or i.stage != "inference":
            continue
        call = count.get(i.model, 0)
        count[i.model] = call + 1
        yield (
            request_id, i.model, call, i.start - shift, (i.end - i.start) / 1e9, i.batch_id, i.batch_size,
        )  # fmt: skip


def measured(rows: pd.DataFrame) -> pd.DataFrame:
    """The measured phase only."""
    return rows[rows["phase"] == Phase.MEASURE.value]


def with_server_half(rows: pd.DataFrame) -> pd.DataFrame:
    """The one row set of every stage table: measured, ok, with server half."""
    measured_rows = measured(rows)
    return measured_rows[measured_rows["ok"] & (measured_rows["split"] != Split.NONE.value)]
