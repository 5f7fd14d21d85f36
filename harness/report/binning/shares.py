"""What part of the latency each stage took over time: of all requests, and of the slowest of each moment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.ledger import with_server_half
from harness.model import STAGES, TRANSFER
from harness.report.binning.rows import since_start

SHARE_BINS = 60
LEAST_PER_SHARE_BIN = 5
LEAST_PER_TAIL_BIN = 40
"""So that the slowest 5 % of a slice are at least two requests."""
TAIL_FROM = 0.95
ALWAYS = ("queue", "other")
"""Stages that are shown although they hold no time, if they are known: to see that it is nothing says something."""
Rows = NDArray[np.intp]


def stage_shares(ledger: pd.DataFrame, most_bins: int = SHARE_BINS) -> pd.DataFrame:
    """Share of each stage in the mean latency of a slice of time: `t_s, stage, share, requests`.

    Empty below two slices. Slices without a request are left out.
    """
    return _shares(ledger, most_bins, LEAST_PER_SHARE_BIN, tail=False)


def tail_shares(ledger: pd.DataFrame, most_bins: int = SHARE_BINS) -> pd.DataFrame:
    """The same of the slowest requests of each slice: those from its 95th percentile on."""
    return _shares(ledger, most_bins, LEAST_PER_TAIL_BIN, tail=True)


def _shares(ledger: pd.DataFrame, most_bins: int, least: int, tail: bool) -> pd.DataFrame:
    rows = with_server_half(ledger)
    bins = min(most_bins, len(rows) // least)
    if bins < 2:
        return pd.DataFrame({"t_s": [], "stage": [], "share": [], "requests": []})
    at = since_start(rows, ledger)
    order = None if (np.diff(at) >= 0).all() else np.argsort(at, kind="stable")
    at = at if order is None else at[order]
    edges = np.linspace(at[0], max(at[-1], at[0] + 1e-9), bins + 1)
    starts = np.searchsorted(at, edges[:-1])
    ends = np.append(starts[1:], len(at))
    filled = np.flatnonzero(ends > starts)
    stages = shown_stages(rows)
    columns = [np.nan_to_num(rows[f"{stage}_s"].to_numpy(dtype=np.float64)) for stage in stages]
    if order is not None:
        columns = [column[order] for column in columns]
    if tail:
        latency = rows["latency_s"].to_numpy(dtype=np.float64)
        latency = latency if order is None else latency[order]
        picked = [_slowest(latency, int(starts[i]), int(ends[i])) for i in filled]
        columns = [column[np.concatenate(picked)] for column in columns]
        counts = np.array([len(rows_of) for rows_of in picked])
    else:
        counts = (ends - starts)[filled]
    return _long(columns, stages, counts, ((edges[:-1] + edges[1:]) / 2)[filled])


def _slowest(latency: NDArray[np.float64], start: int, end: int) -> Rows:
    """The rows of a slice from its 95th percentile on."""
    part = latency[start:end]
    rank = min(len(part) - 1, int(np.ceil(TAIL_FROM * len(part) - 1e-9)) - 1)
    return start + np.flatnonzero(part >= np.partition(part, rank)[rank])


def _long(
    columns: Sequence[NDArray[np.float64]],
    stages: Sequence[str],
    counts: NDArray[np.int64],
    middle: NDArray[np.float64],
) -> pd.DataFrame:
    firsts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sums = np.column_stack([np.maximum(np.add.reduceat(np.maximum(c, 0.0), firsts), 0.0) for c in columns])
    whole = sums.sum(axis=1)
    kept = whole > 0
    wide = pd.DataFrame(sums[kept] / whole[kept, None], columns=list(stages))
    wide = wide.assign(t_s=middle[kept], requests=counts[kept])
    return wide.melt(id_vars=["t_s", "requests"], var_name="stage", value_name="share")


def shown_stages(rows: pd.DataFrame) -> tuple[str, ...]:
    """The stages that hold any time, or are always of interest; `transfer` in one piece where its parts are not known
    apart."""
    whole = rows["upload_s"].isna().any()
    names = (
        ["transfer" if s == "upload" else s for s in STAGES if s not in ("connect", "download")] if whole else STAGES
    )
    known = {s: rows[f"{s}_s"].to_numpy(dtype=np.float64) for s in names}
    return tuple(s for s in names if (known[s] > 0).any() or (s in ALWAYS and not np.isnan(known[s]).all()))


assert set(TRANSFER) <= set(STAGES)  # noqa: S101 - `shown_stages` swaps the parts for the whole
