"""The charts of a run for the browser, from single columns of its ledger, kept by run."""

from __future__ import annotations

import functools
import json
import threading
from pathlib import Path

import pandas as pd

from harness.dashboard.drawn import as_json
from harness.dashboard.library import open_run
from harness.errors import RunFolderError, UsageError, nearest
from harness.report.drawings import KEYS, draw, needs
from harness.report.drawings.load import load_drawing
from harness.run_folder import RunFolder
from harness.tables import read_columns
from harness.viewing import baseline_curve, stored_vitals
from harness.views import BaselineCurve, Views

_DRAWING = threading.Lock()
"""One chart at a time: of a million requests the columns of one are as much as should be in memory."""

LONGEST_SLO = 400  # characters of a query
_NOTHING = b'{"spec": null}'


def drawn_chart(runs: Path, run_id: str, key: str, before: str | None, slos: tuple[str, ...] = ()) -> bytes:
    """A chart as JSON; {"spec": null} where the run has nothing of the kind. `before` is the run to draw beside it,
    `slos` are expressions whose limits the load curve has instead of the run's own.

    Raises RunFolderError, UsageError.
    """
    if key not in KEYS:
        raise UsageError(f"there is no chart '{key[:40]}'", nearest(key[:40], KEYS))
    stamp = open_run(runs, run_id).stamp
    with _DRAWING:
        return _drawn(runs, run_id, stamp, key, before if key == "curve" else None, slos if key == "load" else ())


@functools.lru_cache(maxsize=128)
def _drawn(
    runs: Path, run_id: str, stamp: tuple[int, ...], key: str, before: str | None, slos: tuple[str, ...]
) -> bytes:
    del stamp  # a key: another one when the run was written again
    run = open_run(runs, run_id)
    columns = needs(key)
    ledger = read_columns(run.folder, "ledger", columns) if columns else None
    views = Views(
        baseline=_curve_of(runs / before) if before else None,
        vitals=stored_vitals(run.folder) if key == "vitals" else (),
    )
    if slos:
        drawing = load_drawing(run.summary, pd.DataFrame(), views, slos=slos)
    else:
        drawing = draw(key, run.summary, ledger, views)
    return _NOTHING if drawing is None else json.dumps(as_json(drawing)).encode()


def _curve_of(path: Path) -> BaselineCurve | None:
    """Of a run that cannot be read there is none."""
    try:
        return baseline_curve(RunFolder(path))
    except RunFolderError:
        return None
