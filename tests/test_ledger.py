"""Every instant of a request is charged once: the sum of the stages is the latency."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.clock import Bounds, fit
from harness.join import join
from harness.ledger import Ledger, build, with_server_half
from harness.model import CLAIMS, STAGES, LedgerRow, Sample, Span, columns
from harness.windows import ON_THIS_HOST, SPANS_END
from tests.builders import MS, a_root, a_sample, a_span, at, samples_table, spans_table, trace

HOST = "abcabcabcabc"


def ledger(samples: list[Sample], spans: list[Span], source: str = "auto", loopback: bool = True) -> Ledger:
    table = samples_table(*samples)
    return build(table, join(table, [spans_table(*spans)], source), HOST, loopback)


def one(sample: Sample, *spans: Span) -> dict[str, Any]:
    """The ledger row of one request, in milliseconds, None where null."""
    row = ledger([sample], list(spans)).rows.iloc[0].to_dict()
    return {
        k: (None if isinstance(v, float) and math.isnan(v) else round(v * 1000, 6)) if k.endswith("_s") else v
        for k, v in row.items()
    }


def sum_of_stages(row: pd.Series) -> float:
    return float(sum(row[f"{stage}_s"] for stage in STAGES if not pd.isna(row[f"{stage}_s"])))


def test_the_ledger_has_the_columns_of_the_model_in_order() -> None:
    assert tuple(ledger([a_sample()], []).rows.columns) == columns(LedgerRow)


def test_each_stage_gets_its_time() -> None:
    row = one(
        a_sample(),  # scheduled 0, taken 1, written 3, done 100
        a_root(10, 90),
        a_span("wait", 12, 15, stage="queue"),
        a_span("decode", 15, 25, stage="preprocess"),
        a_span("det", 25, 70, stage="inference"),
        a_span("nms", 70, 78, stage="postprocess"),
    )

    assert row["latency_s"] == 100
    assert row["service_s"] == 99
    assert (row["backlog_s"], row["connect_s"], row["upload_s"], row["download_s"]) == (1, 2, 7, 10)
    assert (row["queue_s"], row["preprocess_s"], row["inference_s"], row["postprocess_s"]) == (3, 10, 45, 8)
    assert row["other_s"] == 80 - 66
    assert row["transfer_s"] == 19
    assert row["unsplit_s"] == 0
    assert row["split"] == "marks"


def test_waiting_for_body_bytes_inside_the_window_is_upload_and_for_send_is_download() -> None:
    row = one(
        a_sample(), a_root(10, 90), a_span("body", 10, 30, stage="upload"), a_span("send", 85, 90, stage="download")
    )

    assert row["upload_s"] == 7 + 20
    assert row["download_s"] == 10 + 5
    assert row["other_s"] == 55


def test_a_wait_nested_in_a_stage_belongs_to_the_wait() -> None:
    outer = a_span("decode", 20, 60, stage="preprocess", span_id="1" * 16)
    inner = a_span("body", 30, 40, stage="upload", parent_id="1" * 16)

    row = one(a_sample(), a_root(10, 90), outer, inner)

    assert row["preprocess_s"] == 30
    assert row["upload_s"] == 7 + 10


def test_two_parallel_stages_share_their_time() -> None:
    row = one(
        a_sample(),
        a_root(10, 90),
        a_span("a", 20, 60, stage="preprocess"),
        a_span("b", 40, 80, stage="inference"),
    )

    assert row["preprocess_s"] == 30
    assert row["inference_s"] == 30


def test_a_request_without_server_half_is_unsplit_from_the_first_write_on() -> None:
    row = one(a_sample())

    assert row["split"] == "none"
    assert row["unsplit_s"] == 97
    assert row["inference_s"] is None
    assert row["upload_s"] is None
    assert row["transfer_s"] == row["connect_s"] == 2


def test_a_refused_connection_is_all_connect() -> None:
    row = one(a_sample(send_ns=None, sent_ns=None, first_byte_ns=None, status=None, error="connection refused"))

    assert not row["ok"]
    assert row["connect_s"] == 99
    assert row["unsplit_s"] == 0


def test_a_client_that_times_itself_as_a_whole_has_a_transfer_and_no_parts_of_it() -> None:
    row = one(
        a_sample(send_ns=at(1), sent_ns=None, connected_ns=None),
        a_root(10, 90),
        a_span("det", 20, 60, stage="inference"),
    )

    assert row["connect_s"] is None
    assert row["upload_s"] is None
    assert row["transfer_s"] == 19
    assert row["backlog_s"] + row["transfer_s"] + row["inference_s"] + row["other_s"] == row["latency_s"] == 100


def test_a_window_that_outlives_the_answer_is_clipped_and_the_rest_kept() -> None:
    row = one(a_sample(), a_root(10, 150), a_span("det", 20, 140, stage="inference"))

    assert row["inference_s"] == 80
    assert row["download_s"] == 0
    assert row["clipped_s"] == 50


def test_a_failed_check_is_not_ok() -> None:
    assert not one(a_sample(status=500, failed_checks="status"))["ok"]


def test_a_censored_request_is_not_in_the_ledger() -> None:
    assert ledger([a_sample(censored=True)], []).rows.empty


def test_a_foreign_header_gives_transfer_only_as_a_whole() -> None:
    row = one(a_sample(server_timing="total;dur=80, inference;dur=60"))

    assert row["split"] == "durations"
    assert row["upload_s"] is None
    assert row["download_s"] is None
    assert row["inference_s"] == 60
    assert row["other_s"] == 20
    assert row["transfer_s"] == 2 + 17


def test_a_stage_that_plain_spans_never_name_is_unknown_and_not_zero() -> None:
    row = one(a_sample(), a_root(attributes=None), a_span("det", 20, 80, stage="inference"))

    assert row["inference_s"] == 60
    assert row["preprocess_s"] is None
    assert row["queue_s"] is None
    assert row["other_s"] == 20


def test_a_stage_that_our_marks_never_name_took_no_time() -> None:
    assert one(a_sample(), a_root(), a_span("det", 20, 80, stage="inference"))["queue_s"] == 0


def test_our_own_header_gives_upload_and_download_too() -> None:
    start = a_sample().send_ns
    assert start is not None
    header = f'mlharness;desc="1 {trace(0)} b000000000000000 {start + 7 * MS} {HOST}", total;dur=80, inference;dur=60'

    row = one(a_sample(server_timing=header))

    assert row["split"] == "marks"
    assert (row["upload_s"], row["download_s"]) == (7, 10)
    assert row["other_s"] == 20


def test_model_calls_are_numbered_per_model_in_time_order() -> None:
    det = {"harness.model": "det", "harness.batch_size": 4, "harness.cpu_ns": 1234}
    spans = [
        a_root(),
        a_span("rec2", 50, 60, stage="inference", attributes={"harness.model": "rec"}),
        a_span("det", 20, 30, stage="inference", attributes=det),
        a_span("rec1", 40, 50, stage="inference", attributes={"harness.model": "rec"}),
    ]

    calls = ledger([a_sample()], spans).model_calls

    assert list(calls["model"]) == ["det", "rec", "rec"]
    assert list(calls["call"]) == [0, 0, 1]
    assert list(calls["duration_s"]) == pytest.approx([0.01, 0.01, 0.01])
    assert calls["batch_size"].iloc[0] == 4


def test_a_service_on_another_clock_is_placed_by_what_causality_allows() -> None:
    shift = 500  # ms; window 8..92 of a request written at 3 and answered at 98..100
    root = a_root(
        8 + shift, 92 + shift,
        attributes={
            "harness.split": "marks",
            "harness.first_send_ns": a_sample().scheduled_ns + round((91 + shift) * MS),
        },
    )  # fmt: skip

    found = ledger([a_sample()], [root], loopback=False)

    ((_, offset),) = found.offsets
    assert offset is not None
    # upper 508 - 3 = 505, lower 591 - 98 = 493
    assert offset.offset_ns == 499 * MS
    assert offset.bound_ns == pytest.approx(6 * MS, abs=0.1 * MS)  # and what the clocks may drift meanwhile
    row = found.rows.iloc[0]
    assert row["upload_s"] == pytest.approx(0.006)
    assert row["transfer_s"] == pytest.approx(0.002 + 0.097 - 0.083)  # the work ended when the answer was given away


def given_away(ms: float, **more: object) -> dict[str, object]:
    return {"harness.split": "marks", "harness.first_send_ns": at(ms), **more}


def test_giving_a_whole_answer_away_is_download_and_not_other() -> None:
    row = one(a_sample(), a_root(10, 90, attributes=given_away(70)), a_span("det", 20, 60, stage="inference"))

    assert (row["other_s"], row["download_s"]) == (20, 30)


def test_what_is_done_after_the_first_part_of_a_streamed_answer_is_not_download() -> None:
    streamed = a_root(10, 90, attributes=given_away(70, **{"harness.streamed": True, "harness.last_send_ns": at(88)}))
    working_on = a_root(10, 90, attributes=given_away(70))

    assert one(a_sample(), streamed, a_span("det", 20, 60, stage="inference"))["download_s"] == 12
    assert one(a_sample(), working_on, a_span("det", 20, 80, stage="inference"))["inference_s"] == 60


def bounds(*ms: int) -> Bounds:
    return Bounds(np.full(len(ms), at(0)), np.array(ms, np.int64) * MS)


def test_bounds_that_cross_are_a_contradiction() -> None:
    offset = fit(bounds(5), bounds(2), same_host=False)

    assert offset is not None
    assert offset.contradiction_ns == 3 * MS


def test_no_bounds_give_no_offset() -> None:
    assert fit(bounds(), bounds(), same_host=False) is None


def test_only_ok_measured_requests_with_a_server_half_make_the_row_set() -> None:
    samples = [
        a_sample(0),
        a_sample(1, phase="warmup"),
        a_sample(2, status=500, failed_checks="status"),
        a_sample(3),
    ]
    roots = [a_root(number=i, span_id=f"a{i:015x}") for i in range(3)]

    assert list(with_server_half(ledger(samples, roots).rows)["request_id"]) == [0]


def test_a_wait_is_kept_with_what_it_waited_for() -> None:
    lock = {"harness.resource": "model_lock", "harness.batch_id": "b7", "harness.wait": "busy"}
    spans = [
        a_root(),
        a_span("wait", 20, 30, stage="queue", attributes=lock),
        a_span("det", 30, 60, stage="inference", attributes={"harness.resource": "gpu"}),
        a_span("wait_gpu", 60, 61, stage="queue"),
        a_span("queue", 61, 62, stage="queue"),
    ]

    waits = ledger([a_sample()], spans).waits

    assert list(waits["resource"][:2]) == ["model_lock", "wait_gpu"]  # the second goes by the name of its span
    assert waits["kind"].iloc[0] == "busy"
    assert waits["resource"].isna().iloc[2]
    assert list(waits["duration_s"]) == pytest.approx([0.01, 0.001, 0.001])
    assert waits["batch_id"].iloc[0] == "b7"
    assert waits["start_ns"].iloc[0] == at(20)


def test_a_drifting_clock_is_followed_from_request_to_request() -> None:
    # The server is 500 ms ahead and gains 50 us a second: 3 ms in a minute, more than the round trips allow to hide.
    samples, roots = [], []
    for number in range(61):
        client = number * 1000.0
        server = client + 500 + number * 0.05
        window = {"harness.split": "marks", "harness.first_send_ns": at(server + 1.9)}
        times = {
            name: at(client) for name in ("scheduled_ns", "start_ns", "resolved_ns", "tcp_ns", "send_ns", "sent_ns")
        }
        ends = {name: at(client + 2.1) for name in ("first_byte_ns", "done_ns", "done_user_ns")}
        samples.append(a_sample(number, **times, **ends))
        roots.append(a_root(server + 0.1, server + 2, number=number, span_id=f"a{number:015x}", attributes=window))

    found = ledger(samples, roots, loopback=False)

    ((_, offset),) = found.offsets
    assert offset is not None
    assert offset.contradiction_ns == 0
    assert offset.drift_ppm == pytest.approx(50, abs=8)
    assert list(found.rows["upload_s"]) == pytest.approx([0.0001] * 61, abs=offset.bound_ns / 1e9)


def test_a_service_that_works_on_after_its_client_gave_up_is_counted() -> None:
    assert ledger([a_sample()], [a_root(10, 150)]).outlived == 1
    assert ledger([a_sample()], [a_root(10, 90)]).outlived == 0


def test_a_request_that_went_on_in_the_trace_of_another_one_is_a_leak() -> None:
    first, second = a_sample(0), a_sample(1, **{name: at(ms) for name, ms in LATER.items()})
    stray = a_span("POST /v1/read", 210, 290, number=0, kind="internal", parent_id="a000000000000000")

    assert ledger([first, second], [a_root(number=0), stray]).leaked == 1


def test_background_work_while_nothing_is_missing_is_no_leak() -> None:
    first, second = a_sample(0), a_sample(1, **{name: at(ms) for name, ms in LATER.items()})
    own = a_root(210, 290, number=1, span_id="a100000000000000")
    stray = a_span("clean up", 220, 280, number=0, parent_id="a000000000000000")

    assert ledger([first, second], [a_root(number=0), own, stray]).leaked == 0


LATER = {
    "scheduled_ns": 200, "start_ns": 201, "resolved_ns": 201, "tcp_ns": 202, "connected_ns": 202, "send_ns": 203,
    "sent_ns": 204, "first_byte_ns": 298, "done_ns": 300, "done_user_ns": 300,
}  # fmt: skip

# (start, length, stage, parent, times delivered, lost); a parent is a position in the list, -1 the root, -2 nobody.
any_span = st.tuples(
    st.floats(-1200, 1200), st.floats(0, 400), st.sampled_from([*CLAIMS, None]), st.integers(-2, 8),
    st.integers(1, 2), st.booleans(),
)  # fmt: skip
any_trace = st.tuples(
    st.lists(any_span, max_size=9),
    st.floats(-1200, 1200),  # where the root begins: skewed by up to a second and more
    st.floats(0, 2000),
    st.sampled_from(["root", "no root", "two roots"]),
    st.sampled_from([None, 3, "header"]),  # what the root announces; or the answer has a header
)
Trace = tuple[list[tuple[float, float, str | None, int, int, bool]], float, float, str, object]


def spans_of(number: int, trace: Trace) -> list[Span]:
    shapes, begin, length, roots, announced = trace
    attributes = {"harness.split": "marks"} | ({"harness.spans": announced} if isinstance(announced, int) else {})
    root_id = f"a{number:015x}"
    spans = [a_root(begin, begin + length, number=number, span_id=root_id, attributes=attributes)]
    if roots == "two roots":
        spans.append(a_root(begin + length + 1, begin + length + 50, number=number, span_id=f"b{number:015x}"))
    for place, (start, extent, stage, parent, times, lost) in enumerate(shapes):
        parent_id = root_id if parent == -1 else "f" * 16 if parent == -2 else f"{number:08x}{parent + 1:08x}"
        span_id = f"{number:08x}{place + 1:08x}"
        one = a_span("s", start, start + extent, number=number, stage=stage, span_id=span_id, parent_id=parent_id)
        spans += [one] * (0 if lost else times)
    return spans[1:] if roots == "no root" else spans


@settings(max_examples=150, deadline=None)
@given(st.lists(any_trace, min_size=1, max_size=4), st.randoms(use_true_random=False), st.booleans())
def test_whatever_the_spans_look_like_the_stages_sum_to_the_latency(
    traces: list[Trace], random: Random, loopback: bool
) -> None:
    spans = [span for number, trace in enumerate(traces) for span in spans_of(number, trace)]
    random.shuffle(spans)
    header = 'mlharness;desc="1 {} b000000000000000 {} -", total;dur=80, inference;dur=60'
    samples = [
        a_sample(number, server_timing=header.format(trace(number), at(begin)) if said == "header" else None)
        for number, (_, begin, _, _, said) in enumerate(traces)
    ]

    rows = ledger(samples, spans, loopback=loopback).rows

    for _, row in rows.iterrows():
        if row["split"] != "durations":
            assert sum_of_stages(row) == pytest.approx(row["latency_s"], abs=1e-6)
        whole = row["backlog_s"] + row["transfer_s"] + row[["queue_s", "preprocess_s", "inference_s"]].sum()
        whole += row[["postprocess_s", "other_s", "unsplit_s"]].sum()
        assert whole == pytest.approx(row["latency_s"], abs=1e-6)
        assert all(row[f"{stage}_s"] >= -1e-9 for stage in STAGES if not pd.isna(row[f"{stage}_s"]))


def plain(begin: float, end: float, number: int = 0, shift: float = 0.0) -> Span:
    """A server span of plain OpenTelemetry: it says nothing about itself."""
    return a_root(begin + shift, end + shift, number=number, span_id=f"a{number:015x}", attributes=None)


def test_background_work_on_this_host_is_no_contradiction() -> None:
    after = a_span("clean up", 95, 130, stage="postprocess")

    found = ledger([a_sample()], [plain(10, 130), after])

    ((_, offset),) = found.offsets
    assert offset is not None
    assert (offset.contradiction_ns, offset.same_host, offset.assumes) == (0, True, ON_THIS_HOST)


def test_one_client_that_gave_up_does_not_make_the_clocks_contradict() -> None:
    gave_up = a_sample(1, status=None, error="timeout", first_byte_ns=None)
    marks = {"harness.split": "marks", "harness.first_send_ns": at(1000)}

    for late in (plain(10, 1100, 1), a_root(10, 1100, number=1, span_id="b" * 16, attributes=marks)):
        found = ledger([a_sample(0), gave_up], [plain(10, 90), late])
        assert all(offset is None or offset.contradiction_ns == 0 for _, offset in found.offsets)


@pytest.mark.parametrize(("shift", "apart"), [(0, False), (3, False), (300, True), (-300, True)])
def test_a_service_behind_a_tunnel_on_loopback_is_noticed_where_its_clock_gives_it_away(
    shift: float, apart: bool
) -> None:
    samples = [a_sample(number) for number in range(20)]

    found = ledger(samples, [plain(10, 90, number, shift) for number in range(20)])

    ((_, offset),) = found.offsets
    assert offset is not None
    assert offset.same_host is not apart
    if apart:  # 10 - 3 = 7 above, 90 - 100 = -10 below
        assert offset.offset_ns == pytest.approx((shift - 1.5) * MS, abs=0.2 * MS)
        assert offset.assumes == SPANS_END
    assert found.rows["transfer_s"].iloc[0] == pytest.approx(0.019)


def test_plain_spans_of_another_host_are_placed_so_that_their_windows_end_before_the_answer_was_here() -> None:
    early = a_span("det", 12, 50, stage="inference")  # nothing is said about the other half of the window

    found = ledger([a_sample()], [plain(10, 90), early], loopback=False)

    assert found.rows["transfer_s"].iloc[0] == pytest.approx(0.019)
    assert found.rows["other_s"].iloc[0] == pytest.approx(0.042)
    assert found.rows["clipped_s"].iloc[0] == pytest.approx(0.0)
