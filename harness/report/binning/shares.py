"""What part of the latency each stage took over time: of all requests, and of the slowest of each moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.ledger import with_server_half
from harness.model import STAGES
from harness.report.binning.rows import LEAST_S, Floats

SHARE_BINS = 60
LEAST_PER_SHARE_BIN = 5
LEAST_PER_TAIL_BIN = 40
"""So that the slowest 5 % of a slice are at least two requests."""
TAIL_FROM = 0.95
ALWAYS = ("queue", "other")
"""Stages that are shown although they hold no time, if they are known: to see that it is nothing says something."""
Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class SplitRows:
    """The requests of the stage table in the order they were scheduled: a column of seconds for each shown stage."""

    at_s: Floats
    latency_s: Floats
    stages: tuple[str, ...]
    columns: tuple[Floats, ...]  # what is not known is 0 here
    end_s: float  # when the last request of the run was scheduled, of whatever phase


def split_rows(ledger: pd.DataFrame) -> SplitRows:
    """The measured, ok requests with a server half; `transfer` in one piece where its parts are not known apart."""
    marks = ledger[["phase", "ok", "split"]].reset_index(drop=True)
    rows = with_server_half(marks).index.to_numpy()
    whole = len(rows) == len(ledger)

    def column(name: str) -> Floats:
        values = ledger[name].to_numpy(dtype=np.float64)
        return values.copy() if whole else values[rows]

    instants = ledger["scheduled_ns"].to_numpy(dtype=np.int64)
    first, last = (instants.min(), instants.max()) if len(instants) else (0, 0)
    at_s = (instants[rows] - first) / 1e9
    order = None if (np.diff(at_s) >= 0).all() else np.argsort(at_s, kind="stable")
    apart = not np.isnan(column("upload_s")).any()
    names = STAGES if apart else ("backlog", "transfer", *(s for s in STAGES if s not in _NOT_APART))
    kept: dict[str, Floats] = {}
    for name in names:
        values = column(f"{name}_s")
        known = name in ALWAYS and not np.isnan(values).all()
        values[~(values > 0)] = 0.0
        if known or values.any():
            kept[name] = values if order is None else values[order]
    latency = column("latency_s")
    ordered = (at_s, latency) if order is None else (at_s[order], latency[order])
    return SplitRows(*ordered, tuple(kept), tuple(kept.values()), max(float(last - first) / 1e9, LEAST_S))


_NOT_APART = ("backlog", "connect", "upload", "download")


def stage_shares(rows: SplitRows, most_bins: int = SHARE_BINS) -> pd.DataFrame:
    """Share of each stage in the mean latency of a slice of time: `t_s, stage, share, requests`.

    Empty below two slices. Slices without a request are left out.
    """
    found = _slices(rows, most_bins, LEAST_PER_SHARE_BIN)
    if found is None:
        return _NOTHING.copy()
    starts, ends, middle = found
    return _long(rows.columns, rows.stages, ends - starts, middle)


def tail_shares(rows: SplitRows, most_bins: int = SHARE_BINS) -> pd.DataFrame:
    """The same of the slowest requests of each slice: those from its 95th percentile on."""
    found = _slices(rows, most_bins, LEAST_PER_TAIL_BIN)
    if found is None:
        return _NOTHING.copy()
    starts, ends, middle = found
    slowest = [_slowest(rows.latency_s, s, e) for s, e in zip(starts.tolist(), ends.tolist(), strict=True)]
    picked = np.concatenate(slowest)
    counts = np.array([len(each) for each in slowest])
    return _long([column[picked] for column in rows.columns], rows.stages, counts, middle)


_NOTHING = pd.DataFrame({"t_s": [], "stage": [], "share": [], "requests": []})


def _slices(rows: SplitRows, most_bins: int, least: int) -> tuple[Rows, Rows, Floats] | None:
    """First row, end and middle instant of each slice that holds a request."""
    at_s = rows.at_s
    bins = min(most_bins, len(at_s) // least)
    if bins < 2 or not rows.stages:
        return None
    edges = np.linspace(at_s[0], max(at_s[-1], at_s[0] + 1e-9), bins + 1)
    starts = np.searchsorted(at_s, edges[:-1])
    ends = np.append(starts[1:], len(at_s))
    filled = ends > starts
    return starts[filled], ends[filled], ((edges[:-1] + edges[1:]) / 2)[filled]


def _slowest(latency_s: Floats, start: int, end: int) -> Rows:
    """The rows of a slice from its 95th percentile on."""
    part = latency_s[start:end]
    rank = min(len(part) - 1, int(np.ceil(TAIL_FROM * len(part) - 1e-9)) - 1)
    return start + np.flatnonzero(part >= np.partition(part, rank)[rank])


def _long(columns: Sequence[Floats], stages: Sequence[str], counts: Rows, middle: Floats) -> pd.DataFrame:
    firsts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sums = np.column_stack([np.add.reduceat(column, firsts) for column in columns])
    whole = sums.sum(axis=1)
    kept = whole > 0
    wide = pd.DataFrame(sums[kept] / whole[kept, None], columns=list(stages))
    wide = wide.assign(t_s=middle[kept], requests=counts[kept])
    return wide.melt(id_vars=["t_s", "requests"], var_name="stage", value_name="share")
