"""The charts of a run as PNG files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

import pandas as pd
import pyarrow.parquet as pq

from harness.errors import RunFolderError
from harness.report.charts import png
from harness.report.drawings import KEYS, draw, needs
from harness.report.palette import DARK, LIGHT
from harness.run_folder import RunFolder
from harness.stored_run import StoredRun
from harness.tables import read_columns
from harness.viewing import stored_vitals
from harness.views import Views

Theme = Literal["light", "dark"]
_SCHEDULED = "scheduled_ns"


def pictures(run: StoredRun, theme: Theme = "light", views: Views | None = None) -> Iterator[tuple[str, bytes]]:
    """(key, PNG) of each chart that this run can carry. Raises RunFolderError."""
    ledger = _ledger(run.folder, sorted({name for key in KEYS for name in needs(key)}))
    views = views or _vitals(run.folder)
    for key in KEYS:
        drawing = draw(key, run.summary, ledger, views)
        if drawing is not None:
            yield key, png(drawing, DARK if theme == "dark" else LIGHT)


def _vitals(folder: RunFolder) -> Views:
    with suppress(RunFolderError):  # what cannot be read of them costs their own chart
        return Views(vitals=stored_vitals(folder))
    return Views()


def _ledger(folder: RunFolder, names: list[str]) -> pd.DataFrame | None:
    """Columns of the ledger; when a request was scheduled is looked up in the samples where it has no such column."""
    if not folder.ledger.is_file():
        return None
    if _SCHEDULED not in names or _SCHEDULED in pq.read_schema(folder.ledger).names:
        return read_columns(folder, "ledger", names)
    others = dict.fromkeys(["request_id", *names])
    frame = read_columns(folder, "ledger", [name for name in others if name != _SCHEDULED])
    samples = read_columns(folder, "samples", ["request_id", _SCHEDULED]).set_index("request_id")[_SCHEDULED]
    frame[_SCHEDULED] = frame["request_id"].map(samples)
    return frame
