"""What was special about each request, from rows joined as those of a run are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from builders import a_root, a_sample, a_span, at, samples_table, spans_table

from harness.analysis.slow.attributes import attributes_of
from harness.join import join
from harness.ledger import build, with_server_half
from harness.model import Sample, Span

NO_VITALS = pd.DataFrame({"at_ns": [], "process": [], "name": [], "value": []})


def attributes(samples: list[Sample], spans: list[Span], vitals: pd.DataFrame = NO_VITALS) -> pd.DataFrame:
    """Of the requests with a server half, in order of their ids."""
    table: pa.Table = samples_table(*samples).sort_by("scheduled_ns")
    joined = join(table, [spans_table(*spans)])
    ledger = build(table, joined, None, loopback=True)
    return attributes_of(table, with_server_half(ledger.rows), joined.halves, ledger.model_calls, vitals)


def a_request(number: int, begins: float, ends: float, **changes: Any) -> Sample:
    """Scheduled, sent and answered at these ms."""
    known = {name: at(begins) for name in ("scheduled_ns", "start_ns", "send_ns", "sent_ns")}
    return a_sample(number, **{**known, "connected_ns": None, "done_ns": at(ends), "done_user_ns": at(ends), **changes})


def a_call(number: int, model: str, start: float, end: float, **more: object) -> Span:
    stage = {"harness.stage": "inference", "harness.model": model, **more}
    return a_span(model, start, end, number=number, stage="inference", attributes=stage)


def test_what_the_client_noted_is_there_in_the_order_of_the_rows() -> None:
    samples = [
        a_request(7, 300, 400, name="large", bytes_sent=5_000, worker="1", attempts=2, server_timing="total;d=9"),
        a_request(3, 100, 200, connected_ns=at(100)),
        a_request(9, 0, 50, phase="warmup"),
    ]
    found = attributes(samples, [a_root(310, 390, 7), a_root(110, 190, 3), a_root(10, 40, 9)])

    assert list(found["name"]) == ["read", "large"]
    assert list(found["bytes_sent"]) == [100, 5_000]
    assert list(found["bytes_received"]) == [200, 191]  # without its timings
    assert list(found["worker"]) == ["0", "1"]
    assert list(found["new_connection"]) == [True, False]
    assert list(found["resent"]) == [False, True]
    assert list(found["since_start_s"]) == pytest.approx([0.0, 0.2])
    assert found["step"].isna().all()  # there is one only


def test_a_step_is_told_where_there_are_several() -> None:
    found = attributes([a_request(0, 0, 50), a_request(1, 100, 150, step=1)], [a_root(10, 40, 0), a_root(110, 140, 1)])

    assert list(found["step"]) == [0, 1]


def test_others_in_flight_are_those_between_send_and_done_whatever_became_of_them() -> None:
    samples = [
        a_request(0, 0, 500, phase="warmup", status=None, error="timeout"),
        a_request(1, 10, 100),
        a_request(2, 50, 200),
        a_request(3, 100, 300),  # sent in the instant 1 was answered
        a_request(4, 600, 700),
    ]
    found = attributes(samples, [a_root(s.request_id + 110, s.request_id + 120, s.request_id) for s in samples])

    assert list(found["in_flight"]) == [1, 2, 2, 0]


def test_the_models_of_a_request_are_one_text_and_the_largest_batch_counts() -> None:
    spans = [a_root(10, 90, 0), a_root(110, 190, 1), a_root(210, 290, 2)]
    spans += [
        a_call(0, "det", 20, 30),
        a_call(0, "rec", 30, 40, **{"harness.batch_size": 2}),
        a_call(0, "rec", 40, 50, **{"harness.batch_size": 6}),
        a_call(1, "det", 120, 130),
    ]
    found = attributes([a_request(i, i * 100, i * 100 + 95) for i in range(3)], spans)

    assert list(found["model_calls"]) == [3, 1, 0]
    assert list(found["models"].astype(object).where(found["models"].notna(), None)) == ["det+rec", "det", None]
    assert found["batch_size"].iloc[0] == 6
    assert found["batch_size"].isna().tolist() == [False, True, True]


def test_the_first_five_of_each_process_count_from_the_warm_up_on() -> None:
    samples = [a_request(i, i * 100, i * 100 + 90, phase="warmup" if i < 3 else "measure") for i in range(9)]
    spans = [a_root(i * 100 + 10, i * 100 + 80, i, pid=2 if i == 8 else 1) for i in range(9)]

    found = attributes(samples, spans)

    assert list(found["first_of_process"]) == [True, True, False, False, False, True]  # requests 3 to 8
    assert list(found["process"]) == ["sample (pid 1)"] * 5 + ["sample (pid 2)"]


def test_a_reading_of_the_process_covers_the_second_before_it() -> None:
    samples = [a_request(0, 100, 200), a_request(1, 900, 1_300), a_request(2, 9_000, 9_100)]
    spans = [a_root(110, 190, 0), a_root(910, 1_290, 1), a_root(9_010, 9_090, 2)]
    lag = {"process": "sample (pid 1)", "name": "harness.event_loop.lag"}
    readings = [
        {"at_ns": at(1_000), "value": 0.01, **lag},
        {"at_ns": at(2_000), "value": 0.3, **lag},
        {"at_ns": at(2_000), "value": 0.1, **lag},  # of another loop in it
        {"at_ns": at(1_000), "value": 9.0, **lag, "process": "other (pid 2)"},
        {"at_ns": at(1_000), "value": 0.05, **lag, "name": "harness.gc.pause"},
    ]
    found = attributes(samples, spans, pd.DataFrame(readings))

    assert list(found["loop_lag_s"].iloc[:2]) == [0.01, 0.3]  # the second request lies in both
    assert np.isnan(found["loop_lag_s"].iloc[2])  # nothing was read any more
    assert found["gc_pause_s"].iloc[0] == 0.05


def test_a_header_tells_neither_process_nor_models() -> None:
    header = "total;dur=80, pre;dur=20, infer;dur=50"
    found = attributes([a_request(0, 0, 100, server_timing=header), a_request(1, 200, 300)], [a_root(210, 290, 1)])

    assert len(found) == 2
    for column in ("process", "first_of_process", "model_calls", "models", "batch_size", "loop_lag_s"):
        assert found[column].isna().iloc[0], column


def test_a_client_that_does_not_time_its_connections_says_nothing_about_them() -> None:
    found = attributes([a_request(0, 0, 100, sent_ns=None)], [a_root(10, 90, 0)])

    assert found["new_connection"].isna().all()


@pytest.mark.parametrize("samples", [[], [a_request(0, 0, 100, censored=True)], [a_request(0, 0, 100, status=500)]])
def test_no_row_has_no_attributes_but_all_columns(samples: list[Sample]) -> None:
    found, full = attributes(samples, []), attributes([a_request(0, 0, 100)], [a_root(10, 90, 0)])

    assert len(found) == 0
    assert list(found.columns) == list(full.columns)


def test_calls_of_requests_that_are_not_asked_about_are_nobodys() -> None:
    samples = [a_request(0, 0, 100, status=500, failed_checks="status")]

    assert len(attributes(samples, [a_root(0, 90, 0), a_call(0, "det", 1, 50)])) == 0


def test_more_models_than_a_set_has_places_for_are_others() -> None:
    spans = [a_root(0, 90, 0), *(a_call(0, f"m{i}", 1 + i, 2 + i) for i in range(70))]

    (text,) = attributes([a_request(0, 0, 100)], spans)["models"]

    assert text.startswith("m0+m1+")
    assert text.endswith("+m60+others")
