"""What charts are made of: every request once, in slices and cells of time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from report_builders import a_ledger

from harness.report import binning, charts
from harness.report.palette import LIGHT
from harness.views import VitalSeries


def rows(**changes: Any) -> pd.DataFrame:
    """Four measured requests, one second apart, 100 to 400 ms."""
    ledger = a_ledger(4, failed=0.0, warmup=0.0)
    latency = np.array([0.1, 0.2, 0.3, 0.4])
    start = 1_767_323_045_000_000_000
    return ledger.assign(latency_s=latency, service_s=latency / 2, scheduled_ns=start + np.arange(4) * 10**9).assign(
        **changes
    )


def test_time_counts_from_the_first_scheduled_request() -> None:
    requests = binning.requests_over_time(rows())

    assert requests["t_s"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert requests["latency_ms"].round(6).tolist() == [100.0, 200.0, 300.0, 400.0]


def test_warm_up_and_drain_are_the_stretches_around_the_measured_phase() -> None:
    requests = binning.requests_over_time(rows(phase=["warmup", "measure", "measure", "drain"]))

    bands = binning.unmeasured_bands(requests)

    assert bands.to_numpy().tolist() == [[0.0, 1.0, "warm-up"], [2.0, 3.0, "drain"]]


def test_the_heatmap_holds_every_request_once() -> None:
    ledger = a_ledger(5000, failed=0.1)
    cells = binning.heatmap_cells(binning.requests_over_time(ledger))

    assert cells["requests"].sum() == 5000
    assert len(cells) <= binning.TIME_BINS * binning.LATENCY_BINS


def test_a_failed_request_takes_the_slowest_rank_of_the_curve() -> None:
    curves = binning.survival_curves(rows(ok=[True, True, False, True]))
    latency = curves[curves["curve"] == "latency"].sort_values("slower")

    # Ranked 100, 200, 400 ms, failed: a quarter is slower than 400 ms, half than 200 ms, three of four than 100.
    assert latency["slower"].tolist() == [0.25, 0.5, 0.75]
    assert latency["ms"].round(6).tolist() == [400.0, 200.0, 100.0]


def test_stage_shares_of_a_slice_add_up_to_the_whole() -> None:
    shares = binning.stage_shares(binning.split_rows(a_ledger(400)))

    assert shares.groupby("t_s")["share"].sum().round(9).eq(1.0).all()
    assert "transfer" not in set(shares["stage"])


def test_transfer_stays_whole_where_its_parts_are_not_known() -> None:
    shares = binning.stage_shares(
        binning.split_rows(a_ledger(400).assign(upload_s=np.nan, download_s=np.nan, split="durations"))
    )

    assert "transfer" in set(shares["stage"])
    assert not {"connect", "upload", "download"} & set(shares["stage"])


def test_slices_count_each_request_once_and_show_empty_ones() -> None:
    slices = binning.slices(binning.requests_over_time(rows(ok=[True, False, True, True])), parts=6)

    assert slices["requests"].tolist() == [1, 0, 1, 0, 1, 1]
    assert slices["failed"].tolist() == [0, 0, 1, 0, 0, 0]


def test_vitals_begin_with_the_first_request_and_keep_their_peaks() -> None:
    series = VitalSeries("cpu", "1", "api", (-2.0, 2.0, 0.0, 1.0, 3.0), (9.0, 5.0, 1.0, np.nan, 4.0))

    known = binning.points(series)

    assert known.to_numpy().tolist() == [[0.0, 1.0], [2.0, 5.0], [3.0, 4.0]]
    assert binning.thinned(known, 2)["value"].tolist() == [1.0, 5.0]


def test_a_chart_also_draws_outside_a_page() -> None:
    drawn = charts.svg(charts.stages_over_time(binning.stage_shares(binning.split_rows(a_ledger())), LIGHT))

    assert LIGHT.stages["inference"] in drawn
    assert "var(" not in drawn
