"""Doubts about server halves and clocks: each with its figures and a remedy, and none without a cause."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from harness.analysis import clock_doubts, span_doubts
from harness.analysis import coverage as coverages
from harness.analysis.doubts import find, upload_is_waiting
from harness.chunks import schema_of
from harness.clock import ClockOffset, Piece
from harness.findings import Coverage, Loss
from harness.model import RunWarning, SpanSpec, Vital
from harness.spans.hops import NOT_MOVED
from tests.builders import a_sample, samples_table
from tests.test_analysis import ledger_rows

NOTHING_ODD = {
    "several_roots": 0, "leaked": 0, "trailing": 0, "orphans": 0, "outlived": 0, "streamed": 0, "incomplete": 0,
    "foreign": 0, "spans": 0, "duplicates": 0, "rootless": 0,
}  # fmt: skip
ROWS = ledger_rows(inference=[0.1] * 20)


def an_offset(bound_ns: int = 0, contradiction_ns: int = 0, drift_ppm: float = 0.0, pieces: int = 1) -> ClockOffset:
    piece = Piece(0, 1, 0, 0.0, (), ())
    return ClockOffset(0, bound_ns, False, contradiction_ns, 20, drift_ppm, (piece,) * pieces)


def joined(**counts: int) -> Any:
    return SimpleNamespace(moved=NOT_MOVED, **{**NOTHING_ODD, **counts})


def said(rows: pd.DataFrame = ROWS, missing: int = 0, coverage: Coverage | None = None, vitals: pa.Table | None = None,
         **counts: int) -> dict[str, RunWarning]:  # fmt: skip
    return {w.code: w for w in span_doubts.find(rows, rows, joined(**counts), missing, coverage, vitals)}


def test_a_run_without_oddities_raises_no_doubt() -> None:
    assert said(spans=500) == {}


@pytest.mark.parametrize(
    ("counts", "code", "figure", "remedy"),
    [
        ({"leaked": 12}, "leaked_contexts", "12 without a server half", "--reset-contextvars"),
        ({"several_roots": 3}, "several_roots", "3 traces hold several server spans", "proxy_next_upstream"),
        ({"orphans": 7, "spans": 1000}, "orphan_spans", "7 of 1,000 spans", "OTEL_BSP_MAX_QUEUE_SIZE"),
        ({"trailing": 5}, "trailing", "5 traces go on after the answer", "requests that follow"),
        ({"duplicates": 20, "spans": 1000}, "duplicate_spans", "20 of 1,000 spans", "acknowledged"),
        ({"streamed": 9}, "streamed", "9 answers were streamed", "--connect"),
    ],
)
def test_each_oddity_is_told_with_its_figure_and_a_remedy(
    counts: dict[str, int], code: str, figure: str, remedy: str
) -> None:
    found = said(**counts)

    assert list(found) == [code]
    assert figure in found[code].message
    assert remedy in found[code].hint
    assert not found[code].invalidates


def test_a_service_that_goes_on_for_long_after_the_answer_is_told() -> None:
    # Requests of 100 ms: 10 ms after the answer are the end of any service, more are not.
    late = ROWS.assign(clipped_s=[0.0001] * 17 + [0.010, 0.050, 0.150])

    assert said(late, outlived=20)["outlived"].message == (
        "the service went on with 2 requests for 100 ms on average after the client had its answer or gave up"
    )
    assert said(late, outlived=0) == {}
    assert said(ROWS.assign(clipped_s=0.0001), outlived=20) == {}


def test_one_request_in_a_thousand_that_the_service_outlived_is_no_doubt() -> None:
    # Neither five requests nor 1 % of 1,000; then ten of them.
    many = ledger_rows(inference=[0.1] * 1000)

    assert said(many.assign(clipped_s=[0.050] * 4 + [0.0] * 996), outlived=4) == {}
    assert "outlived" in said(many.assign(clipped_s=[0.050] * 10 + [0.0] * 990), outlived=10)


def test_a_few_spans_delivered_twice_are_nobodys_business() -> None:
    assert said(duplicates=10, spans=1000) == {}


@pytest.mark.parametrize(
    ("counts", "code", "message"),
    [
        ({}, "no_server_halves", "the service sent no spans and no Server-Timing: no split"),
        ({"foreign": 40, "spans": 200}, "foreign_traces",
         "40 traces arrived, but none belongs to a request of this run"),
        ({"spans": 200, "rootless": 40}, "no_server_halves",
         "spans of 40 requests arrived, but none of kind server: where the service begins is not known"),
        ({"spans": 200, "incomplete": 40}, "no_server_halves",
         "200 spans arrived, but no complete server half of a request among them"),
    ],
)  # fmt: skip
def test_a_run_without_any_server_half_says_what_came_instead(counts: dict[str, int], code: str, message: str) -> None:
    found = said(ROWS.iloc[0:0], missing=20, **counts)

    assert found[code].message == message


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        (SpanSpec(source="jaeger", address="http://j:1"), "the trace store at http://j:1 had no spans", "the URL"),
        (SpanSpec(source="file", address="/t.jsonl"), "/t.jsonl had no spans of this run", "collector that writes it"),
        (SpanSpec(source="server-timing"), "no answer carried a Server-Timing", "instrument(app)"),
        (SpanSpec(source="otlp"), "the service sent no spans:", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318"),
        (SpanSpec(listen=None, listen_grpc="127.0.0.1:4317"), "no spans and no Server-Timing", "PROTOCOL=grpc"),
        (SpanSpec(sampled=0.0), "no spans and no Server-Timing", "`sampled: 0` in spans asks for none"),
    ],
)
def test_a_run_without_spans_is_told_in_the_words_of_its_source(spec: SpanSpec, message: str, hint: str) -> None:
    none = ROWS.iloc[0:0]

    (found,) = span_doubts.find(none, none, joined(), 20, None, None, spec)

    assert found.code == "no_server_halves"
    assert message in found.message
    assert hint in found.hint
    assert ("instrument(app)" in found.hint) is (spec.source in ("auto", "server-timing"))


def test_foreign_traces_beside_our_own_are_somebody_elses() -> None:
    assert said(foreign=40, spans=200) == {}


COVERAGE = Coverage(300, 240, Loss.BIASED, 0.5, 7.0, 0.7, "80% of 300 requests have a server half")


@pytest.mark.parametrize(
    ("loss", "code"),
    [(Loss.BIASED, "biased_loss"), (Loss.CLUSTERED, "clustered_loss"), (Loss.UNTESTED, "missing_server_halves")],
)
def test_lost_halves_are_told_with_their_coverage(loss: Loss, code: str) -> None:
    found = said(missing=60, coverage=replace(COVERAGE, loss=loss), incomplete=3)

    assert list(found) == [code]
    assert found[code].message.startswith(f"{COVERAGE.sentence}; 3 arrived in part")
    assert "OTEL_BSP_MAX_QUEUE_SIZE" in found[code].hint


def test_the_hint_of_a_biased_loss_follows_who_is_missing() -> None:
    slower, faster = (said(missing=60, coverage=replace(COVERAGE, delta=delta))["biased_loss"] for delta in (0.7, -0.7))

    assert "figures would be too low; the spans of slow requests are dropped" in slower.hint
    assert "figures would be too high; a queue that fills up under load" in faster.hint
    assert "spans of slow requests" not in faster.hint


def test_a_kind_of_request_without_server_halves_has_a_hint_of_its_own() -> None:
    names, latency_s = np.repeat([0, 1], 50), np.tile([0.1, 0.2], 50)
    at_ns = np.arange(100, dtype=np.int64) * 100_000_000
    lacking = coverages.find(at_ns, latency_s, names == 0, kinds=coverages.Kinds(names, ("read", "list")))

    assert "the endpoint behind it has no server half" in said(missing=50, coverage=lacking)["biased_loss"].hint


def test_parts_of_halves_tell_dropped_spans_from_a_sampler() -> None:
    found = said(coverage=replace(COVERAGE, loss=Loss.UNIFORM), orphans=7, rootless=12, spans=900)

    assert found["missing_server_halves"].message == (
        "60 of 300 requests have no server half, and 7 spans lack the one above them, 12 requests have spans but no "
        "server span: spans are dropped, not sampled"
    )
    assert "OTEL_BSP_MAX_QUEUE_SIZE" in found["missing_server_halves"].hint
    assert said(coverage=replace(COVERAGE, loss=Loss.UNIFORM), spans=900) == {}


def test_halves_missing_at_random_are_no_doubt() -> None:
    assert said(missing=0, coverage=replace(COVERAGE, loss=Loss.UNIFORM)) == {}


# --- what the service counted ------------------------------------------------------------------------------


def vitals(*rows: tuple[int | None, float], name: str = "harness.spans.lost") -> pa.Table:
    """One reading a second: (pid, value)."""
    made = [Vital(i, "api", pid, name, value, "1", None) for i, (pid, value) in enumerate(rows)]
    columns = {f: [getattr(v, f) for v in made] for f in Vital.__dataclass_fields__}
    return pa.table(columns, schema=schema_of(Vital))


def test_spans_that_the_service_lost_are_summed_over_its_processes() -> None:
    found = said(vitals=vitals((1, 0.0), (2, 0.0), (1, 30.0), (2, 12.0), (1, 30.0)), spans=958)

    assert found["spans_lost"].message.startswith("the service itself lost 42 of 1,000 spans")


def test_what_a_service_had_lost_before_the_run_is_not_counted() -> None:
    assert said(vitals=vitals((1, 900.0), (1, 900.0)), spans=100) == {}


def test_a_single_reading_counts_as_it_stands() -> None:
    assert span_doubts.spans_lost(vitals((1, 5.0), (None, 2.0))) == 7


def test_other_vitals_and_none_say_nothing_about_spans() -> None:
    assert span_doubts.spans_lost(None) == 0
    assert span_doubts.spans_lost(vitals()) == 0
    assert span_doubts.spans_lost(vitals((1, 5.0), name="process.cpu.utilization")) == 0


# --- clocks ------------------------------------------------------------------------------------------------


def of_clocks(rows: pd.DataFrame, *offsets: Any) -> dict[str, RunWarning]:
    return {w.code: w for w in clock_doubts.find([("h", offset) for offset in offsets], rows)}


def transfers(seconds: float, upload: float | None = 0.001) -> pd.DataFrame:
    return ROWS.assign(transfer_s=seconds, upload_s=upload)


def test_a_bound_beyond_a_fifth_of_the_median_transfer_makes_the_clock_coarse() -> None:
    # 2 * 1 ms against 20 % of 9 ms and of 11 ms.
    assert of_clocks(transfers(0.009), an_offset(bound_ns=1_000_000))["coarse_clock"].message == (
        "upload and download are known only within ±1.00 ms: read transfer as a whole"
    )
    assert of_clocks(transfers(0.011), an_offset(bound_ns=1_000_000)) == {}


def test_where_upload_is_not_known_anyway_no_bound_is_too_coarse() -> None:
    assert of_clocks(transfers(0.001, upload=float("nan")), an_offset(bound_ns=1_000_000)) == {}
    assert of_clocks(ROWS.iloc[0:0], an_offset(bound_ns=1_000_000), None) == {}


def test_drift_is_told_beyond_twenty_ppm() -> None:
    assert of_clocks(transfers(1.0), an_offset(drift_ppm=-20.0)) == {}
    assert of_clocks(transfers(1.0), an_offset(drift_ppm=-50.0))["clock_drift"].message == (
        "the service's clock runs 50 ppm slow against ours, 3.00 ms a minute: taken out"
    )


def test_a_clock_that_was_set_is_told() -> None:
    assert of_clocks(transfers(1.0), an_offset(pieces=1)) == {}
    assert of_clocks(transfers(1.0), an_offset(pieces=3))["clock_steps"].message == (
        "no steady drift fits the clocks of client and service: they are followed in 3 stretches"
    )


@pytest.mark.parametrize(
    ("leaked", "trailing", "code"),
    [
        (12, 1, "leaked_contexts"),  # the first trace of a connection takes in the others
        (2, 2, "leaked_contexts"),
        (12, 80, "trailing"),  # all requests leave work behind, and some spans were lost besides
    ],
)
def test_leaked_contexts_are_told_from_work_in_the_background(leaked: int, trailing: int, code: str) -> None:
    assert list(said(leaked=leaked, trailing=trailing)) == [code]


def test_a_contradiction_says_more_than_a_coarse_bound() -> None:
    assert list(of_clocks(transfers(0.001), an_offset(bound_ns=10**9, contradiction_ns=2_000_000))) == [
        "clock_contradiction"
    ]


@pytest.mark.parametrize(("bound_ns", "expected"), [(0, True), (20_000_000, False)])
def test_where_upload_is_not_told_apart_nothing_is_concluded_from_it(bound_ns: int, expected: bool) -> None:
    rows = ledger_rows(upload=[0.05] * 20, inference=[0.05] * 20).assign(ok=True, backlog_s=0.0, transfer_s=0.05)
    samples = samples_table(*(a_sample(i) for i in range(20)))

    found = find(samples, rows, rows, [("h", an_offset(bound_ns=bound_ns))], joined(), 0)

    assert ("taken_late" in [w.code for w in found]) is expected


def taken_late(upload: list[float], bytes_sent: int = 500) -> list[str]:
    rows = ledger_rows(upload=upload, inference=[0.05] * len(upload)).assign(ok=True, backlog_s=0.0)
    samples = samples_table(*(a_sample(i, bytes_sent=bytes_sent) for i in range(len(upload))))
    found = find(samples, rows, rows, [("h", an_offset())], joined(), 0)
    assert upload_is_waiting(found, samples) is any(w.code == "taken_late" for w in found)
    return [w.message for w in found if w.code == "taken_late"]


def test_a_wait_that_only_one_request_in_ten_has_is_found_in_the_tail() -> None:
    # A mean of 3.9 ms is below the 5 ms that a mean needs; the p95 is 30 ms of 80 ms.
    (message,) = taken_late([0.001] * 90 + [0.030] * 10)

    assert message == (
        "requests of at most 64 KiB wait before the service takes them: one in twenty for 30.0 ms or more, where p95 "
        "of the latency is 80.0 ms, shown as upload"
    )


@pytest.mark.parametrize("upload", [[0.001] * 90 + [0.009] * 10, [0.001] * 97 + [0.030] * 3, [0.004] * 50 + [0.03] * 4])
def test_short_rare_or_few_waits_are_no_alarm(upload: list[float]) -> None:
    assert taken_late(upload) == []


def test_large_requests_are_on_their_way() -> None:
    assert taken_late([0.030] * 100, bytes_sent=1_000_000) == []


def test_what_a_mixed_load_uploads_is_not_all_waiting() -> None:
    late = [RunWarning("taken_late", "", "")]
    mixed = samples_table(*(a_sample(i, bytes_sent=500 if i % 2 else 10**6) for i in range(20)))

    assert not upload_is_waiting(late, mixed)
    assert not upload_is_waiting([], samples_table(a_sample()))
