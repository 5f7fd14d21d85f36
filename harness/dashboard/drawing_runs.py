"""The charts of a run for the browser, from single columns of its ledger, kept by run."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from harness.dashboard.drawn import as_json
from harness.dashboard.library import open_run
from harness.errors import RunFolderError, UsageError, nearest
from harness.report.drawings import KEYS, draw, needs
from harness.run_folder import RunFolder
from harness.tables import read_columns
from harness.viewing import baseline_curve
from harness.views import BaselineCurve, Views

_DRAWING = threading.Lock()
"""One chart at a time: of a million requests the columns of one are as much as should be in memory."""

_NOTHING = b'{"spec": null}'


def drawn_chart(runs: Path, run_id: str, key: str, before: str | None) -> bytes:
    """A chart as JSON; {"spec": null} where the run has nothing of the kind. `before` is the run to draw beside it.

    Raises RunFolderError, UsageError.
    """
    if key not in KEYS:
        raise UsageError(f"there is no chart '{key[:40]}'", nearest(key[:40], KEYS))
    stamp = open_run(runs, run_id).stamp
    with _DRAWING:
        return _drawn(runs, run_id, stamp, key, before if key == "curve" else None)


@functools.lru_cache(maxsize=128)
def _drawn(runs: Path, run_id: str, stamp: tuple[int, ...], key: str, before: str | None) -> bytes:
    del stamp  # a key: another one when the run was written again
    run = open_run(runs, run_id)
    ledger = _ledger(run.folder, needs(key)) if needs(key) else None
    views = Views(baseline=_curve_of(runs / before) if before else None)
    drawing = draw(key, run.summary, ledger, views)
    return _NOTHING if drawing is None else json.dumps(as_json(drawing)).encode()


def _ledger(folder: RunFolder, columns: Sequence[str]) -> pd.DataFrame:
    """Columns of the ledger in the order of `scheduled_ns`, which the samples have. Raises RunFolderError."""
    stored = [name for name in columns if name != "scheduled_ns"]
    frame = read_columns(folder, "ledger", list(dict.fromkeys(["request_id", *stored])))
    samples = read_columns(folder, "samples", ["request_id", "scheduled_ns"])
    if not np.array_equal(frame["request_id"].to_numpy(), samples["request_id"].to_numpy()):
        known = samples.drop_duplicates("request_id").set_index("request_id")["scheduled_ns"]
        frame = frame[frame["request_id"].isin(known.index)]
        samples = known.reindex(frame["request_id"]).to_frame()
    frame = frame.assign(scheduled_ns=samples["scheduled_ns"].to_numpy(dtype=np.int64))
    if not frame["scheduled_ns"].is_monotonic_increasing:
        frame = frame.sort_values("scheduled_ns", kind="stable", ignore_index=True)
    return frame[list(columns)]


def _curve_of(path: Path) -> BaselineCurve | None:
    """Of a run that cannot be read there is none."""
    try:
        return baseline_curve(RunFolder(path))
    except RunFolderError:
        return None
