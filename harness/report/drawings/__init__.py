"""The charts of a run with what belongs to each: a title, words for those who cannot see it, a note, its figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from harness.findings import Summary
from harness.report.drawings.bars import contrast_drawing, models_drawing, tail_drawing
from harness.report.drawings.comparing import delta_chart, shift_chart, trend
from harness.report.drawings.curve import curve_drawing
from harness.report.drawings.drawing import ChartTable, Drawing
from harness.report.drawings.load import load_drawing
from harness.report.drawings.over_time import latency_drawing
from harness.report.drawings.shares import stages_drawing, stages_tail_drawing
from harness.report.drawings.vitals import vitals_drawing
from harness.report.palette import IN_PAGE, Theme
from harness.views import Views

__all__ = ["KEYS", "ChartTable", "Drawing", "delta_chart", "draw", "needs", "shift_chart", "trend"]


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one drawing is made, and the columns of the ledger that it is made of."""

    make: Callable[[Summary, pd.DataFrame, Views, Theme], Drawing | None]
    columns: tuple[str, ...]


_REQUEST = ("scheduled_ns", "phase", "ok", "latency_s")
_SPLIT = (
    "scheduled_ns", "phase", "ok", "split", "latency_s", "backlog_s", "transfer_s", "connect_s", "upload_s",
    "queue_est_s", "queue_s", "preprocess_s", "inference_s", "postprocess_s", "other_s", "download_s", "unsplit_s",
)  # fmt: skip

_KINDS: Mapping[str, _Kind] = {
    "latency": _Kind(latency_drawing, (*_REQUEST, "step", "request_id")),
    "stages": _Kind(stages_drawing, _SPLIT),
    "stages_tail": _Kind(stages_tail_drawing, _SPLIT),
    "tail": _Kind(tail_drawing, ()),
    "contrast": _Kind(contrast_drawing, ()),
    "models": _Kind(models_drawing, ()),
    "load": _Kind(load_drawing, ()),
    "vitals": _Kind(vitals_drawing, ()),
    "curve": _Kind(curve_drawing, (*_REQUEST, "service_s", "step")),
}

KEYS: tuple[str, ...] = tuple(_KINDS)
"""Keys of the charts that a run may have, in no particular order."""


def needs(key: str) -> tuple[str, ...]:
    """The columns of the ledger that a drawing is made of; none: it is made of the summary and the views alone."""
    return _KINDS[key].columns


def draw(
    key: str, summary: Summary, ledger: pd.DataFrame | None, views: Views, theme: Theme = IN_PAGE
) -> Drawing | None:
    """One chart of a run, from the columns `needs(key)` of its ledger; None when there is nothing to draw."""
    kind = _KINDS[key]
    if kind.columns and (ledger is None or ledger.empty):
        return None
    return kind.make(summary, pd.DataFrame() if ledger is None else ledger, views, theme)
