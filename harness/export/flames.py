"""The flame graphs of a stored run: where typical and slow requests spend their time, and its call profiles."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.export.rows import requests, spans
from harness.flames import call_profiles, span_flames
from harness.join import join
from harness.model import STAGES, Split
from harness.record import validated
from harness.run_folder import RunFolder
from harness.tables import read_columns
from harness.views import Flame

MOST_REQUESTS = 4_000
"""Evenly drawn by latency where there are more."""


def flames_of(folder: RunFolder) -> tuple[tuple[Flame, ...], str | None]:
    """The flame graphs, and why there are none of the spans. Raises RunFolderError."""
    profiles = call_profiles(folder)
    if not folder.ledger.is_file():
        return profiles, f"the run was not concluded: `harness report {folder.path}` does that"
    columns = ("request_id", "phase", "ok", "split", "latency_s", *(f"{stage}_s" for stage in STAGES))
    rows = read_columns(folder, "ledger", columns)
    good = (rows["phase"].astype(str) == "measure") & rows["ok"].astype(bool)
    rows = rows[(good & (rows["split"].astype(str) != Split.NONE)).to_numpy(bool)]
    rows = rows.sort_values("latency_s", kind="stable", ignore_index=True)
    if len(rows) > MOST_REQUESTS:
        rows = rows.iloc[np.linspace(0, len(rows) - 1, MOST_REQUESTS).astype(np.int64)]
    asked = requests(folder, rows["request_id"].tolist())
    if not asked.num_rows:
        return profiles, "no measured request has a server half"
    joined = join(asked, list(spans(folder, asked)), _source(folder))
    return (*span_flames(joined.halves, asked, rows), *profiles), None


def _source(folder: RunFolder) -> str:
    """Where the spans came from, as the plan says."""
    plan = validated(folder.read_json("run.json"), folder.run_json).get("plan")
    spec = plan.get("spans") if isinstance(plan, Mapping) else None
    source = spec.get("source") if isinstance(spec, Mapping) else None
    return source if isinstance(source, str) else "auto"
