"""What the explorer shows at first, made while the page of a large run is looked at: its columns take a second."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
from fastapi import FastAPI
from starlette.datastructures import QueryParams

from harness.analysis.selection import Columns
from harness.dashboard.selecting import shelf_of
from harness.dashboard.selecting_query import parse
from harness.errors import RunFolderError
from harness.report.binning import requests_over_time, slices
from harness.report.charts.brush import heatmap_spec
from harness.report.figures import ms
from harness.stored_run import StoredRun

LARGE = 100_000
"""Requests from which on a run is read ahead."""
SOON_S = 1.5
"""The page itself is made and drawn before."""


def read_ahead(app: FastAPI, run: StoredRun) -> None:
    """Put a large run on the shelf soon, with what is asked for when nothing is selected."""
    if run.summary.counts.scheduled < LARGE:
        return
    soon = threading.Timer(SOON_S, _read, (app, run))
    soon.daemon = True
    soon.start()


def _read(app: FastAPI, run: StoredRun) -> None:
    with suppress(RunFolderError):  # who opens the explorer is told
        held = shelf_of(app).of(run)
        held.selected(parse(QueryParams())[0])
        held.drawn("heatmap", heatmap_of)


def heatmap_of(columns: Columns) -> dict[str, Any]:
    """The heatmap to draw a selection on, with its words and its table, as static/chart.js takes it."""
    codes: Any = columns.phase.codes  # a list, as the stubs want it, would take as long as all the rest
    frame = pd.DataFrame(
        {
            "scheduled_ns": np.rint(columns.at_s * 1e9).astype(np.int64),
            "phase": pd.Categorical.from_codes(codes, pd.Index(columns.phase.texts)),
            "ok": columns.ok,
            "latency_s": columns.latency_s,
        }
    )
    spec = heatmap_spec(frame)
    if not spec:
        return {"spec": None}
    parts = slices(requests_over_time(frame))
    rows = [
        [f"{begin:,.1f} – {end:,.1f}", f"{n:,}", f"{failed:,}", ms(slowest_ms / 1000, 1)]
        for begin, end, n, failed, slowest_ms in zip(*(parts[name].tolist() for name in parts), strict=True)
    ]
    heads = ["seconds", "requests", "failed", "slowest (ms)"]
    return {
        "spec": spec,
        "title": "Latency over time",
        "label": f"Latency of {len(columns):,} requests over time; the form below selects from them, too.",
        "note": "Draw a rectangle to select requests; drag it to move it, double-click to take it away.",
        "table": {"caption": "Requests by time", "columns": heads, "rows": rows},
    }
