"""Runs with hardly anything in them still end in a summary, in every format, without NaN and without a crash."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from harness.conclude import Conclusion, conclude, load_line
from harness.findings import Summary, Verdict
from harness.model import Arrivals, LoadProfile, Sample, Scenario, Span, SpanSpec, Step
from harness.report import console
from harness.report.files import FORMATS, render_as
from harness.run_folder import RunFolder
from tests.builders import a_root, a_sample, a_span, at, samples_table, spans_table, trace

SLOS = ("p95(latency) < 1s", "p95(inference) < 1s", "mean(queue) < 1s", "share(transfer) < 50%", "error_rate < 2%")


def a_scenario(**changes: Any) -> Scenario:
    load = LoadProfile(Arrivals.CONSTANT, (Step(10.0, 1.0),), warmup_s=0.0, drain_s=1.0, seed=1)
    known: dict[str, Any] = {
        "name": "tiny", "target": "http://127.0.0.1:8000", "requests": (), "users": None, "load": load,
        "spans": SpanSpec(), "slo": SLOS,
    }  # fmt: skip
    return Scenario(**{**known, **changes})


def concluded(tmp_path: Path, samples: list[Sample], recorded: list[Span], **changes: Any) -> Conclusion:
    folder = RunFolder(tmp_path)
    folder.write_table("samples", samples_table(*samples))
    folder.write_table("spans", spans_table(*recorded))
    record = {"run_id": "r", "status": "finished", "started_ns": at(0), "loopback": True, "load": {"readings": [
        {"name": "cpu", "value": 0.1, "unit": "ratio", "suspect": 0.8, "invalid": 0.95, "meaning": "busy"}
    ]}}  # fmt: skip
    return conclude(folder, a_scenario(**changes), record)


def failed(number: int) -> Sample:
    return a_sample(number, send_ns=None, first_byte_ns=None, status=None, error="connection refused")


def split(number: int, **changes: Any) -> tuple[Sample, list[Span]]:
    root = a_root(number=number, span_id=f"a{number:015x}")
    inference = a_span(
        "det",
        20,
        80,
        attributes={"harness.stage": "inference"},
        trace_id=root.trace_id,
        parent_id=root.span_id,
        span_id=f"b{number:015x}",
    )
    return a_sample(number, **changes), [root, inference]


def many(n: int) -> tuple[list[Sample], list[Span]]:
    pairs = [split(i) for i in range(n)]
    return [sample for sample, _ in pairs], [span for _, spans in pairs for span in spans]


RUNS: dict[str, tuple[list[Sample], list[Span]]] = {
    "empty": ([], []),
    "one request": many(1),
    "one request without server half": ([a_sample()], []),
    "all failed": ([failed(i) for i in range(80)], []),
    "all censored": ([a_sample(i, censored=True) for i in range(80)], []),
    "all equal": many(80),
    "only warm-up": ([a_sample(i, phase="warmup") for i in range(5)], []),
}


@pytest.fixture(params=RUNS)
def summary(request: pytest.FixtureRequest, tmp_path: Path) -> Summary:
    return concluded(tmp_path, *RUNS[request.param]).summary


@pytest.mark.parametrize("wanted", [*FORMATS, "console"])
def test_a_run_with_hardly_anything_in_it_is_reported_without_nan(
    summary: Summary, tmp_path: Path, wanted: str
) -> None:
    text = console.render(summary, width=100, colour=False) if wanted == "console" else render_as(wanted, summary, None)

    assert text
    assert not re.search(r"\b(nan|inf)\b", text, re.IGNORECASE)


@pytest.mark.parametrize("name", RUNS)
def test_the_page_of_such_a_run_can_be_drawn_with_its_ledger(tmp_path: Path, name: str) -> None:
    found = concluded(tmp_path, *RUNS[name])

    assert "<html" in render_as("html", found.summary, found.rows)


@pytest.mark.parametrize("name", ["empty", "one request", "all censored", "only warm-up", "all failed"])
def test_such_a_run_is_never_passed(tmp_path: Path, name: str) -> None:
    assert concluded(tmp_path, *RUNS[name]).summary.verdict is not Verdict.PASSED


def test_without_any_answer_nothing_is_passed_even_without_slos(tmp_path: Path) -> None:
    found = concluded(tmp_path, *RUNS["all failed"], slo=()).summary

    assert found.verdict is Verdict.NOT_ENOUGH_DATA
    assert found.counts.errors == (("connection refused", 80),)


def test_requests_that_are_all_equal_pass_with_exact_figures(tmp_path: Path) -> None:
    found = concluded(tmp_path, *many(200)).summary

    means = {s.stage: s.mean.value for s in found.stages}
    assert means["inference"] == pytest.approx(0.060)
    assert means["other"] == pytest.approx(0.020)
    assert found.verdict is Verdict.PASSED
    assert found.bottleneck is None


def test_missing_server_halves_invalidate_stage_slos_only(tmp_path: Path) -> None:
    samples, spans = many(200)

    found = concluded(tmp_path, samples, spans[:-40]).summary

    verdicts = {s.expression: s.verdict for s in found.slo}
    assert verdicts["p95(inference) < 1s"] is Verdict.INVALID
    assert verdicts["p95(latency) < 1s"] is Verdict.PASSED
    assert found.verdict is Verdict.INVALID
    assert "missing_server_halves" in [w.code for w in found.warnings]
    assert found.sentences[-1] == "Nothing is said about stages: the server half of 20 of 200 requests is missing."
    assert found.bottleneck is None


def test_a_service_that_says_nothing_still_gives_latency_and_a_hint(tmp_path: Path) -> None:
    samples = [a_sample(i) for i in range(100)]

    found = concluded(tmp_path, samples, [], slo=("p95(latency) < 1s",)).summary

    assert found.verdict is Verdict.PASSED
    assert found.stages == ()
    assert [w.code for w in found.warnings] == ["no_server_halves"]


def test_a_service_that_mixes_requests_into_one_trace_is_told_the_remedy(tmp_path: Path) -> None:
    samples, spans = many(40)
    later = a_span("POST /v1/read", 150, 200, trace_id=spans[0].trace_id, parent_id=spans[0].span_id)

    found = concluded(tmp_path, samples, [*spans[:20], later]).summary

    (warning,) = [w for w in found.warnings if w.code == "missing_server_halves"]
    assert "--reset-contextvars" in warning.hint


def test_small_requests_that_the_service_takes_late_are_named(tmp_path: Path) -> None:
    late = [a_root(60, 90, number=i, span_id=f"a{i:015x}") for i in range(30)]
    prompt = [a_root(4, 90, number=i, span_id=f"a{i:015x}") for i in range(30)]
    samples = [a_sample(i) for i in range(30)]

    assert "taken_late" in [w.code for w in concluded(tmp_path, samples, late).summary.warnings]
    assert "taken_late" not in [w.code for w in concluded(tmp_path, samples, prompt).summary.warnings]


def test_large_uploads_may_take_their_time(tmp_path: Path) -> None:
    late = [a_root(60, 90, number=i, span_id=f"a{i:015x}") for i in range(30)]
    samples = [a_sample(i, bytes_sent=5_000_000) for i in range(30)]

    assert "taken_late" not in [w.code for w in concluded(tmp_path, samples, late).summary.warnings]


def test_failed_requests_take_their_rank_in_the_percentiles_and_have_no_part_in_the_mean(tmp_path: Path) -> None:
    samples = [a_sample(i) for i in range(60)] + [failed(i) for i in range(60, 200)]

    latency = concluded(tmp_path, samples, []).summary.latency

    assert latency.mean.value == pytest.approx(0.1)
    assert latency.p50.value is None
    assert latency.p50.refusal == "lies among the requests that failed"


def test_server_halves_that_are_missing_for_the_slow_requests_only_are_noticed_though_few_were_asked_for(
    tmp_path: Path,
) -> None:
    samples, spans = many(200)
    slow = [a_sample(i, done_ns=at(300 + i), done_user_ns=at(300 + i)) for i in range(200, 300)]

    found = concluded(tmp_path, [*samples, *slow], spans, spans=SpanSpec(sampled=0.6)).summary

    assert {s.expression: s.verdict for s in found.slo}["p95(inference) < 1s"] is Verdict.INVALID


def test_server_halves_that_were_not_asked_for_are_not_missing(tmp_path: Path) -> None:
    samples, spans = many(200)

    found = concluded(tmp_path, samples, spans[:240], spans=SpanSpec(sampled=0.6)).summary

    assert {s.expression: s.verdict for s in found.slo}["p95(inference) < 1s"] is Verdict.PASSED


def test_requests_that_were_sent_twice_are_said(tmp_path: Path) -> None:
    samples, spans = many(30)

    found = concluded(tmp_path, [*samples, a_sample(99, attempts=2)], spans).summary

    (warning,) = [w for w in found.warnings if w.code == "resent"]
    assert warning.message.startswith("1 requests were sent twice")


def test_a_streamed_answer_is_not_split_by_a_header_that_left_before_the_work(tmp_path: Path) -> None:
    head = 'mlharness;desc="1 {} b000000000000000 {} - streamed", total;dur=5'
    samples = [a_sample(i, server_timing=head.format(trace(i), at(10))) for i in range(30)]

    found = concluded(tmp_path, samples, []).summary

    assert found.stages == ()
    assert "streamed" in [w.code for w in found.warnings]


def test_a_killed_run_says_so_and_is_not_judged(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    samples, spans = many(200)
    folder.write_table("samples", samples_table(*samples))
    folder.write_table("spans", spans_table(*spans))

    found = conclude(folder, a_scenario(), {"run_id": "r", "status": "running", "loopback": True}).summary

    assert found.verdict is Verdict.INVALID
    assert "cut_short" in [w.code for w in found.warnings]


def test_the_load_profile_fits_on_one_line() -> None:
    assert load_line(a_scenario()) == "constant 10/s, 0 s warm-up, 1 s, seed 1"
