"""`Server-Timing` headers of a run as numpy columns. Our own header has one shape and is read by one expression; every
other header goes through the parser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.model import CLAIMS, Split
from harness.spans import server_timing
from harness.spans.columns import UNKNOWN

_DURATION = r"[0-9]{1,7}\.[0-9]{1,6}"
_OURS = (
    r'^mlharness;desc="1 (?P<trace>[0-9a-f]{32}) [0-9a-f]{16} (?P<start>[1-8]?[0-9]{18}) (?P<host>[0-9a-f]{12}|-)'
    rf'(?P<streamed> streamed)?", total;dur=(?P<total>{_DURATION})'
    + "".join(rf"(?:, {stage};dur=(?P<{stage}>{_DURATION}))?" for stage in CLAIMS)
    + "$"
)


@dataclass(frozen=True, slots=True, eq=False)
class HeaderColumns:
    """One row per header. Where `usable` is False the other columns mean nothing.

    `start_ns` is -1 when only durations are known; `seconds` has a column for each of CLAIMS.
    """

    usable: NDArray[np.bool_]
    marked: NDArray[np.bool_]
    streamed: NDArray[np.bool_]
    start_ns: NDArray[np.int64]
    total_s: NDArray[np.float64]
    seconds: NDArray[np.float64]
    hosts: NDArray[np.object_]  # str or None


def read_headers(headers: pa.ChunkedArray, trace_ids: pa.ChunkedArray) -> HeaderColumns:
    """The server halves in `headers`; one that speaks of another trace than its own is not usable."""
    n = len(headers)
    columns = HeaderColumns(
        usable=np.zeros(n, np.bool_),
        marked=np.zeros(n, np.bool_),
        streamed=np.zeros(n, np.bool_),
        start_ns=np.full(n, UNKNOWN, np.int64),
        total_s=np.zeros(n),
        seconds=np.zeros((n, len(CLAIMS))),
        hosts=np.full(n, None, np.object_),
    )
    if n == 0:
        return columns
    found = pc.extract_regex(headers, _OURS)
    plain = pc.is_valid(found).to_numpy().astype(np.bool_)
    _read_ours(columns, np.flatnonzero(plain), found.filter(pa.array(plain)), trace_ids)
    rest = np.flatnonzero(~plain & pc.is_valid(headers).to_numpy())
    for row, header, trace_id in zip(
        rest, headers.take(pa.array(rest)).to_pylist(), trace_ids.take(pa.array(rest)).to_pylist(), strict=True
    ):
        half = server_timing.parse(header)
        if half is not None and half.trace_id in (None, trace_id):
            _put(columns, int(row), half)
    return columns


def _read_ours(columns: HeaderColumns, rows: NDArray[np.intp], found: pa.ChunkedArray, ids: pa.ChunkedArray) -> None:
    if not len(rows):
        return
    parts = found.combine_chunks() if found.num_chunks != 1 else found.chunk(0)

    def text(name: str) -> Any:
        return parts.field(name)

    def seconds(name: str) -> NDArray[np.float64]:
        written = pc.if_else(pc.equal(text(name), ""), "0", text(name))
        spent: NDArray[np.float64] = pc.cast(written, pa.float64()).to_numpy() / 1000
        return spent

    columns.usable[rows] = pc.equal(text("trace"), ids.take(pa.array(rows)).combine_chunks()).to_numpy(
        zero_copy_only=False
    )
    columns.marked[rows] = True
    columns.streamed[rows] = pc.not_equal(text("streamed"), "").to_numpy(zero_copy_only=False)
    columns.start_ns[rows] = pc.cast(text("start"), pa.int64()).to_numpy()
    columns.total_s[rows] = seconds("total")
    columns.hosts[rows] = pc.if_else(pc.equal(text("host"), "-"), None, text("host")).to_numpy(zero_copy_only=False)
    for number, stage in enumerate(CLAIMS):
        columns.seconds[rows, number] = seconds(stage)


def _put(columns: HeaderColumns, row: int, half: server_timing.ServerHalf) -> None:
    columns.usable[row] = True
    columns.marked[row] = half.split is Split.MARKS
    columns.streamed[row] = half.streamed
    columns.start_ns[row] = UNKNOWN if half.window_start_ns is None else half.window_start_ns
    columns.total_s[row] = half.total_s
    columns.hosts[row] = half.host
    for stage, spent in half.stages:
        columns.seconds[row, CLAIMS.index(stage)] = spent
