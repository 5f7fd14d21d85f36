"""Every chart of next to nothing: no figure, one, all alike. What is drawn has a size, and only finite places."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.report import charts
from harness.report.charts import (
    AnyChart,
    Exemplar,
    Limit,
    LoadPoint,
    ModelBar,
    Pair,
    ShareBar,
    Shifted,
    StageDelta,
    TrendPoint,
    VitalRow,
)
from harness.report.charts.live import live_specs

NO_END = float("inf")


def steps(*found: tuple[float, float | None], p50: tuple[float, float | None, float | None] | None = None) -> Any:
    return [LoadPoint(offered, achieved, p50 is None, (p50, None, None), "") for offered, achieved in found]


def requests(*latency_ms: float, ok: bool = True, at: float = 0.0) -> pd.DataFrame:
    n = len(latency_ms)
    return pd.DataFrame({"t_s": [at] * n, "latency_ms": latency_ms, "ok": [ok] * n, "phase": ["measure"] * n})


def curves(*ms: float, slower: float = 0.5) -> pd.DataFrame:
    rows = {"slower": [slower] * len(ms), "ms": ms, "low_ms": ms, "high_ms": ms, "curve": ["latency"] * len(ms)}
    return pd.DataFrame(rows).astype({"slower": float, "ms": float, "low_ms": float, "high_ms": float})


def shares(*at: float, stage: str = "queue") -> pd.DataFrame:
    return pd.DataFrame({"t_s": at, "stage": stage, "share": 1.0, "requests": 1}).astype({"t_s": float})


def vital(*values: float) -> VitalRow:
    return VitalRow("lag", pd.DataFrame({"t_s": np.arange(len(values), dtype=float), "value": values, "process": 0}))


CHARTS: dict[str, Callable[[], AnyChart]] = {
    "load: no step": lambda: charts.load_curve([]),
    "load: every step unstable": lambda: charts.load_curve(steps((50.0, 9.0), (99.0, 8.0)), limits=[Limit(200, "p95")]),
    "load: nothing achieved": lambda: charts.load_curve(steps((50.0, None), (99.0, None))),
    "load: nobody": lambda: charts.load_curve(steps((0.0, 0.0)), users=True),
    "load: without end": lambda: charts.load_curve(steps((50.0, NO_END), (NO_END, None), p50=(NO_END, None, NO_END))),
    "load: one figure": lambda: charts.load_curve(steps((50.0, 9.0), p50=(3.0, None, None))),
    "load: no time": lambda: charts.load_curve(steps((50.0, 9.0), p50=(0.0, 0.0, 0.0))),
    "latency: one": lambda: charts.latency_over_time(requests(3.0)),
    "latency: all failed": lambda: charts.latency_over_time(requests(3.0, 4.0, ok=False)),
    "latency: all alike": lambda: charts.latency_over_time(requests(3.0, 3.0, at=2.0), exemplars=[Exemplar(2, 3, "")]),
    "latency: a heatmap of all alike": lambda: charts.latency_over_time(requests(*[3.0] * 9_000)),
    "curve: none": lambda: charts.percentile_curve(curves()),
    "curve: one": lambda: charts.percentile_curve(curves(3.0)),
    "curve: all alike": lambda: charts.percentile_curve(curves(3.0, 3.0, slower=1.0)),
    "curve: without end": lambda: charts.percentile_curve(curves(NO_END, float("nan"))),
    "stages: none": lambda: charts.stages_over_time(shares()),
    "stages: one": lambda: charts.stages_over_time(shares(1.0)),
    "vitals: none": lambda: charts.vitals_over_time([], [], 0.0),
    "vitals: nothing in it": lambda: charts.vitals_over_time([vital()], ["api"], 0.0),
    "vitals: one": lambda: charts.vitals_over_time([vital(0.0)], ["api"], 0.0),
    "vitals: without end": lambda: charts.vitals_over_time([vital(NO_END, float("nan"))], ["api"], NO_END),
    "tail: none": lambda: charts.tail_bars([]),
    "tail: nothing": lambda: charts.tail_bars([ShareBar("queue", "queue", 0.0, 0.0, 0.0, "")]),
    "tail: without end": lambda: charts.tail_bars([ShareBar("queue", "queue", 0.5, -NO_END, NO_END, "")]),
    "models: none": lambda: charts.model_bars([]),
    "models: no time": lambda: charts.model_bars([ModelBar("det", 0.0, 0.0, "")]),
    "models: without end": lambda: charts.model_bars([ModelBar("det", 0.0, NO_END, "")]),
    "contrast: none": lambda: charts.contrast_pairs([]),
    "contrast: one": lambda: charts.contrast_pairs([Pair("language: de", 0.0, 0.0, "")]),
    "shift: none": lambda: charts.shifts([]),
    "shift: none moved": lambda: charts.shifts([Shifted("p50", 0.0, None, None, "")]),
    "shift: without end": lambda: charts.shifts([Shifted("p50", 0.0, -NO_END, NO_END, "")]),
    "delta: none": lambda: charts.deltas([]),
    "delta: nothing known": lambda: charts.deltas([StageDelta("queue", "queue", None, None, None, None)]),
    "delta: none moved": lambda: charts.deltas([StageDelta("queue", "queue", 0.0, 0.0, 0.0, 0.0)]),
    "trend: none": lambda: charts.trend_lines([]),
    "trend: nothing known": lambda: charts.trend_lines([TrendPoint(1, "a", None, None, True)], changes=[1]),
    "trend: one": lambda: charts.trend_lines([TrendPoint(1, "a", 3.0, 0.0, True)]),
    "trend: without end": lambda: charts.trend_lines([TrendPoint(1, "a", NO_END, NO_END, True)]),
}  # fmt: skip


@pytest.mark.parametrize("make", CHARTS.values(), ids=CHARTS.keys())
def test_a_chart_of_next_to_nothing_has_a_size_and_finite_places(make: Callable[[], AnyChart]) -> None:
    made = make()
    json.dumps(made.to_dict(validate=False), allow_nan=False)  # what a browser is given
    drawn = charts.inline_svg(made, "k")

    box = [float(number) for number in re.findall(r'viewBox="([^"]*)"', drawn)[0].split()]
    assert len(box) == 4
    assert 0 < box[2] < 2_000
    assert 0 < box[3] < 2_000
    assert not re.search(r"NaN|Infinity|undefined|null", drawn)
    places = re.findall(r'(?:[" ,MLHVhv(])(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?=[" ,MLHVhvZ)])', drawn)
    assert max((abs(float(place)) for place in places), default=0.0) < 5_000


def test_a_live_chart_without_a_row_has_a_size() -> None:
    import vl_convert

    for spec in live_specs().values():
        drawn = vl_convert.vegalite_to_svg({**spec, "width": 400}, allowed_base_urls=[])
        assert not re.search(r"NaN|Infinity|e\+\d", drawn)
